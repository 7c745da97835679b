"""What the agent answers: lists, reasons, feedback, settings, the person's rights."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from fedrec.agent.app import create_app
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.participation import participation
from tests.agent.conftest import PORT, Agent, Caller
from tests.agent.worlds import HOSTILE, took_part


def listed(product: Caller, **asked: Any) -> list[str]:
    """The ids of a list."""
    answer = product.get("/v1/recommendations", params={"k": 60, **asked})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_an_event_counts_in_the_next_list(product: Caller) -> None:
    before = product.get("/v1/recommendations").json()["items"]
    recorded = product.post("/v1/events", json={"events": [{"kind": "like", "item_id": "i3"}]})
    assert recorded.status_code == 201
    after = product.get("/v1/recommendations").json()["items"]
    assert [item["item_id"] for item in after] != [item["item_id"] for item in before]
    reasons = [reason["because"] for item in after for reason in item["reasons"]]
    assert "you liked Title 3" in reasons
    assert "i3" not in [item["item_id"] for item in after]


def test_a_batch_is_recorded_whole_or_not_at_all(product: Caller) -> None:
    events = [{"kind": "like", "item_id": "i1"}, {"kind": "search"}]
    assert product.post("/v1/events", json={"events": events}).status_code == 422
    assert product.get("/v1/context").json()["events"] == 0
    events[1]["text"] = "the sea"
    ids = product.post("/v1/events", json={"events": events}).json()["ids"]
    assert len(ids) == 2
    assert product.get("/v1/context").json()["events"] == 2


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "like"},
        {"kind": "adore", "item_id": "i1"},
        {"kind": "like", "item_id": "i1", "text": "words"},
        {"kind": "like", "item_id": ""},
        {"kind": "like", "item_id": 7},
        {"kind": "like", "item_id": "i1", "timestamp": -1},
        {"kind": "like", "item_id": "i1", "timestamp": 1e300},
        {"kind": "rate", "item_id": "i1", "value": "much"},
        {"kind": "search", "text": ""},
        {"kind": "search", "text": "x" * 2001},
        {"kind": "like", "item_id": "i1", "user_id": "somebody"},
        None,
    ],
)
def test_an_event_of_no_sense_is_one_clear_line(product: Caller, event: object) -> None:
    answer = product.post("/v1/events", json={"events": [event]})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error.startswith("events.0")
    assert "\n" not in error
    assert "somebody" not in error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"events": NaN}',
        b'{"events": 1e999}',
        b"[" * 100_000,
        b'{"events": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"events": [{"kind": "search", "text": "\\udfff"}]}',
        b'{"events": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_of_no_sense_is_refused(product: Caller, body: bytes) -> None:
    answer = product.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["error"]


def test_an_event_of_an_item_that_is_not_there_yet_is_kept(product: Caller) -> None:
    assert product.post("/v1/events", json={"events": [{"kind": "save", "item_id": "later"}]}).status_code == 201
    assert product.get("/v1/context").json()["recent"][0]["said"] == "you saved something"


def test_a_list_has_the_length_that_was_asked_for_and_reasons_with_shares(product: Caller) -> None:
    product.post("/v1/events", json={"events": [{"kind": "save", "item_id": "i5"}]})
    answer = product.get(
        "/v1/recommendations", params={"k": 7, "label": "evening", "session": ["i1", "i2", "none"]}
    ).json()
    assert len(answer["items"]) == 7
    assert answer["milliseconds"] > 0
    assert answer["context"] == {"text": "", "session": ["i1", "i2", "none"], "label": "evening"}
    for item in answer["items"]:
        assert 0 < sum(reason["share"] for reason in item["reasons"]) <= 1 + 1e-9
        assert item["item_id"] not in ("i1", "i2", "i5")


@pytest.mark.parametrize("asked", [{"k": 0}, {"k": 101}, {"k": "ten"}, {"context": "x" * 2001}, {"session": [""]}])
def test_a_question_of_no_sense_is_refused(product: Caller, asked: dict[str, object]) -> None:
    assert product.get("/v1/recommendations", params=asked).status_code == 422  # type: ignore[arg-type]


def test_an_explanation_adds_up_to_the_score(product: Caller) -> None:
    events = [
        {"kind": kind, "item_id": f"i{item}"} for item, kind in enumerate(["like", "save", "skip", "view", "hide"])
    ]
    product.post("/v1/events", json={"events": events})
    for item_id in listed(product)[:10]:
        why = product.get(f"/v1/explanations/{item_id}").json()
        assert sum(part["contribution"] for part in why["parts"]) == pytest.approx(why["score"], rel=1e-5, abs=1e-5)


def test_what_the_catalogue_lacks_is_not_there(product: Caller) -> None:
    assert product.get("/v1/explanations/none").status_code == 404
    assert product.get("/v1/explanations/a/b%2Fc").status_code == 404
    assert product.post("/v1/feedback", json={"action": "like", "item_id": "none"}).status_code == 404
    assert product.post("/v1/undo", json={}).status_code == 404
    assert product.post("/v1/undo", json={"id": 99}).status_code == 404
    assert product.get("/v1/nothing").status_code == 404
    assert product.request("DELETE", "/v1/events").status_code == 405


@pytest.mark.parametrize(
    "action", ["like", "save", "share", "finish", "skip", "hide", "block", "not_this_topic", "purchase"]
)
def test_feedback_counts_at_once_and_undoing_takes_all_of_it_back(product: Caller, action: str) -> None:
    before = listed(product)
    given = product.post("/v1/feedback", json={"action": action, "item_id": before[0]})
    assert given.status_code == 201
    assert given.json()["title"] in given.json()["said"]
    assert before[0] not in listed(product)
    undone = product.post("/v1/undo", json={"id": given.json()["id"]})
    assert undone.json()["action"] == action
    assert listed(product) == before


def test_a_blocked_provider_and_an_unwanted_topic_leave_the_lists(product: Caller) -> None:
    items = {item["item_id"]: item for item in product.get("/v1/recommendations", params={"k": 60}).json()["items"]}
    blocked = next(item for item in items.values() if item["provider"])
    unwanted = next(item for item in items.values() if item["category"] != blocked["category"])
    product.post("/v1/feedback", json={"action": "block", "item_id": blocked["item_id"]})
    product.post("/v1/feedback", json={"action": "not_this_topic", "item_id": unwanted["item_id"]})
    left = [items[item_id] for item_id in listed(product)]
    assert left
    assert blocked["provider"] not in {item["provider"] for item in left}
    assert unwanted["category"] not in {item["category"] for item in left}
    profile = product.get("/v1/profile").json()
    assert (profile["blocked_providers"], profile["muted_topics"]) == ([blocked["provider"]], [unwanted["category"]])
    assert profile["hidden_items"] == 2


def test_what_was_turned_away_is_let_in_again(product: Caller) -> None:
    first = product.get("/v1/recommendations", params={"k": 60}).json()["items"]
    provided = next(item for item in first if item["provider"])
    product.post("/v1/feedback", json={"action": "block", "item_id": provided["item_id"]})
    product.post("/v1/feedback", json={"action": "not_this_topic", "item_id": provided["item_id"]})
    before = set(listed(product))
    for what, name in (("provider", provided["provider"]), ("topic", provided["category"])):
        profile = product.post("/v1/profile/let-in", json={what: name}).json()
    assert (profile["blocked_providers"], profile["muted_topics"]) == ([], [])
    after = set(listed(product))
    assert before < after
    assert provided["item_id"] not in after


def test_personal_weights_are_a_switch(product: Caller, agent: Agent) -> None:
    before = product.get("/v1/settings").json()
    changed = product.put("/v1/settings", json={"personal_weights": not before["personal_weights"]}).json()
    assert changed == {**before, "personal_weights": not before["personal_weights"]}
    assert agent.engine.uses_personal_weights is changed["personal_weights"]


def test_a_rating_needs_its_value_and_nothing_else_takes_one(product: Caller) -> None:
    assert product.post("/v1/feedback", json={"action": "rate", "item_id": "i1"}).status_code == 422
    assert product.post("/v1/feedback", json={"action": "like", "item_id": "i1", "value": 3.0}).status_code == 422
    rated = product.post("/v1/feedback", json={"action": "rate", "item_id": "i1", "value": 4.5})
    assert rated.json()["value"] == 4.5


def test_settings_are_kept_one_by_one(product: Caller, agent: Agent) -> None:
    assert product.put("/v1/settings", json={"diversity": 0.8}).json()["diversity"] == 0.8
    changed = product.put("/v1/settings", json={"max_shown": 3}).json()
    assert (changed["diversity"], changed["max_shown"]) == (0.8, 3)
    assert agent.engine.steering.max_shown == 3
    for wrong in ({"diversity": 1.1}, {"diversity": "much"}, {"speed": 1}, {"max_shown": 0.5}):
        assert product.put("/v1/settings", json=wrong).status_code == 422
    assert product.get("/v1/settings").json() == changed


def test_titles_are_found_by_their_words(product: Caller) -> None:
    found = product.get("/v1/items", params={"query": "7 TITLE", "limit": 3}).json()["items"]
    assert [item["title"] for item in found] == ["Title 7", "Title 17", "Title 27"]
    assert product.get("/v1/items", params={"query": "SCRIPT"}).json()["items"][0]["title"] == HOSTILE
    assert product.get("/v1/items", params={"query": "nowhere"}).json()["items"] == []


def test_the_badge_says_what_happened_last(product: Caller) -> None:
    product.post("/v1/events", json={"events": [{"kind": "search", "text": "calm  sea"}]})
    product.post("/v1/feedback", json={"action": "like", "item_id": "i4"})
    live = product.get("/v1/context").json()
    assert [one["said"] for one in live["recent"]] == ["you liked Title 4", "you searched for “calm sea”"]


def test_nothing_was_spent_before_the_device_took_part(product: Caller) -> None:
    privacy = product.get("/v1/privacy").json()
    assert (privacy["epsilon"], privacy["participations"], privacy["uploads"]) == (0, 0, [])
    assert "Nothing about you has left this device" in privacy["words"]


def test_a_device_takes_no_part_in_training_without_privacy(product: Caller) -> None:
    assert product.get("/v1/participation").json() == {
        "on": False,
        "paused_until": None,
        "idle": True,
        "charging": True,
        "unmetered": True,
        "possible": False,
        "changed": False,
        "words": "",
    }
    answer = product.put("/v1/participation", json={"on": True})
    assert answer.status_code == 409
    assert "WITHOUT privacy" in answer.json()["error"]


def test_an_export_holds_what_was_done_and_no_key(product: Caller, agent: Agent) -> None:
    product.post("/v1/events", json={"events": [{"kind": "search", "text": "calm sea"}]})
    export = product.get("/v1/export")
    assert export.json()["events"][0]["text"] == "calm sea"
    key = (agent.engine.device / "store.key").read_text().split()[-1]
    assert key not in export.text


def test_erasing_needs_the_word_and_leaves_nothing(product: Caller) -> None:
    product.post("/v1/events", json={"events": [{"kind": "like", "item_id": "i1"}]})
    for wrong in ({}, {"confirm": "yes"}, {"confirm": True}):
        assert product.post("/v1/erase", json=wrong).status_code == 422
    assert product.get("/v1/context").json()["events"] == 1
    erased = product.post("/v1/erase", json={"confirm": "erase"})
    assert "cannot be called back" in erased.json()["said"]
    assert product.get("/v1/context").json() == {"recent": [], "events": 0}
    assert product.get("/v1/export").json()["events"] == []


def test_the_release_is_named_and_there_is_nothing_to_go_back_to(product: Caller, agent: Agent) -> None:
    release = product.get("/v1/release").json()
    assert release == {"id": agent.engine.release.id, "round": 0, "items": 60, "reads_texts": False, "earlier": []}
    assert product.post("/v1/release/rollback").status_code == 409


def test_the_page_is_served_with_its_files_and_nothing_else(agent: Agent) -> None:
    stranger = agent.caller()
    page = stranger.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.text.replace("http-equiv", "")
    for path in ("/page/app.js", "/page/style.css", "/page/icon.svg"):
        assert stranger.get(path).status_code == 200
    for path in ("/page/index.html", "/page/../app.py", "/page/%2e%2e/app.py", "/docs", "/redoc"):
        assert stranger.get(path).status_code == 401
        assert agent.product().get(path).status_code == 404


def test_the_address_of_the_page_holds_a_ticket_and_not_the_token(agent: Agent) -> None:
    address = agent.product().post("/v1/page").json()["address"]
    assert address.startswith(f"http://127.0.0.1:{PORT}/#ticket=")
    assert agent.token not in address
    entered = agent.caller().post("/session", json={"ticket": address.partition("#ticket=")[2]})
    assert entered.status_code == 200


def test_an_application_of_its_own_knows_no_ticket_of_another(engine: Engine, agent: Agent) -> None:
    other = Agent(create_app(engine, token=agent.token, port=PORT), agent.token, engine)
    ticket = agent.app.state.sessions.ticket()
    assert other.caller().post("/session", json={"ticket": ticket}).status_code == 401


def three_tastes(product: Caller) -> list[dict[str, Any]]:
    """The interests of somebody who liked items of two topics."""
    events = [{"kind": "like", "item_id": f"i{item}"} for item in (1, 5, 9, 13, 17, 2, 6, 10, 14)]
    product.post("/v1/events", json={"events": events})
    clusters: list[dict[str, Any]] = product.get("/v1/profile").json()["clusters"]
    return clusters


def test_interests_are_seen_with_what_they_are_made_of(product: Caller) -> None:
    nothing = {"clusters": [], "muted_topics": [], "blocked_providers": [], "hidden_items": 0}
    assert product.get("/v1/profile").json() == nothing
    clusters = three_tastes(product)
    assert clusters
    assert sum(cluster["share"] for cluster in clusters) == pytest.approx(1)
    assert sum(cluster["entries"] for cluster in clusters) == 9
    assert all(example.startswith("Title ") for cluster in clusters for example in cluster["examples"])


def test_a_muted_interest_leaves_the_lists_and_returns(product: Caller) -> None:
    clusters = three_tastes(product)
    before = listed(product)
    path = f"/v1/profile/clusters/{clusters[0]['id']}"
    muted = product.put(path, json={"muted": True}).json()["clusters"]
    assert [cluster["muted"] for cluster in muted if cluster["id"] == clusters[0]["id"]] == [True]
    assert set(listed(product)) < set(before)
    product.put(path, json={"muted": False})
    assert listed(product) == before


def test_an_interest_bears_the_name_that_the_person_gave_it(product: Caller) -> None:
    clusters = three_tastes(product)
    path = f"/v1/profile/clusters/{clusters[0]['id']}"
    assert product.put(path, json={"name": "Evenings"}).json()["clusters"][0]["name"] == "Evenings"
    assert product.put(path, json={"name": ""}).json()["clusters"][0]["name"] == clusters[0]["name"]
    assert product.put(path, json={"name": "x" * 61}).status_code == 422
    assert product.put("/v1/profile/clusters/999", json={"name": "x"}).status_code == 404


def test_a_person_takes_part_with_conditions_and_pauses(private: Agent) -> None:
    product = private.product()
    offered = product.get("/v1/participation").json()
    assert (offered["on"], offered["possible"]) == (False, True)
    assert "has to be trusted" in offered["words"]
    decided = product.put("/v1/participation", json={"on": True, "idle": False, "epsilon": 3}).json()
    assert (decided["on"], decided["idle"], decided["charging"]) == (True, False, True)
    assert product.get("/v1/privacy").json()["budget"] == 3
    changed = product.put("/v1/participation", json={"on": True, "charging": False}).json()
    assert (changed["on"], changed["idle"], changed["charging"]) == (True, True, False)
    assert product.get("/v1/privacy").json()["budget"] == 3
    paused = product.post("/v1/participation/pause", json={"hours": 2}).json()
    assert paused["paused_until"] == pytest.approx(private.engine.now() + 7200, abs=5)
    assert product.post("/v1/participation/pause", json={"hours": 0}).json()["paused_until"] is None
    assert product.put("/v1/device", json={"idle": True, "charging": None}).status_code == 200
    assert not product.put("/v1/participation", json={"on": False}).json()["on"]


def test_a_plan_that_changed_is_told_until_the_person_agrees_again(private: Agent) -> None:
    product = private.product()
    product.put("/v1/participation", json={"on": True, "epsilon": 3})
    decided = participation(private.engine.store)
    laxer = replace(decided.plan, noise_multiplier=decided.plan.noise_multiplier * 2)
    private.engine.store.set_value(
        "participation", private.engine.store.value("participation") | {"plan": asdict(laxer)}
    )
    assert product.get("/v1/participation").json()["changed"]
    assert product.put("/v1/participation", json={"on": True}).json()["changed"]
    assert not product.put("/v1/participation", json={"on": True, "agree": True}).json()["changed"]
    assert participation(private.engine.store).budget.epsilon == 3


def test_what_was_spent_is_said_in_words_and_numbers(private: Agent) -> None:
    took_part(private.engine, 2)
    privacy = private.product().get("/v1/privacy").json()
    assert "took part 2 times" in privacy["words"]
    assert 0 < privacy["epsilon"] < privacy["budget"] == 8
    assert [(upload["round"], upload["bytes"]) for upload in privacy["uploads"]] == [(1, 49_152), (0, 49_152)]
    private.product().post("/v1/erase", json={"confirm": "erase"})
    assert private.product().get("/v1/privacy").json()["epsilon"] == privacy["epsilon"]


def test_words_for_now_steer_one_list_and_are_not_stored(reading: Agent) -> None:
    product = reading.product()
    title = reading.engine.catalogue.title(3)
    answer = product.get("/v1/recommendations", params={"context": title}).json()
    assert f"you are asking for “{title}”" in {reason["because"] for reason in answer["items"][0]["reasons"]}
    assert answer["context"]["text"] == title
    assert product.get("/v1/context").json()["events"] == 0
    assert title not in str(product.get("/v1/export").json())


def test_words_are_refused_where_the_release_cannot_read(product: Caller) -> None:
    assert product.get("/v1/recommendations", params={"context": "the sea"}).status_code == 409
    assert product.post("/v1/items", json={"items": [{"item_id": "n", "title": "New"}]}).status_code == 409


def test_a_new_item_is_recommendable_at_once(reading: Agent) -> None:
    product = reading.product()
    title = reading.engine.catalogue.title(3)
    new = {"item_id": "new", "title": title, "category": "topic 3"}
    assert product.post("/v1/items", json={"items": [new]}).json() == {"items": 41}
    answer = product.get("/v1/recommendations", params={"context": title, "k": 40}).json()
    assert "new" in [item["item_id"] for item in answer["items"]]
    assert product.post("/v1/items", json={"items": [{"item_id": "i1", "title": "Old"}]}).status_code == 409


def test_events_are_kept_for_as_long_as_the_person_says(product: Caller) -> None:
    nothing = {"days": None, "kinds": {}, "deleted": 0}
    assert product.get("/v1/retention").json() == nothing
    kept = product.put("/v1/retention", json={"days": 365, "kinds": {"search": 30, "like": None}}).json()
    assert kept == {"days": 365, "kinds": {"search": 30, "like": None}, "deleted": 0}
    assert product.get("/v1/retention").json() == kept
    for wrong in ({"days": 0}, {"days": "long"}, {"kinds": {"adore": 3}}, {"kinds": {"like": -1}}):
        assert product.put("/v1/retention", json=wrong).status_code == 422
    assert product.put("/v1/retention", json={}).json() == nothing
