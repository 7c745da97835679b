"""The registry's database itself: made by whoever comes first, shared by many, refused where it is none."""

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from fedrec.errors import ConfigError, DataError
from fedrec.registry.database import Database
from fedrec.registry.tables import StoredDocument, StoredStatus

pytestmark = pytest.mark.slow

_WRITERS, _WRITES = 4, 15


def _write(url: str, writer: int) -> None:
    """What a process of its own writes."""
    database = Database.open(url)
    for number in range(_WRITES):
        document = StoredDocument(name=f"{writer}/{number}", serial=number, sha256="", content=b"")
        database.write(lambda session, row=document: session.merge(row))
    database.close()


def test_processes_that_come_at_once_make_the_tables_once_and_lose_no_write(url: str) -> None:
    start = multiprocessing.get_context("spawn")
    writers = [start.Process(target=_write, args=(url, writer)) for writer in range(_WRITERS)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0] * _WRITERS
    database = Database.open(url)
    assert database.read(lambda session: session.scalar(select(func.count()).select_from(StoredDocument))) == 60
    assert database.read(lambda session: session.scalar(text("SELECT count(*) FROM schema_version"))) == 1
    database.close()


def test_a_write_that_fails_in_the_middle_leaves_nothing(url: str) -> None:
    database = Database.open(url)

    def work(session: Session) -> None:
        session.add(StoredDocument(name="half", serial=1, sha256="", content=b""))
        session.flush()
        raise RuntimeError("the work fails")

    with pytest.raises(RuntimeError):
        database.write(work)
    assert database.read(lambda session: session.get(StoredDocument, "half")) is None
    database.close()


def test_what_is_read_is_of_one_moment(url: str) -> None:
    database, other = Database.open(url), Database.open(url)

    def work(session: Session) -> tuple[int | None, int | None]:
        count = select(func.count()).select_from(StoredStatus)
        before = session.scalar(count)
        row = dict.fromkeys(("round", "rounds", "needed", "connected", "replies", "since", "updated_at"), 0)
        other.write(lambda theirs: theirs.merge(StoredStatus(catalogue="films", phase="asking", message="", **row)))
        return before, session.scalar(count)

    assert database.read(work) == (0, 0)
    database.close()
    other.close()


def test_a_database_of_a_later_version_is_left_alone(url: str) -> None:
    database = Database.open(url)
    database.write(lambda session: session.execute(text("UPDATE schema_version SET version = 99")))
    database.close()
    with pytest.raises(DataError, match="version 99"):
        Database.open(url)


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://user:secret-word@host/name", "sqlite://", "", "sqlite:secret-word"]
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as told:
        Database.open(url)
    assert "secret-word" not in str(told.value)


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        Database.open(f"sqlite:///{tmp_path / 'missing' / 'registry.db'}")
