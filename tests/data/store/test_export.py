import json

from fedrec.data.events import Kind
from fedrec.privacy.device_ledger import DeviceLedger
from tests.data.store.conftest import liked


def test_an_export_is_what_the_person_did_in_words(store):
    store.add_event(liked("a", 0, value=2.5, context="evening"))
    store.add_event(liked(None, 86_400, kind=Kind.SEARCH, text="knee pain"))
    said = json.loads(json.dumps(store.export()))["events"]
    assert said == [
        {"id": 1, "time": "1970-01-01T00:00:00Z", "kind": "like", "item": "a", "value": 2.5, "context": "evening"},
        {"id": 2, "time": "1970-01-02T00:00:00Z", "kind": "search", "text": "knee pain"},
    ]


def test_an_export_holds_settings_clusters_and_what_was_shown(store):
    store.set_value("clusters", [{"name": "films"}])
    store.set_value("diversity", 0.3)
    store.add_shown(["a", "a"], 100)
    said = store.export()
    assert said["clusters"] == {"clusters": [{"name": "films"}]}
    assert said["settings"] == {"diversity": 0.3}
    assert said["shown"] == {"a": 2}


def test_an_export_tells_what_was_uploaded_and_when(store):
    with DeviceLedger(store) as ledger:
        ledger.append({"kind": "update", "run": "films", "round": 3, "time": 86_400, "noise_multiplier": 1.0})
    said = store.export()
    assert said["uploads"] == [{"time": "1970-01-02T00:00:00Z", "kind": "update", "run": "films", "round": 3}]
    assert said["ledger"][0]["event"]["noise_multiplier"] == 1.0


def test_an_export_holds_no_key(store, folder):
    store.set_blob("identity", b"\x01secret key\x02")
    text = json.dumps(store.export())
    _, key = (folder / "store.key").read_text().split()
    assert key not in text
    assert "secret key" not in text
    assert b"\x01secret key\x02".hex() not in text
    assert store.export()["kept_as_bytes"] == {"identity": 12}
