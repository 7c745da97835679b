import pytest

from fedrec.data.events import Event, Kind
from fedrec.data.store.store import Store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "device"


@pytest.fixture
def store(folder):
    with Store.create(folder, keys="file") as made:
        yield made


def liked(item, timestamp=1_700_000_000, **more):
    return Event(**{"user_id": "me", "item_id": item, "timestamp": timestamp, "kind": Kind.LIKE, **more})
