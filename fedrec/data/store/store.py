"""The encrypted store of one person's device: events, settings, weights and the ledger's lines.

Everything private lies here and nowhere else. Events survive a kill, and a power cut but
for the last moments; ledger lines are on the disk before the call returns.
"""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fedrec.data.events import Event, Kind
from fedrec.data.sequences import Floats
from fedrec.data.store.database import Database
from fedrec.data.store.export import exported
from fedrec.data.store.folder import has_damaged, make_store, usable
from fedrec.data.store.keys import Keys, source_for
from fedrec.data.store.retention import DAY_SECONDS, RETENTION, SHOWN_DAYS, retention_of
from fedrec.data.store.rows import OWNER, StoredEvent, checked_json, checked_name, checked_time, event_row, stored_event
from fedrec.errors import DataError, RefusedError

__all__ = ["OWNER", "Store", "StoredEvent"]

_EVENTS = "SELECT id, item, time, kind, value, text, context FROM events"
_PRIVATE = ("vectors", "events", "settings", "blobs", "shown")
_ERASE = "erase"
# Settings whose names begin so outlast an erasure: they guard the budget.
SPENDING = "spending."
ERASURES = f"{SPENDING}erasures"
# When a store was made beside one that was set aside: what that one knew of spending is lost.
RECORD_LOST = f"{SPENDING}record_lost"


class Store:
    """An open store; safe among threads, and several processes may hold it open."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def create(cls, folder: Path, *, keys: Keys = None) -> Self:
        """A new, empty store, open. Raises DataError if there is one already.

        keys: where its key is kept; None takes the system's keyring where one answers, or
        else `store.key`, a file of mode 0600.
        """
        with usable(folder):
            source = source_for(folder, keys)
            make_store(folder, source)
            store = cls(Database.open(folder, source))
            if has_damaged(folder):
                store.set_value(RECORD_LOST, int(time.time()))
            return store

    @classmethod
    def open(cls, folder: Path, *, keys: Keys = None) -> Self:
        """The store in `folder`, checked; an erasure that was interrupted is finished first.

        Raises DataError if the store or its key is missing, and VerificationError if the file
        is damaged: it is then set aside under another name.
        """
        with usable(folder):
            store = cls(Database.open(folder, source_for(folder, keys)))
        try:
            store._finish_erasing()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._database.close()

    @property
    def folder(self) -> Path:
        """Where the store lies."""
        return self._database.folder

    @property
    def path(self) -> Path:
        """The store's file."""
        return self._database.path

    def data_version(self) -> int:
        """A number that changes when another connection, of this or another process, wrote."""
        return self._database.data_version()

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[None]:
        """What the block writes is kept as a whole or not at all; nested blocks join the outer one.

        durable: on the disk when the block ends; a block that appends to the ledger has to be.
        """
        return self._database.transaction(durable=durable)

    # Events

    def add_event(self, event: Event) -> int:
        """Keep an event as the owner's, and return its number. Raises DataError for what cannot be kept."""
        row = event_row(event)
        cursor = self._database.write(
            "INSERT INTO events (item, time, kind, value, text, context, kept_since) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, int(time.time())),
        )
        return int(cursor.lastrowid)

    def remove_event(self, number: int) -> bool:
        """Whether there was such an event; it and its vectors are gone."""
        return _is_number(number) and bool(self._database.write("DELETE FROM events WHERE id = ?", (number,)).rowcount)

    def events(self) -> list[StoredEvent]:
        """Every event by time, then by number."""
        return [stored_event(row) for row in self._database.rows(f"{_EVENTS} ORDER BY time, id")]

    def latest_events(self, count: int) -> list[StoredEvent]:
        """The last events by time, the newest first."""
        rows = self._database.rows(f"{_EVENTS} ORDER BY time DESC, id DESC LIMIT ?", (count,))
        return [stored_event(row) for row in rows]

    def event_rows(self) -> list[tuple[int, str | None, int, str, bool, str | None]]:
        """Number, item, time, kind, whether it has a text, and context of every event, by time, then by number.

        For whoever reads all of a long history: `events` makes objects of them, which takes several times as long.
        """
        query = "SELECT id, item, time, kind, text IS NOT NULL, context FROM events ORDER BY time, id"
        return self._database.rows(query)

    def event(self, number: int) -> StoredEvent | None:
        """The event of this number."""
        rows = self._database.rows(f"{_EVENTS} WHERE id = ?", (number,)) if _is_number(number) else []
        return stored_event(rows[0]) if rows else None

    def apply_retention(self, now: float) -> int:
        """Delete events older than the setting `retention` keeps, and return how many.

        An event that claims a later time than it was stored at ages from then. The ledger
        and the keys are never deleted by age.
        """
        moment = int(now)
        retention = retention_of(self.value(RETENTION))
        deleted = 0
        with self.transaction():
            for kind in Kind:
                oldest = retention.oldest_kept(kind, now=moment)
                if oldest is not None:
                    query = "DELETE FROM events WHERE kind = ? AND min(time, kept_since) < ?"
                    deleted += self._database.write(query, (kind.value, oldest)).rowcount
            days = min(SHOWN_DAYS, retention.days or SHOWN_DAYS)
            self._database.write("DELETE FROM shown WHERE time < ?", (moment - days * DAY_SECONDS,))
        return deleted

    # Vectors of texts

    def set_vector(self, event_id: int, encoder_hash: str, vector: Floats) -> None:
        """Keep what an encoder made of an event's text. Raises DataError if there is no such event."""
        content = np.ascontiguousarray(vector, dtype="<f4")
        if content.ndim != 1 or not np.isfinite(content).all():
            raise DataError(f"A vector of shape {content.shape} with finite entries only can be stored, one per text.")
        with self.transaction():
            if self.event(event_id) is None:
                raise DataError(f"There is no event {event_id} to keep a vector for.")
            query = "INSERT OR REPLACE INTO vectors (event, encoder, vector) VALUES (?, ?, ?)"
            self._database.write(query, (event_id, encoder_hash, content.tobytes()))

    def vectors(self, encoder_hash: str, events: Sequence[int] | None = None) -> dict[int, Floats]:
        """The vectors that this encoder made, by event, or of these events alone; read-only arrays."""
        if events is None:
            rows = self._database.rows("SELECT event, vector FROM vectors WHERE encoder = ?", (encoder_hash,))
        else:
            # As JSON: the number of values that a statement takes is limited.
            query = "SELECT event, vector FROM vectors WHERE encoder = ? AND event IN (SELECT value FROM json_each(?))"
            rows = self._database.rows(query, (encoder_hash, json.dumps([int(number) for number in events])))
        return {number: np.frombuffer(content, dtype="<f4") for number, content in rows}

    # Settings and other content by name

    def value(self, name: str, default: Any = None) -> Any:
        """The setting of this name, or the default."""
        rows = self._database.rows("SELECT content FROM settings WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else default

    def set_value(self, name: str, value: Any) -> None:
        """Keep a setting: anything that JSON can say."""
        content = checked_json(name, value)
        query = "INSERT OR REPLACE INTO settings (name, content) VALUES (?, ?)"
        self._database.write(query, (checked_name(name, what="name"), content))

    def delete_value(self, name: str) -> None:
        """There is no setting of this name."""
        self._database.write("DELETE FROM settings WHERE name = ?", (name,))

    def values(self, prefix: str = "") -> dict[str, Any]:
        """The settings whose names begin so, by name."""
        rows = self._database.rows("SELECT name, content FROM settings ORDER BY name")
        return {name: json.loads(content) for name, content in rows if name.startswith(prefix)}

    def blob(self, name: str) -> bytes | None:
        """The bytes kept under this name."""
        rows = self._database.rows("SELECT content FROM blobs WHERE name = ?", (name,))
        return bytes(rows[0][0]) if rows else None

    def set_blob(self, name: str, content: bytes) -> None:
        """Keep bytes under a name: personal weights, identity keys, the last reply."""
        query = "INSERT OR REPLACE INTO blobs (name, content) VALUES (?, ?)"
        self._database.write(query, (checked_name(name, what="name"), bytes(content)))

    def delete_blob(self, name: str) -> None:
        """There are no bytes under this name."""
        self._database.write("DELETE FROM blobs WHERE name = ?", (name,))

    # Impressions

    def add_shown(self, item_ids: Iterable[str], time: int) -> None:
        """Keep that these items were shown."""
        moment = checked_time(time)
        rows = [(checked_name(item, what="item id"), moment) for item in item_ids]
        self._database.write_many("INSERT INTO shown (item, time) VALUES (?, ?)", rows)

    def shown_counts(self, since: int) -> dict[str, int]:
        """How often each item was shown, from that second on."""
        query = "SELECT item, count(*) FROM shown WHERE time >= ? GROUP BY item"
        return dict(self._database.rows(query, (since,)))

    # The ledger's lines; what they say, and that they are a chain, is fedrec.privacy's

    def ledger_lines(self) -> list[str]:
        """Every line, oldest first."""
        return [line for (line,) in self._database.rows("SELECT line FROM ledger ORDER BY seq")]

    def append_ledger_line(self, seq: int, line: str) -> None:
        """Put a line on the disk; when this returns, it survives a power cut."""
        self.append_ledger_lines(seq, [line])

    def append_ledger_lines(self, first_seq: int, lines: Sequence[str]) -> None:
        """Put lines on the disk, all or none; when this returns, they survive a power cut.

        Raises RefusedError unless `first_seq` is the number of lines that there are.
        """
        with self.transaction(durable=True):
            count = self._database.rows("SELECT count(*) FROM ledger")[0][0]
            if count != first_seq:
                raise RefusedError(f"The ledger has {count} entries, not {first_seq}: another process wrote. Read it.")
            rows = [(first_seq + number, line) for number, line in enumerate(lines)]
            self._database.write_many("INSERT INTO ledger (seq, line) VALUES (?, ?)", rows)

    # The person's rights

    def export(self) -> dict[str, Any]:
        """Everything about the person in words that a person can read; never a key."""
        return exported(self)

    def counts(self) -> dict[str, int]:
        """How many rows of each sort there are."""
        tables = (*_PRIVATE, "ledger")
        return {name: self._database.rows(f"SELECT count(*) FROM {name}")[0][0] for name in tables}  # noqa: S608

    def blob_sizes(self) -> dict[str, int]:
        """The names under which bytes are kept, and how many."""
        return dict(self._database.rows("SELECT name, length(content) FROM blobs ORDER BY name"))

    def erase(self) -> str:
        """Nothing of the person is left, in clear or under the old key; returns what to tell them.

        The ledger stays, and settings named `spending...` that guard it: what was spent stays
        spent. A kill on the way is made good at the next opening. Files that were set aside go too.
        """
        before = self.counts()
        with self.transaction(durable=True):
            guards = self.values(SPENDING) | {ERASURES: self.value(ERASURES, 0) + 1}
            for table in (*_PRIVATE, "sqlite_sequence"):
                self._database.write(f"DELETE FROM {table}")  # noqa: S608
            for name, value in guards.items():
                self.set_value(name, value)
            self._database.write("INSERT OR IGNORE INTO pending (task) VALUES (?)", (_ERASE,))
        self._finish_erasing()
        return (
            f"Erased {before['events']} events and all that was made of them; the old key is destroyed. "
            f"{before['ledger']} ledger entries stay: what was spent is spent. What was released before cannot be "
            "called back."
        )

    def rotate_key(self) -> None:
        """The store is under a fresh key, and the old one is destroyed."""
        self._database.rotate_key()

    def _finish_erasing(self) -> None:
        """Rewrite the file without its free pages and under a new key, if an erasure is under way."""
        if not self._database.rows("SELECT task FROM pending WHERE task = ?", (_ERASE,)):
            return
        self._database.forget_damaged()
        self._database.vacuum()
        self._database.rotate_key()
        self._database.write("DELETE FROM pending WHERE task = ?", (_ERASE,))


def _is_number(number: int) -> bool:
    """Whether an event can have this number; beyond 64 bits the database does not look."""
    return 0 < number < 2**63
