"""A person's whole store as one JSON object that a person can read; never a key."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedrec.data.store.rows import StoredEvent

if TYPE_CHECKING:
    from fedrec.data.store.store import Store

CLUSTERS = "clusters"


def exported(store: "Store") -> dict[str, Any]:
    """Events with their times, settings, interest clusters, and every entry of the ledger.

    uploads: what was sent and when, as the ledger has it. kept_as_bytes: names and sizes of
    what no person can read; keys are among them, by name only.
    """
    with store.transaction():
        entries = [_parsed(line) for line in store.ledger_lines()]
        settings = store.values()
        return {
            "format": "fedrec export 1",
            "exported": _moment(int(datetime.now(UTC).timestamp())),
            "events": [_event(stored) for stored in store.events()],
            "clusters": {name: settings.pop(name) for name in list(settings) if name.startswith(CLUSTERS)},
            "settings": settings,
            "shown": store.shown_counts(0),
            "uploads": [_upload(entry) for entry in entries],
            "ledger": entries,
            "kept_as_bytes": store.blob_sizes(),
        }


def _event(stored: StoredEvent) -> dict[str, Any]:
    event = stored.event
    said = {"item": event.item_id, "value": event.value, "text": event.text, "context": event.context}
    return {
        "id": stored.id,
        "time": _moment(event.timestamp),
        "kind": event.kind.value,
        **{name: content for name, content in said.items() if content is not None},
    }


def _upload(entry: Any) -> dict[str, Any]:
    event = entry.get("event", {}) if isinstance(entry, dict) else {}
    time = event.get("time")
    told = {name: event[name] for name in ("kind", "run", "round") if name in event}
    return {"time": _moment(time) if isinstance(time, int) else None, **told}


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
