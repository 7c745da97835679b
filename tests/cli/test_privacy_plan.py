"""`fedrec privacy plan`: what it prints, what it assumes, and what it refuses."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from fedrec.cli.privacy import app
from fedrec.errors import FedrecError
from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.gaussian import gaussian_epsilon
from fedrec.privacy.spends import GaussianSpend
from tests.cli.commands import fedrec, fedrec_process

KEYS = {"epsilon", "delta", "noise_multiplier", "accountant", "cross_check", "assumptions"}
SUMMED = {
    "epsilon_published",
    "cohort",
    "n_min",
    "failure",
    "total_variation",
    "grid_steps",
    "bits",
    "share_variance",
    "size",
}
EXTRA = {"epsilon_replace_one", "zcdp_rho", "gdp_mu", "epsilon_rdp", "mode", "participations", "curve"}


def plan(arguments: str, *more: str) -> str:
    done = CliRunner().invoke(app, ["plan", *arguments.split(), *more], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.stderr
    return done.stdout


def planned(arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan(arguments, "--json"))
    return found


def spent(noise: float, *, rate: float = 1.0, steps: int = 1, times: int = 1, delta: float = 1e-5) -> float:
    spend = GaussianSpend(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    return epsilon_of(((spend, times),), delta=delta)


def assert_rounded_up(found: float, true: float) -> None:
    assert -1e-9 <= found - true < 1e-4 + 1e-9
    assert found == round(found, 4)


@pytest.mark.parametrize(
    ("participations", "noise", "golden"), [(1, 1, 4.3772), (10, 1, 17.8566), (30, 1, 37.6225), (4, 8, 0.9300)]
)
def test_known_participations_spend_the_golden_epsilon(participations: int, noise: float, golden: float) -> None:
    found = planned(f"--noise-multiplier {noise} --participations {participations} --delta 1e-5")
    assert found["epsilon"] == pytest.approx(golden, abs=0.01)
    assert_rounded_up(found["epsilon"], gaussian_epsilon(participations**0.5 / noise, delta=1e-5))
    assert_rounded_up(found["epsilon_replace_one"], gaussian_epsilon(2 * participations**0.5 / noise, delta=1e-5))


def test_the_object_has_the_keys_of_the_contract_and_every_opinion() -> None:
    found = planned("--noise-multiplier 2 --participations 8 --delta 1e-6")
    assert found.keys() == KEYS | EXTRA
    assert found["epsilon"] < found["cross_check"] < found["epsilon"] + 0.02
    assert found["epsilon"] < found["epsilon_rdp"] < found["epsilon_replace_one"]
    assert (found["zcdp_rho"], found["gdp_mu"]) == (1.0, 1.4143)
    assert (found["mode"], found["participations"], found["delta"]) == ("central", 8, 1e-6)
    assert "PLD" in found["accountant"]
    assert "PRV" in found["accountant"]


def test_the_curve_passes_through_the_headline_and_rises_as_delta_falls() -> None:
    found = planned("--noise-multiplier 2 --participations 8 --delta 2e-6")
    curve = [(at["delta"], at["epsilon"]) for at in found["curve"]]
    assert (2e-6, found["epsilon"]) in curve
    assert curve == sorted(curve, reverse=True)
    assert [epsilon for _, epsilon in curve] == sorted(epsilon for _, epsilon in curve)


def test_a_budget_is_answered_with_the_least_noise_that_keeps_it() -> None:
    found = planned("--epsilon 8 --participations 10 --delta 1e-6")
    assert found["epsilon"] <= 8
    assert spent(found["noise_multiplier"], times=10, delta=1e-6) <= 8
    assert spent(found["noise_multiplier"] - 1e-4, times=10, delta=1e-6) > 8


def test_what_is_printed_keeps_a_budget_of_more_than_four_decimals_too() -> None:
    assert planned("--epsilon 1.00005 --participations 1 --delta 1e-6")["epsilon"] <= 1.00005


def test_asking_back_and_forth_gives_the_same_plan() -> None:
    noise = planned("--epsilon 3 --participations 5 --delta 1e-6")["noise_multiplier"]
    assert planned(f"--noise-multiplier {noise} --participations 5 --delta 1e-6")["epsilon"] <= 3


def test_secret_coins_are_amplified_and_labelled() -> None:
    found = planned("--noise-multiplier 2 --sampling poisson --sampling-rate 0.1 --rounds 50 --delta 1e-5")
    assert_rounded_up(found["epsilon"], spent(2, rate=0.1, steps=50))
    assert any(
        "only for a simulated study or a server that draws secret coins" in each for each in found["assumptions"]
    )
    assert (found["zcdp_rho"], found["gdp_mu"], found["participations"]) == (None, None, None)


def test_local_steps_are_sub_sampled_by_the_client_and_known_by_round() -> None:
    found = planned(
        "--noise-multiplier 2 --mode local --participations 3 --local-steps 5 --sampling-rate 0.2 --delta 1e-5"
    )
    assert_rounded_up(found["epsilon"], spent(2, rate=0.2, steps=5, times=3))
    text = " ".join(found["assumptions"])
    assert "client's own secret Poisson coins of rate 0.2" in text
    assert "cap of 3" in text


def test_a_local_client_takes_part_in_every_round_unless_told_otherwise() -> None:
    found = planned("--noise-multiplier 4 --mode local --rounds 12 --local-steps 2 --delta 1e-5")
    assert found["participations"] == 12
    assert_rounded_up(found["epsilon"], gaussian_epsilon((24 / 16) ** 0.5, delta=1e-5))


def test_correlated_noise_costs_as_much_and_says_why() -> None:
    banded = planned("--noise-multiplier 2 --participations 4 --bands 8 --separation 8 --delta 1e-5")
    plain = planned("--noise-multiplier 2 --participations 4 --delta 1e-5")
    assert banded["epsilon"] == plain["epsilon"]
    assert any("columns are orthogonal" in each for each in banded["assumptions"])
    assert planned("--noise-multiplier 2 --rounds 25 --bands 8 --separation 8 --delta 1e-5")["participations"] == 4


@pytest.mark.parametrize(
    "arguments",
    [
        "--participations 4",
        "--sampling poisson --sampling-rate 0.5 --rounds 4",
        "--mode local --participations 2",
    ],
)
def test_every_plan_names_what_it_assumes(arguments: str) -> None:
    text = " ".join(planned(f"--noise-multiplier 3 --delta 1e-5 {arguments}")["assumptions"]).lower()
    for word in ("zero-out of one unit", "secret noise", "operating system", "not covered", "amplif"):
        assert word in text


def test_a_person_reads_a_table_the_assumptions_and_the_numbers_in_words() -> None:
    text = " ".join(plan("--epsilon 2 --participations 6 --delta 1e-6").split())
    found = planned("--epsilon 2 --participations 6 --delta 1e-6")
    assert f"{found['epsilon']:.4f}" in text
    assert f"The least noise multiplier that keeps epsilon 2 is {found['noise_multiplier']:g}." in text
    assert "right at most 58.9 times out of 100" in text
    for sentence in found["assumptions"]:
        assert sentence in text


def test_a_guess_that_is_hardly_ever_wrong_is_not_said_to_have_a_bound() -> None:
    text = " ".join(plan("--epsilon 60 --participations 6 --delta 1e-6").split())
    assert "is nearly always right; a coin is right 50 times." in text


TOGETHER = "--noise-multiplier 4 --delta 1e-6 --mode distributed --participations 10 --cohort 20"
REFUSALS = [
    ("--participations 3 --delta 1e-6", "Give either"),
    ("--participations 3 --delta 1e-6 --epsilon 1 --noise-multiplier 1", "Give either"),
    ("--noise-multiplier 1 --delta 1e-6", "--participations K"),
    ("--noise-multiplier 1 --delta 1e-6 --rounds 5", "--participations K"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 0", "--participations is 0"),
    ("--noise-multiplier 1 --delta 1e-6 --participations -3", "--participations is -3"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 10000000000", "--participations is 10000000000"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --rounds 4", "do not fit"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --sampling-rate 0.1", "--sampling-rate amplifies nothing"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --local-steps 2", "--local-steps"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --sampling fixed", "fixed size"),
    ("--noise-multiplier 1 --delta 1e-6 --sampling shuffle --sampling-rate 0.1 --rounds 3", "no secret Poisson coins"),
    ("--noise-multiplier 1 --delta 1e-6 --sampling poisson", "--sampling-rate Q and --rounds R"),
    ("--noise-multiplier 1 --delta 1e-6 --sampling poisson --sampling-rate 0.1", "--rounds R"),
    ("--noise-multiplier 1 --delta 1e-6 --sampling poisson --sampling-rate 0 --rounds 3", "--sampling-rate is 0"),
    ("--noise-multiplier 1 --delta 1e-6 --sampling poisson --sampling-rate 1.5 --rounds 3", "--sampling-rate is 1.5"),
    ("--noise-multiplier 1 --delta 1e-6 --sampling poisson --sampling-rate nan --rounds 3", "--sampling-rate is nan"),
    (
        "--noise-multiplier 1 --delta 1e-6 --sampling poisson --sampling-rate 0.1 --rounds 3 --participations 2",
        "exclude each other",
    ),
    (
        "--noise-multiplier 1 --delta 1e-6 --sampling poisson --sampling-rate 0.1 --rounds 3 --bands 2 --separation 2",
        "accounted without sampling",
    ),
    (
        "--noise-multiplier 90 --delta 1e-6 --sampling poisson --sampling-rate 0.01 --rounds 999999999",
        "sub-sampled steps are more",
    ),
    ("--epsilon 1 --delta 1e-6 --sampling poisson --sampling-rate 0.01 --rounds 999999999", "sub-sampled steps are"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --bands 4", "go together"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --separation 4", "go together"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --bands 4 --separation 3", "under --bands 4"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --bands 0 --separation 3", "--bands is 0"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 5 --bands 4 --separation 4 --rounds 16", "do not fit"),
    ("--noise-multiplier 1 --delta 1e-6 --mode local", "--participations K, or --rounds R"),
    ("--noise-multiplier 1 --delta 1e-6 --mode local --rounds 3 --local-steps 0", "--local-steps is 0"),
    ("--noise-multiplier 1 --delta 1e-6 --mode local --rounds 3 --bands 2 --separation 2", "of central noise"),
    ("--noise-multiplier 1 --delta 1e-6 --mode local --rounds 3 --sampling poisson", "--sampling-rate Q"),
    ("--noise-multiplier 1 --delta 1e-6 --mode distributed --participations 3", "needs --cohort N"),
    ("--noise-multiplier 1 --delta 1e-6 --mode distributed --participations 3 --cohort 0", "--cohort is 0"),
    (f"{TOGETHER} --drop-out 0.6", "secure_aggregation.drop_out is 0.6"),
    (f"{TOGETHER} --drop-out 0.4 --corruption 0.4", "cannot lose"),
    (f"{TOGETHER} --bands 2", "--bands is not of --mode distributed"),
    (f"{TOGETHER} --sampling poisson", "--sampling is not of --mode distributed"),
    ("--noise-multiplier 1e6 --delta 1e-6 --mode distributed --participations 3 --cohort 10", "No grid holds"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 3 --cohort 10", "--cohort is of --mode distributed"),
    ("--noise-multiplier 1 --delta 1e-6 --participations 3 --size 10", "--size is of --mode distributed"),
    ("--noise-multiplier 1 --delta 1e-6 --mode none --participations 3", "nothing to plan"),
    ("--noise-multiplier 1 --delta 1e-6 --mode quantum --participations 3", "no mode `quantum`"),
    *(
        (f"--noise-multiplier 1 --participations 3 --delta {delta}", "--delta is")
        for delta in ("0", "1", "-1e-6", "2", "nan", "inf", "1e-30")
    ),
    *(
        (f"--noise-multiplier {noise} --participations 3 --delta 1e-6", "--noise-multiplier is")
        for noise in ("0", "-1", "nan", "inf", "-inf", "1e300")
    ),
    *(
        (f"--epsilon {epsilon} --participations 3 --delta 1e-6", "cannot be planned")
        for epsilon in ("0", "-1", "nan", "inf", "-inf", "1e9", "1e-9")
    ),
    ("--noise-multiplier 1e-9 --participations 3 --delta 1e-6", "protects nobody"),
    ("--noise-multiplier 1e-200 --participations 1000000000 --delta 1e-6", "protects nobody"),
    ("--noise-multiplier 1e-9 --delta 1e-6 --sampling poisson --sampling-rate 0.1 --rounds 9", "protects nobody"),
    ("--epsilon 400 --participations 1 --delta 1e-6", "promises next to nothing"),
]


def test_noise_of_many_clients_together_is_told_by_rdp_beside_the_gaussians() -> None:
    found = planned(TOGETHER)
    assert found.keys() == KEYS | EXTRA | SUMMED
    assert found["accountant"].startswith("RDP (Skellam bound")
    assert found["cross_check"] <= found["epsilon"] == found["epsilon_rdp"] <= 1.01 * found["cross_check"]
    assert found["epsilon"] <= found["epsilon_published"] <= 1.1 * found["epsilon"]
    assert (found["mode"], found["cohort"], found["n_min"]) == ("distributed", 20, 16)
    assert found["zcdp_rho"] is found["gdp_mu"] is None
    assert 2**14 <= found["grid_steps"] <= 2**16 and 16 <= found["bits"] <= 32


def test_the_table_of_a_sum_under_masks_says_what_it_rests_on() -> None:
    shown = plan(TOGETHER)
    assert "16 of 20" in shown and "Skellam" in shown and "bits of a word" in shown
    assert "At most 2 of all clients collude with the server, 10% of a cohort of 20" in " ".join(shown.split())


@pytest.mark.parametrize(("epsilon", "participations"), [(8, 10), (20, 100), (0.5, 1)])
def test_a_budget_is_answered_with_the_least_noise_of_a_cohort_that_keeps_it(
    epsilon: float, participations: int
) -> None:
    asked = f"--delta 1e-6 --mode distributed --participations {participations} --cohort 100"
    found = planned(f"--epsilon {epsilon} {asked}")
    noise = found["noise_multiplier"]
    assert found["epsilon"] <= epsilon
    assert planned(f"--noise-multiplier {noise - 2e-4:.4f} {asked}")["epsilon"] >= epsilon


@pytest.mark.parametrize(("arguments", "reason"), REFUSALS)
def test_what_cannot_be_accounted_is_refused_with_the_reason(arguments: str, reason: str) -> None:
    with pytest.raises(FedrecError) as refused:
        plan(arguments)
    assert refused.value.exit_code == 2
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_billion_participations_are_planned_as_fast_as_ten() -> None:
    assert planned("--epsilon 1 --participations 1000000000 --delta 1e-6")["epsilon"] <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--delta 1e-6 --participations 3", "Give either"),
        ("--noise-multiplier nan --delta 1e-6 --participations 3", "--noise-multiplier is nan"),
        ("--noise-multiplier many --delta 1e-6 --participations 3", "many"),
        ("--noise-multiplier 1 --participations 3", "--delta"),
        ("--epsilon 1 --delta 1e-6 --sampling poisson --sampling-rate 1e-300 --rounds 10", "next to no noise"),
    ],
)
def test_the_command_fails_with_one_line_and_exit_code_2(arguments: str, says: str) -> None:
    done = fedrec("privacy", "plan", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.slow
def test_the_command_prints_one_object_and_nothing_on_stderr() -> None:
    asked = "privacy plan --epsilon 6 --delta 1e-6 --mode local --rounds 4 --local-steps 8 --sampling-rate 0.25 --json"
    done = fedrec_process(*asked.split())
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["epsilon"] <= 6
    assert_rounded_up(found["epsilon"], spent(found["noise_multiplier"], rate=0.25, steps=8, times=4, delta=1e-6))
