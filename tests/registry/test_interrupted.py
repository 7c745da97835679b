"""A registry whose connection, process or database ends in the middle: the next call works, nothing is half there."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fedrec.errors import DataError
from fedrec.pointer import read_pointer
from fedrec.registry import database
from fedrec.registry.channel import Signed, append
from fedrec.registry.registry import Registry
from fedrec.release import verify_release
from tests.killing import attempt
from tests.registry.postgres import Postgres
from tests.registry.presses import Press

pytestmark = pytest.mark.slow

# The first row that is written to a table ends the connection that writes it; only the first.
_BREAKER = """
CREATE SEQUENCE written_{table};
CREATE FUNCTION break_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('written_{table}') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
  RETURN NEW; END $$;
CREATE TRIGGER break_{table} {moment} INSERT ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION break_{table}();
"""


@pytest.fixture
def broken_at(postgres: Postgres, tmp_path: Path) -> "Breaking":
    return Breaking(postgres, tmp_path)


class Breaking:
    """Registries whose connection is cut when a row is written to a table."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self._postgres, self._folder = postgres, folder

    def __call__(self, table: str, *, at_commit: bool = False) -> Registry:
        url = self._postgres.new_database()
        registry = Registry.open(url, artifacts=f"file://{self._folder / 'artifacts'}")
        moment = "BEFORE" if not at_commit else "AFTER"
        deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        statement = _BREAKER.format(table=table, moment=moment, deferred=deferred)
        if at_commit:
            statement = statement.replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER")
        self._postgres.ask(url.partition("@/")[2].partition("?")[0], statement)
        return registry


@pytest.mark.parametrize("at_commit", [False, True])
@pytest.mark.parametrize("table", ["releases", "release_files"])
def test_a_connection_that_is_cut_while_publishing_costs_an_attempt(
    broken_at: Breaking, press: Press, table: str, at_commit: bool
) -> None:
    with broken_at(table, at_commit=at_commit) as registry:
        assert registry.releases("films") == []
        row = press.publish(registry, 1)
        assert registry.releases("films") == [row]
        _require_whole(registry, press)


@pytest.mark.parametrize("at_commit", [False, True])
def test_a_connection_that_is_cut_while_promoting_issues_one_pointer(
    broken_at: Breaking, press: Press, at_commit: bool
) -> None:
    with broken_at("promotions", at_commit=at_commit) as registry:
        rows = [press.publish(registry, number) for number in (1, 2)]
        assert [registry.promote("films", row.id, key=press.key, now=1).serial for row in rows] == [1, 2]
        assert registry.roll_back("films", key=press.key, now=1).serial == 3
        assert len(registry.channel("films")) == 3


def test_work_whose_commit_was_lost_on_the_way_back_is_not_done_twice(registry: Registry, press: Press) -> None:
    row = press.publish(registry, 1)
    pointer = registry.promote("films", row.id, key=press.key, now=1)
    document = registry.current_document("films")

    def again(session: Session) -> None:
        assert document
        append(session, Signed(after=None, pointer=pointer, document=document))

    registry.write(again)
    assert registry.channel("films") == [pointer]


def test_a_database_that_was_killed_and_came_back_is_spoken_to_again(
    postgres: Postgres, tmp_path: Path, press: Press
) -> None:
    with Registry.open(postgres.new_database(), artifacts=f"file://{tmp_path / 'artifacts'}") as registry:
        first = press.publish(registry, 1)
        postgres.kill()
        postgres.start()
        assert registry.releases("films") == [first]
        assert press.publish(registry, 2).round == 2


def test_a_database_that_does_not_come_back_is_said_in_one_line(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PAUSES", (0.01, 0.01))
    url = postgres.new_database().replace("fedrec@", "fedrec:secret-word@")
    with Registry.open(url, artifacts=f"file://{tmp_path / 'artifacts'}") as registry:
        postgres.kill()
        try:
            with pytest.raises(DataError, match="does not answer") as told:
                registry.releases("films")
        finally:
            postgres.start()
        assert "\n" not in str(told.value)
        assert "secret-word" not in str(told.value)
        assert registry.releases("films") == []


def test_a_process_that_is_killed_at_any_moment_leaves_whole_releases_and_pointers(
    url: str, tmp_path: Path, press: Press
) -> None:
    artifacts = f"file://{tmp_path / 'artifacts'}"
    Registry.open(url, artifacts=artifacts).close()
    folders = [press.release(number) for number in range(1, 13)]
    draw = np.random.default_rng(5)

    def work() -> None:
        with Registry.open(url, artifacts=artifacts) as registry:
            for number, folder in enumerate(folders, start=1):
                row = registry.publish("films", folder, manifest=verify_release(folder, press.key.public_key()))
                registry.promote("films", row.id, key=press.key, now=number)

    for _ in range(6):
        attempt(work, kill_after=draw.uniform(0.0, 0.6))
        with Registry.open(url, artifacts=artifacts) as registry:
            _require_whole(registry, press)
    assert attempt(work, kill_after=None)
    with Registry.open(url, artifacts=artifacts) as registry:
        _require_whole(registry, press)
        assert len(registry.releases("films")) == len(folders)
        assert registry.channel("films")[-1].round == len(folders)


def test_a_disk_without_room_publishes_nothing_and_says_so(registry: Registry, press: Press) -> None:
    press.publish(registry, 1)
    folder = press.release(2)
    manifest = verify_release(folder, press.key.public_key())
    with no_file_above(1000), pytest.raises(DataError, match="Make room"):
        registry.publish("films", folder, manifest=manifest)
    assert len(registry.releases("films")) == 1
    assert press.publish(registry, 2).round == 2
    _require_whole(registry, press)


def test_a_database_without_room_is_said_in_one_line(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}", artifacts=f"file://{tmp_path / 'artifacts'}") as one:
        with no_file_above(1000), pytest.raises(DataError, match="has room"):
            one.keep_document("directory/films", b"x" * 100_000, serial=1)
        one.keep_document("directory/films", b"x" * 100_000, serial=1)


def test_a_file_that_is_no_database_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(DataError, match="is whole"):
        Registry.open(f"sqlite:///{tmp_path / 'registry.db'}", artifacts=f"file://{tmp_path / 'artifacts'}")


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk: a file stops growing in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_registry_is_its_owners_alone(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}", artifacts=f"file://{tmp_path / 'artifacts'}") as one:
        one.keep_document("directory/films", b"one", serial=1)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"registry.db": 0o600, "registry.db-wal": 0o600, "registry.db-shm": 0o600, "artifacts": 0o700}


def _require_whole(registry: Registry, press: Press) -> None:
    """Every release has its files, and serials rise by one, each signed and to a release that is there."""
    hashes = set()
    for row in registry.releases("films"):
        content, _ = registry.manifest("films", row.manifest_hash) or (b"", b"")
        hashes.add(row.manifest_hash)
        for digest in json.loads(content)["files"].values():
            assert registry.blob_size(digest) == registry.artifacts.size(digest)
            assert registry.artifacts.is_intact(digest)
    pointers = registry.channel("films")
    serials = [pointer.serial for pointer in pointers]
    assert serials == sorted(set(serials))
    assert {pointer.manifest_hash for pointer in pointers} <= hashes
    if document := registry.current_document("films"):
        assert read_pointer(document, press.key.public_key()) == pointers[-1]


def test_a_statement_that_makes_no_sense_is_not_tried_again(registry: Registry) -> None:
    tries = []

    def work(session: Session) -> None:
        tries.append(1)
        session.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(Exception, match="nowhere"):
        registry.read(work)
    assert len(tries) == 1
