"""The wire: instructions and replies as Flower records, and back.

A reply holds exactly one vector of fixed size, a code, and how often its noise was paid
for. No metric that was computed on private data is in it.
"""

import json

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedrec.errors import UnsafeUpdateError
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.blocks import Task
from fedrec.training.client import Instruction, Reply

TRAIN = "train"
_LONGEST_NAME = 128
IDENTIFY = "query.identify"


def pack_instruction(instruction: Instruction) -> RecordDict:
    """The records of a round's instruction; one is shared by all messages of a round."""
    plan = json.dumps(instruction.plan.as_table()) if instruction.plan else ""
    settings = ConfigRecord(
        {
            "run": instruction.run,
            "task": instruction.task,
            "round": instruction.round,
            "token": instruction.token,
            "layout": instruction.layout,
            "plan": plan,
            "negatives_seed": str(instruction.negatives_seed),
        }
    )
    records = RecordDict({"adapter": _pack(instruction.adapter), "instruction": settings})
    if instruction.prior is not None:
        records["prior"] = _pack(instruction.prior)
    return records


def unpack_instruction(content: RecordDict) -> Instruction:
    """The instruction in a message; raises UnsafeUpdateError if it is malformed."""
    try:
        settings = content.config_records["instruction"]
        plan = str(settings["plan"])
        vectors = content.array_records
        return Instruction(
            run=_name(settings["run"]),
            round=_round(settings["round"]),
            token=_name(settings["token"]),
            adapter=_unpack(vectors["adapter"]),
            layout=str(settings["layout"]),
            plan=PrivacyPlan.from_table(json.loads(plan)) if plan else None,
            negatives_seed=_seed(str(settings["negatives_seed"])),
            task=_task(settings["task"]),
            prior=_unpack(vectors["prior"]) if "prior" in vectors else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UnsafeUpdateError(f"The server's instruction cannot be read ({type(error).__name__}).") from None


def pack_reply(reply: Reply) -> RecordDict:
    """The records of a reply."""
    records = RecordDict({"reply": ConfigRecord({"code": reply.code, "attempts": reply.attempts})})
    if reply.update is not None:
        records["update"] = _pack(reply.update)
    return records


def unpack_reply(client: int, message: Message) -> Reply:
    """A client's reply; whatever cannot be read becomes a code, never an exception."""
    if message.has_error():
        return Reply(client=client, code="client_error")
    try:
        settings = message.content.config_records["reply"]
        attempts = max(0, int(settings["attempts"]))  # type: ignore[arg-type]
        records = message.content.array_records
        update = _unpack(records["update"]) if "update" in records else None
        return Reply(client=client, update=update, code=_code(str(settings["code"])), attempts=attempts)
    except Exception:  # bytes of a stranger: no fault in them may stop a round
        return Reply(client=client, code="malformed")


def claimed_client(message: Message) -> int | None:
    """The client that a node says it is; None where it says nothing sensible."""
    try:
        claim = message.content.config_records["identity"]["client"]
        return claim if isinstance(claim, int) else None
    except Exception:  # bytes of a stranger, as above
        return None


def _code(text: str) -> str:
    """A code as our handlers write it: the name of a class; anything else is a stranger's."""
    return text if not text or (text.isidentifier() and text.isascii() and len(text) <= 40) else "malformed"


def _name(given: object) -> str:
    """A run's or an attempt's name; a client keeps it in its ledger for ever."""
    if not isinstance(given, str) or not 1 <= len(given) <= _LONGEST_NAME or not given.isprintable():
        raise ValueError("A name is short and printable.")
    return given


def _round(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**31:
        raise ValueError("A round is a number from 0.")
    return given


def _task(given: object) -> Task:
    if given not in ("update", "popularity"):
        raise ValueError("There is no such task.")
    return given


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**64:
        raise ValueError("A seed has 64 bits.")
    return seed


def _pack(vector: np.ndarray) -> ArrayRecord:
    return ArrayRecord({"vector": Array(np.ascontiguousarray(vector, dtype=np.float32))})


def _unpack(record: ArrayRecord) -> np.ndarray:
    vector = record["vector"].numpy()
    if vector.dtype != np.float32 or vector.ndim != 1:
        raise ValueError("A vector is flat and of float32.")
    return vector
