import shutil

import pytest

from fedrec.data.events import Event, Kind
from fedrec.data.store.store import Store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "device"


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A closed, empty store; copies of it save the many syncs that making one costs."""
    folder = tmp_path_factory.mktemp("empty") / "device"
    Store.create(folder, keys="file").close()
    return folder


@pytest.fixture
def store(empty, folder):
    shutil.copytree(empty, folder)
    with Store.open(folder, keys="file") as opened:
        yield opened


def liked(item, timestamp=1_700_000_000, **more):
    return Event(**{"user_id": "me", "item_id": item, "timestamp": timestamp, "kind": Kind.LIKE, **more})
