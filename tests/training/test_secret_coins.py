"""Rounds whose clients are drawn by secret coins: whatever the coins show, the round looks the same from outside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.config import Scenario
from fedrec.config_file import parse_table
from fedrec.errors import ConfigError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.ledger import read_events
from fedrec.service.served import require_served
from fedrec.training.run_folder import RunFolder
from tests.training.central_worlds import PLAN, Crowd, PowerCutError, a_recipe, cut_at_write, run

COINS = replace(PLAN, cohort_rate=0.2)


def test_a_cohort_is_as_large_as_its_coins_make_it(tmp_path: Path) -> None:
    crowd = Crowd(400)
    run(tmp_path, crowd, a_recipe(COINS, rounds=12, cohort=80, sampling_rate=0.2))
    sizes = [len(cohort) for _, cohort in crowd.asked]
    assert len(set(sizes)) > 3
    assert 55 < np.mean(sizes) < 105
    # Independent coins: that of one client in one round says nothing of the next.
    drawn = np.zeros((12, 400))
    for number, (_, cohort) in enumerate(crowd.asked):
        drawn[number, cohort] = 1
    assert drawn.sum(axis=0).max() < 12


def test_the_coins_are_the_operating_systems_and_seeded_ones_can_be_had_again(tmp_path: Path) -> None:
    def cohorts(name: str, noise: str) -> list[list[int]]:
        crowd = Crowd(100)
        run(tmp_path / name, crowd, a_recipe(COINS, noise=noise, rounds=3, cohort=20, sampling_rate=0.2))
        return [cohort for _, cohort in crowd.asked]

    assert cohorts("a", "seeded") == cohorts("b", "seeded")
    assert cohorts("c", "system") != cohorts("d", "system")


def test_the_sum_is_divided_by_the_expected_cohort_whoever_was_drawn(tmp_path: Path) -> None:
    crowd = Crowd(50)
    recipe = a_recipe(replace(COINS, noise_multiplier=1e-6), noise="seeded", cohort=10, sampling_rate=0.2)
    state, _ = run(tmp_path, crowd, recipe)
    assert state.adapter[0] == pytest.approx(0.5 * len(crowd.asked[0][1]) / 10, abs=1e-4)


def test_a_round_that_draws_nobody_is_noised_and_released_like_any_other(tmp_path: Path) -> None:
    crowd = Crowd(3)
    state, folder = run(tmp_path, crowd, a_recipe(COINS, cohort=1, sampling_rate=1e-9))
    assert [cohort for _, cohort in crowd.asked] == [[]]
    assert np.abs(state.adapter).min() > 0
    (event,) = read_events(folder.ledger)
    assert (event["participants"], event["released"]) == ([], "adapter of round 1")
    assert event["cohort_rate"] == 0.2


def test_nobody_is_turned_away_because_enough_have_answered(tmp_path: Path) -> None:
    crowd = Crowd(60)
    _, folder = run(tmp_path, crowd, a_recipe(COINS, cohort=1, sampling_rate=0.5))
    record = folder.rounds()[0]
    assert record["replies"] == record["asked"] == len(crowd.asked[0][1]) > 10


def test_coins_that_were_thrown_stand_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, first, second = a_recipe(COINS, cohort=12, sampling_rate=0.2), Crowd(60), Crowd(60)
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        # Paid for, and lost before the noise was kept: the round is asked for again.
        cut_at_write(patch, RunFolder(tmp_path / "run", "", resume=True).noise.name)
        run(tmp_path, first, recipe)
    run(tmp_path, second, recipe)
    assert [cohort for _, cohort in second.asked] == [first.asked[0][1]]


def test_a_client_at_its_cap_is_thrown_no_coin(tmp_path: Path) -> None:
    crowd = Crowd(20)
    plan = replace(COINS, limits=replace(COINS.limits, cap=1))
    run(tmp_path, crowd, a_recipe(plan, rounds=6, cohort=10, sampling_rate=0.5))
    asked = [client for _, cohort in crowd.asked for client in cohort]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sampling_rate": 0.0}, "sampling_rate"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"sampling_rate": float("nan")}, "sampling_rate"),
        ({"sampling_rate": 0.1, "min_replies": 2}, "min_replies"),
        ({"sampling_rate": 0.1, "over_selection": 0.2}, "over_selection"),
        ({"sampling_rate": 0.1, "aggregation": "median_of_means", "hostile_clients": 1}, "aggregation"),
    ],
)
def test_what_would_tell_of_the_coins_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        FederationConfig(**changes)  # type: ignore[arg-type]


def a_scenario(**sections: object) -> Scenario:
    central = {"mode": "central", "participations": 3}
    table = {"name": "coins", "federation": {"sampling_rate": 0.1}, "privacy": central, **sections}
    return parse_table(Scenario, table)


def test_coins_need_a_server_that_is_trusted_and_rounds_that_rest_nobody() -> None:
    with pytest.raises(ConfigError, match="trusts it with nothing"):
        a_scenario(privacy={"mode": "distributed", "participations": 3})
    with pytest.raises(ConfigError, match="separation"):
        a_scenario(correlated_noise={"separation": 2})
    assert a_scenario(privacy={"mode": "none"}).federation.sampling_rate == 0.1


def test_a_service_keeps_no_coins_secret() -> None:
    with pytest.raises(ConfigError, match="secret coins"):
        require_served(a_scenario())
