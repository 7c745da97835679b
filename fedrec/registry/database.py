"""The registry's database, SQLite or PostgreSQL: one writer at a time, and a lost connection is no fault."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from fedrec.errors import ConfigError, DataError
from fedrec.registry.tables import SCHEMA_VERSION, Base, SchemaRow

T = TypeVar("T")
# Before each further attempt; a database that restarts is back within them.
_PAUSES = (0.1, 0.5, 2.0, 5.0)
_WAIT_SECONDS = 10
# Any number will do, as long as all writers take the same: "fedrec" in ASCII.
_WRITERS = 0x666564726563
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_LASTING = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)
_POSTGRES_OPTIONS = (
    f"-c lock_timeout={_WAIT_SECONDS}s -c idle_in_transaction_session_timeout=60s -c synchronous_commit=on"
)


class Database:
    """Runs work in transactions. Work may run again after its commit's answer was lost: it must come to the same."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # After the writers' lock is held, each statement has to see what the writer before left.
        self._writing = engine.execution_options(writes=True)
        one_moment = engine.dialect.name == "postgresql"
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ") if one_moment else engine

    @classmethod
    def open(cls, url: str) -> "Database":
        """A database with today's tables, made where they are not there.

        Raises ConfigError for a URL that names none, DataError if it cannot be reached or is of a later version.
        """
        parsed = _parsed(url)
        database = cls(_engine(parsed))
        if database.read(_lacks):
            database.write(_create)
        if (version := database.read(_version)) != SCHEMA_VERSION:
            database.close()
            raise DataError(
                f"The registry has tables of version {version}, and this fedrec knows {SCHEMA_VERSION}. Update fedrec."
            )
        return database

    def close(self) -> None:
        """Nothing is connected any more."""
        self._engine.dispose()

    def read(self, work: Callable[[Session], T]) -> T:
        """What some work reads, all of one moment."""
        return self._attempt(work, writes=False)

    def write(self, work: Callable[[Session], T]) -> T:
        """What some work comes to, after it is on the disk: all of it or nothing.

        Nobody else writes meanwhile, so that what it reads still holds when it writes.
        """
        return self._attempt(work, writes=True)

    def _attempt(self, work: Callable[[Session], T], *, writes: bool) -> T:
        for pause in _PAUSES:
            try:
                return self._once(work, writes=writes)
            except DBAPIError as error:
                if not _passes(error):
                    raise self._told(error) from None
            time.sleep(pause)
        try:
            return self._once(work, writes=writes)
        except DBAPIError as error:
            raise self._told(error) from None

    def _told(self, error: DBAPIError) -> Exception:
        """A fault of the database as one line; one of a statement as it is."""
        if not (_passes(error) or _is_of_database(error)):
            return error
        words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        return DataError(
            f"The registry at {self._engine.url.render_as_string(hide_password=True)} does not answer ({words[0]}). "
            "See that the database runs, is whole and has room, then do this again."
        )

    def _once(self, work: Callable[[Session], T], *, writes: bool) -> T:
        engine = self._writing if writes else self._reading
        with Session(engine, expire_on_commit=False) as session, session.begin():
            if writes and engine.dialect.name == "postgresql":
                session.execute(text("SELECT pg_advisory_xact_lock(:writers)"), {"writers": _WRITERS})
            return work(session)


def _parsed(url: str) -> URL:
    """The URL with the driver that is used; never shown, as it may hold a password."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("registry.database is no URL. Give one such as postgresql://user@host/name.") from None
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or not parsed.database:
        raise ConfigError(f"registry.database is of the kind `{kind}`. Use postgresql://, or sqlite:// with a file.")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        arguments: dict[str, Any] = {"connect_timeout": _WAIT_SECONDS, "options": _POSTGRES_OPTIONS}
        return create_engine(url, pool_pre_ping=True, connect_args=arguments)
    _make_private(Path(url.database or ""))
    engine = create_engine(url, connect_args={"timeout": _WAIT_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """A database that is made is its owner's alone from its first byte."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}). Check the folder and its rights.") from None


def _prepare_sqlite(connection: Any, _: object) -> None:
    # Transactions are begun by hand below: the driver would begin them too late to keep other writers out.
    connection.isolation_level = None
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _passes(error: DBAPIError) -> bool:
    """Whether the same may work in a moment: a connection was lost, or somebody else holds the database."""
    code = _sqlite_code(error)
    return error.connection_invalidated or (code in _PASSING if code else isinstance(error, OperationalError))


def _is_of_database(error: DBAPIError) -> bool:
    """Whether the database is what is wrong, not the statement."""
    code = _sqlite_code(error)
    return code in _LASTING if code else isinstance(error, (OperationalError, InterfaceError))


def _sqlite_code(error: DBAPIError) -> int:
    """SQLite's own kind of fault, which Python's classes do not tell apart; 0 for another database."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def _lacks(session: Session) -> bool:
    """Whether a table is not there."""
    return bool(Base.metadata.tables.keys() - set(inspect(session.connection()).get_table_names()))


def _version(session: Session) -> int | None:
    return session.scalar(select(SchemaRow.version))


def _create(session: Session) -> None:
    """Every table is there, and a database that had none knows its version."""
    Base.metadata.create_all(session.connection())
    if _version(session) is None:
        session.add(SchemaRow(version=SCHEMA_VERSION))
