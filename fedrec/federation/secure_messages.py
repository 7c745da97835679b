"""The wire of a sum under masks: a stage's request and its answer as Flower records, and back.

Every request names its round; the one for a masked input holds the whole instruction, as that is when a client
trains. What the state machines say to each other is bytes here: see `fedrec.secagg.messages`.
"""

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedrec.errors import UnsafeUpdateError
from fedrec.federation.messages import known_code, pack_instruction, unpack_instruction
from fedrec.secagg.terms import Stage
from fedrec.training.client import Instruction
from fedrec.training.masking import MaskedReply

SECURE = "train.secure"
_REQUEST = "request"
_ANSWER = "answer"
# A hundred times what a client sends or is sent for a hundred thousand parameters.
_LARGEST = 2**26


def pack_instructions(instruction: Instruction, stage: Stage) -> RecordDict:
    """The records that all requests of a stage have in common: the adapter travels once."""
    records = pack_instruction(instruction)
    if stage is not Stage.MASK:
        for vector in list(records.array_records):
            del records[vector]
    return records


def pack_request(common: RecordDict, stage: Stage, request: bytes) -> RecordDict:
    """The records of one client's request."""
    return RecordDict({**common, "secure": ConfigRecord({"stage": int(stage)}), _REQUEST: _bytes(request)})


def unpack_request(content: RecordDict) -> tuple[Instruction, Stage, bytes]:
    """Instruction, stage and request in a message; raises UnsafeUpdateError if it is malformed."""
    try:
        stage = _stage(content.config_records["secure"]["stage"])
        request = _taken(content.array_records[_REQUEST])
    except (KeyError, ValueError, TypeError) as error:
        raise UnsafeUpdateError(f"The server's request cannot be read ({type(error).__name__}).") from None
    return unpack_instruction(content), stage, request


def pack_answer(reply: MaskedReply) -> RecordDict:
    """The records of an answer."""
    records = RecordDict({"reply": ConfigRecord({"code": reply.code, "attempts": reply.attempts})})
    if reply.answer:
        records[_ANSWER] = _bytes(reply.answer)
    return records


def unpack_answer(client: int, message: Message) -> MaskedReply:
    """A client's answer; whatever cannot be read becomes a code, never an exception."""
    try:
        if message.has_error():
            return MaskedReply(client=client, code="client_error")
        records = dict(message.content.items())
        said, answer = dict(records.pop("reply").items()), records.pop(_ANSWER, None)
        code, attempts = said.pop("code"), said.pop("attempts")
        if records or said or type(attempts) is not int:
            raise ValueError("An answer is a code, a count and bytes.")
        return MaskedReply(
            client=client,
            answer=b"" if answer is None else _taken(answer),
            code=known_code(code),
            attempts=max(attempts, 0),
        )
    except Exception:  # bytes of a stranger: no fault in them may stop a round
        return MaskedReply(client=client, code="malformed")


def _bytes(content: bytes) -> ArrayRecord:
    return ArrayRecord({"bytes": Array("uint8", (len(content),), "bytes", content)})


def _taken(record: object) -> bytes:
    if not isinstance(record, ArrayRecord) or len(record) != 1 or len(record["bytes"].data) > _LARGEST:
        raise ValueError("A record holds one row of bytes.")
    return record["bytes"].data


def _stage(given: object) -> Stage:
    if type(given) is not int:
        raise ValueError("A stage is a number.")
    return Stage(given)
