"""The tables of the store, and how an older file becomes one of today.

Each step brings a file from one version to the next. Never change a step that was
released: add one.
"""

from collections.abc import Sequence
from typing import Any

from fedrec.errors import DataError

# Tells a store of ours from any other file; "fedr".
APPLICATION_ID = 0x66656472

Step = tuple[str, ...]

STEPS: tuple[Step, ...] = (
    (
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT, time INTEGER NOT NULL, kind TEXT NOT NULL,
            value REAL, text TEXT, context TEXT, kept_since INTEGER NOT NULL)""",
        "CREATE INDEX events_by_time ON events (time, id)",
        """CREATE TABLE vectors (
            event INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE, encoder TEXT NOT NULL,
            vector BLOB NOT NULL, PRIMARY KEY (event, encoder)) WITHOUT ROWID""",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE blobs (name TEXT PRIMARY KEY, content BLOB NOT NULL)",
        "CREATE TABLE shown (item TEXT NOT NULL, time INTEGER NOT NULL)",
        "CREATE INDEX shown_by_time ON shown (time)",
        "CREATE TABLE ledger (seq INTEGER PRIMARY KEY, line TEXT NOT NULL)",
        # What was begun and has to be finished at the next opening.
        "CREATE TABLE pending (task TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
)


def schema_version(connection: Any) -> int:
    """The version of an open file; 0 where there is none of ours in it."""
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    return int(connection.execute("PRAGMA user_version").fetchone()[0]) if ours else 0


def migrate(connection: Any, *, steps: Sequence[Step] = STEPS) -> None:
    """The file is of the newest version: every missing step was taken, or none of them.

    Raises DataError for a file that a newer fedrec wrote.
    """
    if schema_version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again: another process may have migrated it before the lock was ours.
        version = schema_version(connection)
        if version > len(steps):
            raise DataError(
                f"The store is of schema version {version}; this fedrec reads up to {len(steps)}. Upgrade fedrec."
            )
        for statement in (statement for step in steps[version:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
