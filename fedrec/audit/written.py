"""What is said and written of a round: only what is on the lists, and the same whatever anybody did."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from fedrec.audit.checks import Check
from fedrec.audit.crowd import Witnessed, nothing, people, witness
from fedrec.federation import messages
from fedrec.privacy_config import Mode
from fedrec.training.blocks import METRICS
from fedrec.training.client import Reply

_SPEND = {"mechanism", "noise_multiplier", "sampling_rate", "steps", "bands", "separation"}
_ENTRY = _SPEND | {"kind", "mode", "unit", "clip_norm", "round", "token", "guarantee"}
_EVENT = _ENTRY | {"participants", "replies", "released", "client", "attempt"}
# A client's own ledger, which never leaves it.
_DEVICE_EVENT = _ENTRY | {"run", "attempt", "time", "bytes"}
_RECORD = {
    *("round", "asked", "replies", "failures", "update_norm", "seconds", "epsilon"),
    *("ledger_head", "guarantee", "validation", "released_metrics"),
}
_METRIC = {"value", "noise_std"}
# What differs from run to run without anybody's data, and what is read off a noised release.
_FREE_IN_RECORD = {"seconds", "ledger_head", "update_norm", "released_metrics"}
_FREE_IN_EVENT = {"token", "time"}
_ROUNDING = 1e-4


def written_checks(mode: Mode) -> Iterator[Check]:
    """The checks of replies, records and ledgers, on clients with unlike data and on clients without any."""
    crowd = people()
    seen, silent = witness(mode, crowd), witness(mode, [nothing] * len(crowd))
    yield _none("reply_alike", "things other than numbers in a vector that tell clients' data apart", unlike(seen))
    yield _none("written_fields", "fields of records and ledger entries that are not on the list", unlisted(seen))
    yield _none("written_alike", "things in records and ledgers that differ with the data", telling(seen, silent))
    what = "largest relative difference of an update_norm on record from the norm of what was released"
    yield Check(name="update_norm", what=what, found=norm_difference(seen), low=0.0, high=_ROUNDING)


def unlike(seen: Witnessed) -> list[str]:
    """In what the replies to the same question differ beside their client and the numbers in their vector."""
    values: dict[str, set[str]] = defaultdict(set)
    for asked, reply in seen.replies:
        for name, value in _told(reply):
            values[f"{name} ({asked})"].add(value)
    return sorted(name for name, told in values.items() if len(told) > 1)


def _told(reply: Reply) -> Iterator[tuple[str, str]]:
    """Everything that a reply says, unpacked and packed, but who sends it and the numbers."""
    for each in fields(reply):
        if each.name not in ("client", "update"):
            yield each.name, repr(getattr(reply, each.name))
    yield "vector", "none" if reply.update is None else f"{reply.update.shape} {reply.update.dtype}"
    packed = messages.pack_reply(reply)
    for name, record in packed.config_records.items():
        yield f"packed {name}", repr(sorted(record.items()))
    yield "packed sizes", repr({name: record.count_bytes() for name, record in packed.array_records.items()})


def unlisted(seen: Witnessed) -> list[str]:
    """The fields of records, of released metrics and of ledger entries that no list names."""
    found = {f"record/{name}" for record in seen.records for name in record.keys() - _RECORD}
    found |= {f"ledger/{name}" for event in seen.events for name in event.keys() - _EVENT}
    found |= {f"device/{name}" for own in seen.device_events for event in own for name in event.keys() - _DEVICE_EVENT}
    for record in seen.records:
        metrics = record["released_metrics"] or {}
        found |= {f"released_metrics/{name}" for name in metrics.keys() - set(METRICS)}
        found |= {f"released_metrics/{name}/{key}" for name, each in metrics.items() for key in each.keys() - _METRIC}
    return sorted(found)


def telling(seen: Witnessed, silent: Witnessed) -> list[str]:
    """In what the records and ledgers of the same clients differ when they have data and when they have none."""
    pairs = [
        ("record", seen.records, silent.records, _FREE_IN_RECORD),
        ("ledger", seen.events, silent.events, _FREE_IN_EVENT),
        *(
            ("device", mine, other, _FREE_IN_EVENT)
            for mine, other in zip(seen.device_events, silent.device_events, strict=True)
        ),
    ]
    found = set()
    for place, ones, others, free in pairs:
        if len(ones) != len(others):
            found.add(f"{place}: number of entries")
        for one, other in zip(ones, others, strict=False):
            names = (one.keys() | other.keys()) - free
            found |= {f"{place}/{name}" for name in names if _plain(one, name) != _plain(other, name)}
    return sorted(found)


def _plain(entry: Mapping[str, Any], name: str) -> Any:
    """A value of an entry; the hashes of replies that clients noised differ, and only their length is held."""
    value = entry.get(name, "absent")
    if name == "replies" and isinstance(value, dict) and entry["mode"] == "local":
        return {client: len(digest) for client, digest in value.items()}
    return value


def norm_difference(seen: Witnessed) -> float:
    """How far a norm on record is from the norm of its round's step, which is the mean itself here."""
    steps = np.linalg.norm(np.diff(np.stack(seen.adapters).astype(np.float64), axis=0), axis=1)
    if len(steps) != len(seen.records):
        return math.inf
    norms = np.array([record["update_norm"] for record in seen.records])
    return float((np.abs(norms - steps) / np.maximum(steps, _ROUNDING)).max())


def _none(name: str, what: str, found: list[str]) -> Check:
    return Check(name=name, what=f"number of {what} {found or ''}".strip(), found=len(found), low=0, high=0)
