"""What an operator reads: rounds, budgets, releases and deeds, as the registry and the ledger have them."""

import pytest

from fedrec.registry.control import Control, ask
from tests.console.conftest import Operated
from tests.console.worlds import HOUR, NOW, busy


def test_a_service_without_catalogues_says_so(console: Operated) -> None:
    answer = console.script().get("/console/v1/overview")
    assert answer.json()["catalogues"] == []
    assert answer.json()["smallest_group"] == 5


def test_a_catalogue_before_its_first_round_is_there_to_read(console: Operated) -> None:
    console.shop()
    line = console.script().get("/console/v1/overview").json()["catalogues"][0]
    assert (line["name"], line["now"], line["in_use"], line["wished"]["wish"]) == ("films", None, None, "run")
    found = console.script().get("/console/v1/catalogues/films").json()
    assert (found["rounds"], found["releases"], found["deeds"]) == ([], [], [])
    assert found["budget"]["epsilon"] == 0
    assert found["budget"]["left"] == 8


def test_the_round_under_way_is_said_in_words(console: Operated) -> None:
    console.shop().say("waiting", connected=27)
    now = console.script().get("/console/v1/overview").json()["catalogues"][0]["now"]
    assert now["title"] == "Waiting for devices: 27 of 40"
    assert now["quiet"] is False


def test_rounds_that_were_not_heard_of_for_long_are_quiet(console: Operated) -> None:
    shop = console.shop()
    shop.say("waiting", at=NOW - HOUR)
    assert console.script().get("/console/v1/overview").json()["catalogues"][0]["now"]["quiet"] is True
    shop.say("done", at=NOW - HOUR)
    assert console.script().get("/console/v1/overview").json()["catalogues"][0]["now"]["quiet"] is False


def test_a_busy_catalogue_shows_its_rounds_latest_first(console: Operated) -> None:
    busy(console.shop())
    found = console.script().get("/console/v1/catalogues/films").json()
    assert [record["round"] for record in found["rounds"]] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert found["rounds"][0]["seconds"][0]["phase"] == "waiting"
    assert found["rounds"][0]["figures"][0]["basis"] == "released"
    assert found["devices"]["words"] == "812"


def test_a_release_has_the_quality_that_the_round_after_it_released(console: Operated) -> None:
    shop = console.shop()
    shop.publish(3)
    shop.publish(4)
    shop.finish(4, replies=40, hits=0.18)
    releases = console.script().get("/console/v1/catalogues/films").json()["releases"]
    found = {each["round"]: {figure["name"]: figure for figure in each["figures"]} for each in releases}
    assert found[3]["hit_rate@10"]["value"] == 0.18
    assert found[3]["hit_rate@10"]["basis"] == "released"
    assert found[3]["hit_rate@10"]["noise"] > 0
    assert "hit_rate@10" not in found[4]


def test_what_is_spent_is_the_ledgers_own_figure(console: Operated) -> None:
    from fedrec.config_file import load_scenario
    from fedrec.privacy.accounting import composed, epsilon_of
    from fedrec.secagg.planned import plan_of

    shop = console.shop()
    shop.pay(range(40), range(40), range(20, 60))
    plan = plan_of(load_scenario(console.folder.catalogue("films").scenario))
    assert plan is not None
    budget = console.script().get("/console/v1/catalogues/films").json()["budget"]
    three = epsilon_of(composed(plan.spends(3)), delta=plan.delta)
    assert three <= budget["epsilon"] < three + 0.01
    assert budget["left"] == pytest.approx(8 - three, abs=0.01)
    assert budget["left"] <= 8 - three
    assert budget["guarantee"] is True


def test_a_longer_ledger_is_read_anew(console: Operated) -> None:
    shop = console.shop()
    shop.pay(range(40))
    before = console.script().get("/console/v1/catalogues/films").json()["budget"]["epsilon"]
    shop.pay(range(40))
    assert console.script().get("/console/v1/catalogues/films").json()["budget"]["epsilon"] > before


def test_a_ledger_that_was_edited_is_said_and_stops_nothing_else(console: Operated) -> None:
    busy(console.shop())
    ledger = console.folder.catalogue("films").run / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"2.0", b"9.0", 1))
    found = console.script().get("/console/v1/catalogues/films")
    assert found.status_code == 200
    assert "does not continue the chain" in found.json()["budget"]["fault"]
    assert found.json()["budget"]["epsilon"] is None
    assert b'fedrec_ledger_readable{catalogue="films"} 0.0' in console.script().get("/metrics").content


def test_a_catalogue_without_noise_says_that_it_is_not_private(console: Operated) -> None:
    console.shop()
    console.folder.catalogue("films").scenario.write_text('name = "films"\n')
    budget = console.script().get("/console/v1/catalogues/films").json()["budget"]
    assert budget["words"].startswith("NOT PRIVATE")
    assert budget["epsilon"] is None


def test_releases_name_what_they_were_made_from_and_which_is_in_use(console: Operated) -> None:
    shop = console.shop()
    first, second = shop.publish(1), shop.publish(2)
    shop.use(first, at=NOW)
    shop.use(second, at=NOW + 1)
    releases = console.script().get("/console/v1/catalogues/films").json()["releases"]
    assert [(row["round"], row["in_use"], row["back"]) for row in releases] == [(2, True, False), (1, False, True)]
    assert {made["name"] for made in releases[0]["lineage"]} >= {"ledger_head", "base_model", "index"}
    # The second release brings an adapter, not the index again.
    assert releases[0]["new_bytes"] < releases[1]["new_bytes"]


def test_deeds_of_everybody_are_one_story(console: Operated) -> None:
    shop = console.shop()
    shop.use(shop.publish(1), at=NOW - 10)
    ask(console.registry, Control(catalogue="films", wish="pause", by="command line", at=NOW, reason="a look"))
    deeds = console.script().get("/console/v1/catalogues/films").json()["deeds"]
    assert [(deed["what"], deed["by"]) for deed in deeds] == [("Paused", "command line"), ("Put into use", "")]


@pytest.mark.parametrize("name", ["books", "..", "%2e%2e", "films%2f..", "FILMS"])
def test_a_catalogue_that_is_not_served_is_not_there(console: Operated, name: str) -> None:
    console.shop()
    assert console.script().get(f"/console/v1/catalogues/{name}").status_code in (404, 422)
