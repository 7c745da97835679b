"""The wire: instructions and replies as Flower records, and back.

A reply holds exactly one vector of fixed size, a code, and how often its noise was paid
for. No metric that was computed on private data is in it.
"""

import json
import secrets
from functools import lru_cache

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedrec import errors
from fedrec.errors import UnsafeUpdateError
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.blocks import Task
from fedrec.training.client import Instruction, Reply

TRAIN = "train"
_LONGEST_NAME = 128
IDENTIFY = "query.identify"
# What a client may say: nothing of its own choosing gets into the records of a round.
_CODES = frozenset({"", "crashed", *(name for name in vars(errors) if name.endswith("Error"))})
_HEADER = 128
# Behind the numbers. A SuperLink calls what it holds by the hash of its content, and a node that knew a name beforehand
# could take it, so that the round fails, or ask whether somebody sent it, such as the zeros of who has no data.
_SALT = 16
_FLOAT32 = np.dtype("<f4")


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
            # A round under masks sends it when a client is to train.
            adapter=_unpack(vectors["adapter"]).copy() if "adapter" in vectors else np.zeros(0, _FLOAT32),
            layout=str(settings["layout"]),
            plan=PrivacyPlan.from_table(json.loads(plan)) if plan else None,
            negatives_seed=_seed(str(settings["negatives_seed"])),
            task=_task(settings["task"]),
            prior=_unpack(vectors["prior"]).copy() if "prior" in vectors else None,
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
    try:
        return Reply(client=client, code="client_error") if message.has_error() else _reply(client, message.content)
    except Exception:  # bytes of a stranger: no fault in them may stop a round
        return Reply(client=client, code="malformed")


def _reply(client: int, content: RecordDict) -> Reply:
    """What `pack_reply` makes, and nothing else or more."""
    records = dict(content.items())
    said, update = records.pop("reply"), records.pop("update", None)
    if records or not isinstance(said, ConfigRecord):
        raise ValueError("A reply is a code, a count and at most one vector.")
    settings = dict(said.items())
    code, attempts = settings.pop("code"), settings.pop("attempts")
    if settings or type(attempts) is not int:
        raise ValueError("Attempts are counted.")
    vector = None if update is None else _unpack(update)
    return Reply(client=client, update=vector, code=known_code(code), attempts=attempts if attempts > 0 else 0)


def known_code(given: object) -> str:
    """A code that a client may say; raises ValueError for any other."""
    if not isinstance(given, str) or given not in _CODES:
        raise ValueError("A code is one of ours.")
    return given


def claimed_client(message: Message) -> int | None:
    """The client that a node says it is; None where it says nothing sensible."""
    try:
        claim = message.content.config_records["identity"]["client"]
        return claim if isinstance(claim, int) else None
    except Exception:  # bytes of a stranger, as above
        return None


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
    numbers = np.ascontiguousarray(vector, dtype=_FLOAT32)
    data = b"".join((_header(numbers.size), numbers.tobytes(), secrets.token_bytes(_SALT)))
    return ArrayRecord({"vector": Array("float32", (numbers.size,), "numpy.ndarray", data)})


def _unpack(record: object) -> FlatAdapter:
    """(P,) a read-only view of the record's bytes, which are those that numpy saves a flat float32 array as.

    No other array is read: nothing of a stranger's header is parsed, and nothing of its size allocated.
    """
    if not isinstance(record, ArrayRecord) or len(record) != 1:
        raise ValueError("A record holds one vector.")
    data = record["vector"].data
    for salt in (_SALT, 0):
        count, rest = divmod(len(data) - _HEADER - salt, _FLOAT32.itemsize)
        if count >= 0 and not rest and data.startswith(_header(count)):
            return np.frombuffer(data, _FLOAT32, count, _HEADER)
    raise ValueError("A vector is flat and of float32.")


@lru_cache(maxsize=8)
def _header(count: int) -> bytes:
    """What stands before `count` flat float32 numbers in numpy's format, version 1.0."""
    about = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + about.ljust(_HEADER - 11).encode() + b"\n"
