"""What leaves a device: an allow-list, held against the real reply and its packed form."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from fedrec.federation import messages
from fedrec.training.client import Reply

_REPLY = frozenset({"client", "update", "code", "attempts"})
# The client's number is not packed: a node is known by its connection.
_PACKED = frozenset({"reply/code", "reply/attempts", "update/vector"})


def unexpected_fields() -> list[str]:
    """The fields of a reply, and the entries of its packed form, that the allow-list does not name."""
    replies = [
        Reply(client=1, update=np.ones(5, dtype=np.float32), attempts=1),
        Reply(client=1, code="BudgetError"),
        Reply(client=1, code="UnsafeUpdateError", attempts=2),
    ]
    packed = {entry for reply in replies for entry in _entries(messages.pack_reply(reply))}
    held = {field.name for field in fields(Reply)}
    return sorted((held - _REPLY) | (packed - _PACKED))


def payload_sizes() -> set[int]:
    """The sizes in bytes of the packed vectors of clients with nothing, a little and a lot to say."""
    updates = [np.zeros(5, np.float32), np.ones(5, np.float32), np.full(5, 1e30, np.float32)]
    packed = [messages.pack_reply(Reply(client=1, update=update, attempts=1)) for update in updates]
    return {records.array_records["update"].count_bytes() for records in packed}


def _entries(records: Mapping[str, Any]) -> Iterator[str]:
    for name, record in records.items():
        for key in record:
            yield f"{name}/{key}"
