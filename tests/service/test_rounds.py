"""The rounds of a catalogue from the first release to the last, with real clients, ledgers and registry."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedrec.errors import ConfigError, DataError, RefusedError, VerificationError
from fedrec.privacy.statement import check_client_ledgers, participations
from fedrec.release import public_key, verify_release
from fedrec.reporting.privacy.report import privacy_report
from tests.service.devices import NAME, Place, Service

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cached")]


def agree(service: Service) -> None:
    """No device has paid for more than the server knows of."""
    check_client_ledgers(service.ledger(), ((number, service.devices.ledger(number)) for number in range(5)))


def test_rounds_are_run_paid_for_released_and_told(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    assert service.serve() == "done"
    assert service.released() == [0, 1, 2, 3]
    assert service.in_use() == [(0, "promoted")]
    assert [event["round"] for event in service.ledger()] == [1, 2, 3]
    agree(service)
    rounds = service.finished()
    assert [(each.round, each.asked, each.replies, dict(each.failures)) for each in rounds] == [
        (number, 4, 4, {}) for number in (1, 2, 3)
    ]
    assert rounds[0].epsilon is not None
    assert 0 < rounds[0].epsilon < rounds[2].epsilon
    assert (service.status().phase, service.status().message) == ("done", "all 3 rounds are done")


def test_nothing_of_anybody_is_needed_but_the_catalogue(tmp_path: Path, place: Place) -> None:
    """The scenario has settings for an evaluation, which only a simulation can carry out."""
    service = Service(tmp_path, place, evaluation={"baselines": ["ease"], "every": 1}, federation={"rounds": 1})
    assert {path.name for path in service.catalogue.path.iterdir()} == {
        "catalogue.parquet",
        "dataset.json",
        "scenario.toml",
    }
    assert service.serve() == "done"


def test_devices_that_noise_their_own_updates_are_served_as_well(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, privacy={"mode": "local", "unit": "SEGMENT"}, federation={"rounds": 2})
    assert service.serve() == "done"
    assert service.released() == [0, 1, 2]
    assert all(len(event["replies"]) == 4 for event in service.ledger())
    agree(service)


def test_releases_are_signed_with_the_services_key_and_say_what_was_spent(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, federation={"rounds": 1})
    service.serve()
    key = public_key(service.folder.signing_key.with_suffix(".pub"))
    start, after = (verify_release(path, key) for path in sorted((service.catalogue.run / "releases").glob("0*")))
    assert (start.privacy["participations"], after.privacy["participations"]) == (0, 1)
    assert after.privacy["guarantee"]


def test_an_auditor_finds_the_run_whole_and_its_epsilon_below_the_plans(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, federation={"rounds": 2}, budget={"epsilon": 8.0})
    service.serve()
    report = privacy_report(service.catalogue.run)
    assert report["verdict"]["guarantee"]
    assert report["epsilon"]["value"] == pytest.approx(service.finished()[-1].epsilon, abs=1e-3)
    assert not (service.catalogue.run / "signing.key").exists()


def test_what_an_auditor_reads_of_a_service_is_not_what_holds_in_a_simulation(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, privacy={"mode": "local", "unit": "SEGMENT"}, federation={"rounds": 1})
    service.serve()
    report = privacy_report(service.catalogue.run)
    said = json.dumps([report["setting"], report["accountant"], report["limitations"]])
    assert "imulation" not in said
    assert "data set's user ids" not in said
    assert "a person with several devices" in said


def test_a_report_in_the_middle_of_a_round_says_that_its_replies_are_not_charged(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, privacy={"mode": "local", "unit": "SEGMENT"}, federation={"rounds": 1})
    seen: list[Any] = []
    service.devices.before = lambda _: seen.append(privacy_report(service.catalogue.run))
    service.serve()
    during, after = (
        next(each for each in report["accountant"]["assumptions"] if "that is not charged" in each["assumption"])
        for report in (seen[-1], privacy_report(service.catalogue.run))
    )
    assert (during["state"], after["state"]) == ("not met", "met")
    assert "round 1 was asked" in during["evidence"]


def test_a_run_whose_name_was_lost_is_not_taken_for_a_new_one(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, federation={"rounds": 1})
    service.serve()
    (service.catalogue.run / "run.id").unlink()
    with pytest.raises(RefusedError, match=r"run\.id is missing"):
        service.serve()


def test_the_newest_release_is_used_where_the_operator_says_so(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, rounds={"promotion": "newest"}, federation={"rounds": 3, "release_every": 2})
    service.serve()
    assert service.in_use() == [(0, "promoted"), (2, "promoted"), (3, "promoted")]


def test_a_stop_ends_the_rounds_after_the_one_under_way_and_they_go_on_later(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    service.devices.before = lambda _: service.wish("stop")
    assert service.serve() == "stopped"
    assert [each.round for each in service.finished()] == [1]
    assert (service.status().phase, service.status().round) == ("stopped", 2)
    assert "fedrec server resume" in service.status().message
    service.devices.before = lambda _: None
    service.wish("run")
    assert service.serve() == "done"
    assert [each.round for each in service.finished()] == [1, 2, 3]
    assert [event["round"] for event in service.ledger()] == [1, 2, 3]


def test_a_pause_holds_the_next_round_until_somebody_resumes(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, rounds={"poll": 60.0})
    service.devices.before = lambda _: service.wish("pause") if len(service.devices.asked) == 1 else None
    seen: list[Any] = []
    service.time.plans[7200.0] = lambda: (seen.append(service.status()), service.wish("run"))
    assert service.serve() == "done"
    assert (seen[0].phase, seen[0].round) == ("paused", 2)
    assert service.time.elapsed == pytest.approx(7200.0, abs=60.0)


def test_rounds_keep_to_their_hours_and_to_their_interval(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, rounds={"every": 7200.0, "between": [1, 4], "poll": 600.0})
    began: list[float] = []
    service.devices.before = lambda _: began.append(service.time.elapsed)
    service.serve()
    hours = sorted({round(moment / 3600) for moment in began})
    assert hours == [1, 3, 25]


def test_an_interval_counts_from_the_round_before_also_after_a_restart(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, rounds={"every": 7200.0, "poll": 600.0})
    service.devices.before = lambda _: service.wish("stop")
    service.serve()
    service.wish("run")
    began: list[float] = []
    service.devices.before = lambda _: began.append(service.time.elapsed)
    service.serve()
    assert began[0] == pytest.approx(7200.0, abs=600.0)


def test_a_service_without_devices_waits_says_so_and_gives_up_in_words(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    service.grid.connected = {0, 3}
    seen: list[Any] = []
    service.time.plans[1800.0] = lambda: seen.append(service.status())
    with pytest.raises(RefusedError, match="waited 60 min for 4 devices, and 2 of the 2 that are connected"):
        service.serve()
    assert (seen[0].phase, seen[0].needed, seen[0].connected) == ("waiting", 4, 2)
    assert seen[0].message.startswith("round 1 is waiting for 2 of 4 devices, 3")
    assert (service.status().phase, service.devices.asked) == ("failed", [])
    assert "Enrol more" in service.status().message
    # The release that devices need before they can take part is there all the same.
    assert (service.released(), service.in_use()) == ([0], [(0, "promoted")])


def test_a_round_begins_when_its_devices_have_come(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    service.grid.connected = set()
    service.time.plans[1800.0] = lambda: service.grid.connected.update(range(5))
    assert service.serve() == "done"
    assert service.time.elapsed == pytest.approx(1800.0, abs=20.0)
    assert service.finished()[0].seconds["waiting"] == pytest.approx(1800.0, abs=20.0)


def test_a_node_that_nobody_enrolled_is_never_asked(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, federation={"rounds": 2, "cohort": 4})
    strangers = Service(tmp_path / "other", place).devices.keys
    service.devices.keys = [*service.devices.keys[:4], strangers[0]]
    service.grid = service.devices.grid()
    service.serve()
    assert set(service.devices.asked) == {0, 1, 2, 3}


def test_more_are_asked_than_are_needed_and_all_of_them_are_charged(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, federation={"rounds": 1, "cohort": 3, "over_selection": 0.5})
    service.serve()
    (record,) = service.finished()
    assert (record.asked, record.replies, dict(record.failures)) == (5, 3, {"not_needed": 2})
    assert sum(participations(service.ledger()).values()) == 5
    agree(service)


def test_what_is_told_while_a_round_asks_is_how_far_it_is(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place, federation={"rounds": 1})
    seen: list[Any] = []

    def slow(_: int) -> None:
        service.time.sleep(10.0)
        seen.append(service.status())

    service.devices.before = slow
    service.serve()
    assert [(each.phase, each.replies) for each in seen] == [("asking", 0), ("asking", 1), ("asking", 2), ("asking", 3)]
    assert seen[3].message == "round 1: 3 of 4 devices that were asked have replied, 5 min left"
    assert service.finished()[0].seconds == {"asking": 40.0}


def test_a_registry_that_was_lost_is_filled_again(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    service.serve()
    for path in service.folder.path.glob("registry.db*"):
        path.unlink()
    assert service.serve() == "done"
    assert service.released() == [0, 1, 2, 3]
    assert [each.round for each in service.finished()] == [1, 2, 3]
    assert service.in_use() == [(0, "promoted")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"privacy": {"mode": "none"}}, 'privacy.mode is "none"'),
        ({"privacy": {"delta": 1e-5}}, "privacy.delta is 1e-05; for 5 people it is at most 1e-06"),
        ({"privacy": {"mode": "local", "unit": "USER"}, "data": {"users_per_client": 3}}, "users_per_client is 3"),
        ({"budget": {"epsilon": 0.1}}, "over the budget of 0.1"),
    ],
)
def test_what_devices_would_refuse_is_refused_before_anything_is_made(
    tmp_path: Path, place: Place, changes: dict[str, Any], words: str
) -> None:
    service = Service(tmp_path, place, **changes)
    with pytest.raises((ConfigError, RefusedError), match=words.replace(".", r"\.")):
        service.serve()
    assert not service.catalogue.run.exists()
    assert service.status().phase == "failed"
    assert words in service.status().message


def test_a_copy_of_a_run_does_not_open_its_noise_and_without_the_key_it_does_not_go_on(
    tmp_path: Path, place: Place
) -> None:
    service = Service(tmp_path, place)
    service.devices.before = lambda _: service.wish("stop")
    assert service.serve() == "stopped"
    key = service.folder.noise_key(NAME)
    assert key.exists()
    assert not list(service.catalogue.run.rglob("noise*.key"))
    key.unlink()
    service.wish("run")
    with pytest.raises(VerificationError, match=r"noise-.*\.key is missing"):
        service.serve()


def test_a_lost_signing_key_is_said_and_never_made_anew(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    service.folder.signing_key.unlink()
    with pytest.raises(DataError, match=r"signing\.key is missing"):
        service.serve()
    assert not service.folder.signing_key.exists()
    assert service.status().phase == "failed"


def test_rounds_that_somebody_set_back_do_not_go_on(tmp_path: Path, place: Place) -> None:
    service = Service(tmp_path, place)
    service.serve()
    ledger = service.catalogue.run / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(RefusedError):
        service.serve()
    assert service.status().phase == "failed"
