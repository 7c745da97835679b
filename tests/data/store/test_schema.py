import pytest

from fedrec.data.store.connection import connect
from fedrec.data.store.keys import FileKeys, read_keys
from fedrec.data.store.schema import STEPS, migrate, schema_version
from fedrec.data.store.store import Store
from fedrec.errors import DataError
from tests.data.store.conftest import liked

NEXT = ("ALTER TABLE events ADD COLUMN place TEXT", "CREATE TABLE places (name TEXT)")


@pytest.fixture
def first(folder):
    """A file of version 1 with an event in it, open."""
    with Store.create(folder, keys="file") as store:
        store.add_event(liked("a"))
    (key,) = read_keys(folder, FileKeys(folder / "store.key")).values()
    connection = connect(folder / "store.db", key)
    yield connection
    connection.close()


def test_a_file_of_version_1_becomes_one_of_version_2_with_all_that_it_holds(first):
    assert schema_version(first) == 1
    migrate(first, steps=(*STEPS, NEXT))
    assert schema_version(first) == 2
    assert first.execute("SELECT item, place FROM events").fetchall() == [("a", None)]
    migrate(first, steps=(*STEPS, NEXT))
    assert schema_version(first) == 2


def test_a_step_that_fails_leaves_the_file_as_it_was(first):
    with pytest.raises(Exception, match="syntax"):
        migrate(first, steps=(*STEPS, (*NEXT, "NO SUCH STATEMENT")))
    assert schema_version(first) == 1
    assert "place" not in [row[1] for row in first.execute("PRAGMA table_info(events)")]


def test_a_store_of_a_newer_fedrec_is_refused_and_left_alone(first, folder):
    migrate(first, steps=(*STEPS, NEXT))
    first.close()
    before = (folder / "store.db").read_bytes()
    with pytest.raises(DataError, match=r"schema version 2; this fedrec reads up to 1\. Upgrade fedrec"):
        Store.open(folder, keys="file")
    assert (folder / "store.db").read_bytes() == before
