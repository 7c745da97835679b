"""Who is there, who is late and who is lost: the same again from the seed, and what each is charged as."""

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.availability_config import AvailabilityConfig
from fedrec.config import Scenario
from fedrec.errors import ConfigError
from fedrec.privacy.ledger import read_events
from fedrec.privacy.statement import privacy_statement
from fedrec.secagg.planned import plan_of
from fedrec.service.served import require_served
from fedrec.simulation.availability import Availability, availability_of
from fedrec.simulation.engines import ENGINES
from fedrec.simulation.identities import directory_of
from fedrec.simulation.patchy_engine import PatchyEngine, Simulated
from fedrec.training.aggregation import ServerState
from fedrec.training.masking import masking_of
from fedrec.training.recipe import Recipe
from fedrec.training.round import run_rounds
from fedrec.training.run_folder import RunFolder
from tests.training.central_worlds import some_hooks
from tests.training.cohort_worlds import a_population, a_scenario, a_workbench

CLIENTS = 4_000


def available(*, seed: int = 1, deadline: float = 600.0, clients: int = CLIENTS, **settings: Any) -> Availability:
    return Availability(AvailabilityConfig(**settings), clients=clients, seed=seed, deadline=deadline)


def test_everybody_is_there_unless_a_pattern_says_otherwise() -> None:
    assert available().there(7).tolist() == list(range(CLIENTS))


@pytest.mark.parametrize("uneven", [0.0, 0.7])
def test_on_average_a_share_of_the_clients_is_there(uneven: float) -> None:
    chance = available(pattern="diurnal", share=0.3, uneven=uneven, swing=0.0)
    counts = [len(chance.there(number)) for number in range(24)]
    assert np.mean(counts) == pytest.approx(0.3 * CLIENTS, rel=0.1)


def test_uneven_clients_are_there_nearly_always_or_hardly_ever() -> None:
    def spread(uneven: float) -> float:
        chance = available(pattern="diurnal", uneven=uneven, swing=0.0)
        taken = np.zeros(CLIENTS)
        for number in range(60):
            taken[chance.there(number)] += 1
        return float(taken.std())

    assert spread(0.8) > 3 * spread(0.0)


def test_by_the_hour_of_the_day_more_are_there_in_the_evening_than_in_the_morning() -> None:
    chance = available(pattern="diurnal", share=0.3, swing=2.0, zones=0.0)
    assert len(chance.there(20)) > 3 * len(chance.there(8))
    # With clients all around the globe it is always evening somewhere.
    around = available(pattern="diurnal", share=0.3, swing=2.0, zones=24.0)
    assert len(around.there(20)) == pytest.approx(len(around.there(8)), rel=0.2)


def test_rounds_of_the_same_hour_meet_the_same_clients() -> None:
    chance = available(pattern="diurnal", round_minutes=10.0, swing=0.0)
    assert chance.there(6).tolist() == chance.there(11).tolist()
    assert chance.there(11).tolist() != chance.there(12).tolist()


def test_devices_charge_at_night_in_some_nights() -> None:
    chance = available(pattern="charging", share=0.6, zones=0.0, uneven=0.0)
    at_night, at_noon = chance.there(24 + 2), chance.there(24 + 13)
    assert len(at_night) == pytest.approx(0.6 * CLIENTS, rel=0.1)
    assert len(at_noon) < 0.02 * CLIENTS
    # Who is plugged in stays so for the night, and it is others in the next.
    assert len(np.intersect1d(at_night, chance.there(24 + 3))) > 0.95 * len(at_night)
    assert len(np.intersect1d(at_night, chance.there(48 + 2))) < 0.75 * len(at_night)


@pytest.mark.parametrize("pattern", ["diurnal", "charging"])
def test_it_follows_from_the_seed_alone(pattern: Any) -> None:
    one, other = available(pattern=pattern), available(pattern=pattern, seed=2)
    assert one.there(1).tolist() == available(pattern=pattern).there(1).tolist() != other.there(1).tolist()
    assert np.all(np.diff(one.there(1)) > 0)


def test_a_cohort_is_in_time_or_late_or_lost() -> None:
    chance = available(drop_out=0.1, reply_seconds=60.0, spread=1.0, deadline=180.0)
    cohort = list(range(0, CLIENTS, 2))
    found = chance.answers(3, cohort)
    assert sorted([*found.in_time, *found.late, *found.lost]) == cohort
    assert len(found.lost) == pytest.approx(0.1 * len(cohort), rel=0.25)
    # P(log-normal over three times its median) at a spread of 1.
    assert len(found.late) == pytest.approx(0.9 * 0.136 * len(cohort), rel=0.25)


def test_who_else_was_asked_changes_nobodys_answer() -> None:
    chance = available(drop_out=0.2, reply_seconds=60.0, deadline=100.0)
    many, few = chance.answers(3, range(1_000)), chance.answers(3, range(500, 510))
    assert [client for client in many.in_time if 500 <= client < 510] == few.in_time
    assert [client for client in many.lost if 500 <= client < 510] == few.lost


def test_slow_devices_are_slow_again() -> None:
    chance = available(reply_seconds=60.0, deadline=100.0)
    late = [set(chance.answers(number, range(CLIENTS)).late) for number in (1, 2)]
    assert len(late[0] & late[1]) / len(late[0]) > 1.5 * len(late[1]) / CLIENTS


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pattern": "diurnal", "share": 0.0}, "share"),
        ({"pattern": "diurnal", "share": 1.5}, "share"),
        ({"uneven": 1.0}, "uneven"),
        ({"drop_out": 1.0}, "drop_out"),
        ({"reply_seconds": -1.0}, "reply_seconds"),
        ({"pattern": "charging", "round_minutes": 0.0}, "round_minutes"),
        ({"pattern": "diurnal", "round_minutes": 1e300}, "round_minutes"),
        ({"share": 0.2}, "does not read it"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        AvailabilityConfig(**changes)


def test_a_service_does_not_pretend_to_know_who_is_there() -> None:
    with pytest.raises(ConfigError, match="availability"):
        require_served(a_scenario("central", privacy={"noise": "system"}, availability={"drop_out": 0.1}))


PATCHY = {
    "always": {"drop_out": 0.2, "reply_seconds": 100.0},
    "diurnal": {"pattern": "diurnal", "share": 0.6, "drop_out": 0.1},
    "charging": {"pattern": "charging", "share": 0.9, "reply_seconds": 200.0},
}


def trained(path: Path, scenario: Scenario, engine: str, people: int = 30) -> tuple[ServerState, RunFolder]:
    """Some rounds of a scenario, as a simulation runs them, from one in the morning on."""
    draw = np.random.default_rng(5)
    workbench = a_workbench(a_population(draw, draw.integers(0, 20, people).tolist()), scenario)
    folder = RunFolder(path / engine, "", resume=True)
    availability = availability_of(workbench)
    assert availability is not None
    recipe = Recipe(
        federation=scenario.federation,
        plan=workbench.plan,
        layout=workbench.model.layout.hash,
        run_id="run",
        seed=scenario.seed,
        noise=scenario.privacy.noise,
        catalogue=workbench.model.base.catalogue_size,
        masking=masking_of(workbench.plan, lambda: directory_of(people, seed=scenario.seed)),
    )
    start = ServerState.start(np.zeros(workbench.model.layout.size, np.float32))
    opened: AbstractContextManager[Simulated] = ENGINES[engine](workbench, folder)
    with opened as inner:
        patchy = PatchyEngine(inner, availability, enough=scenario.federation.cohort)
        return run_rounds(folder, patchy, recipe, start, some_hooks()), folder


@pytest.mark.parametrize("pattern", ["always", "diurnal", "charging"])
@pytest.mark.parametrize("mode", ["none", "central"])
def test_the_engines_are_equal_whoever_comes_and_goes(tmp_path: Path, mode: str, pattern: str) -> None:
    scenario = a_scenario(
        mode,
        federation={"cohort": 6, "rounds": 4, "over_selection": 0.5, "timeout": 300.0},
        privacy={"participations": 4},
        availability=PATCHY[pattern],
    )
    (one, ours), (other, theirs) = (trained(tmp_path, scenario, engine) for engine in ("cohort", "reference"))
    assert np.linalg.norm(one.adapter - other.adapter) <= 1e-4 * np.linalg.norm(other.adapter)
    told = [
        [(line["asked"], line["replies"], line["failures"]) for line in folder.rounds()] for folder in (ours, theirs)
    ]
    assert told[0] == told[1]
    assert Counter(told[0][0][2])["lost"] + Counter(told[0][0][2])["late"] > 0


@pytest.mark.parametrize("engine", ["cohort", "reference", "flower"])
def test_under_masks_who_is_lost_is_not_in_the_sum_and_owes_nothing(tmp_path: Path, engine: str) -> None:
    scenario = a_scenario(
        "distributed",
        federation={"cohort": 12, "rounds": 3},
        availability={"drop_out": 0.1},
        privacy={"participations": 3},
    )
    _, folder = trained(tmp_path, scenario, engine)
    told = [(line["asked"], line["replies"]) for line in folder.rounds()]
    assert all(asked == 12 for asked, _ in told)
    assert any(0 < replies < 12 for _, replies in told)
    charged = [len(event["participants"]) for event in read_events(folder.ledger)]
    assert charged == [replies for _, replies in told if replies]


def test_whoever_is_asked_and_lost_or_late_is_charged_all_the_same(tmp_path: Path) -> None:
    scenario = a_scenario(
        "central", federation={"cohort": 10, "rounds": 2, "timeout": 60.0}, availability=PATCHY["always"]
    )
    _, folder = trained(tmp_path, scenario, "cohort")
    for event, line in zip(read_events(folder.ledger), folder.rounds(), strict=True):
        assert len(event["participants"]) == line["asked"] > line["replies"]


@pytest.mark.parametrize(("pattern", "claims"), [("always", True), ("diurnal", False), ("charging", False)])
def test_coins_are_worth_something_only_where_everybody_could_have_been_drawn(
    tmp_path: Path, pattern: str, claims: bool
) -> None:
    federation = {"cohort": 3, "rounds": 3, "sampling_rate": 0.1, "timeout": 300.0}
    scenario = a_scenario("central", federation=federation, availability=PATCHY[pattern], privacy={"noise": "system"})
    _, folder = trained(tmp_path, scenario, "cohort")
    plan = plan_of(scenario)
    stated = privacy_statement(plan, read_events(folder.ledger), system_noise=True)
    assert ("amplified" in stated) == claims
    # Whatever the coins are worth, the headline is of known participations.
    fixed = replace(scenario, federation=replace(scenario.federation, sampling_rate=None))
    assert plan_of(fixed) == replace(plan, cohort_rate=None) if plan else False
