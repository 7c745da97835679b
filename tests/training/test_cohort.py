"""The cohort engine is the reference engine, faster: over modes, ragged histories, empty clients and refusals."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from fedrec.errors import ConfigError, RefusedError
from fedrec.privacy.ledger import read_events
from fedrec.secagg.planned import ring_of
from fedrec.simulation.engines import cohort_engine, flower_engine, reference_engine
from fedrec.training.client import Replies
from fedrec.training.cohort import CohortEngine
from fedrec.training.masking import masking_of
from fedrec.training.packing import pack_units
from fedrec.training.run_folder import RunFolder
from tests.small_worlds import ALL_HEADS, ALL_RANKS
from tests.training.cohort_worlds import Beside, Here, a_population, a_scenario, a_workbench, updates_of

SAMPLED = {name: rank for name, rank in ALL_RANKS.items() if name != "items"}
LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=9)
# What is too large to be kept: histories packed, histories padded, dot products between items.
LARGE_PARTS = st.sampled_from(["histories._FEW_ENTRIES", "histories._FEW_NUMBERS", "scoring._MOST_KEPT"])
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}


@st.composite
def scenarios(draw):
    """A mode, and a recipe that it allows."""
    mode = draw(st.sampled_from(["none", "central", "local", "segments"]))
    sampled = draw(st.booleans())
    every = draw(st.booleans())
    training = {
        "steps": draw(st.integers(1, 3)),
        "negatives": 15 if sampled else 0,
        "logq_correction": draw(st.booleans()),
        "positions": draw(st.integers(1, 8)),
    }
    ranks = (SAMPLED if sampled else ALL_RANKS) if every else {"history_proj": draw(st.sampled_from([2, 12]))}
    sections = {"training": training | ({"heads": ALL_HEADS} if every else {}), "adapter": {"ranks": ranks}}
    if mode == "none":
        sections["adapter"]["train_a"] = draw(st.booleans())
        sections["data"] = {"users_per_client": draw(st.integers(1, 3))}
    if mode in ("local", "segments"):
        sections["privacy"] = {"sampling_rate": draw(st.sampled_from([0.5, 1.0]))}
    return a_scenario(mode, **sections)


def near(ours, theirs, tolerance):
    """Whether two updates differ by no more than a share of the larger one."""
    return np.linalg.norm(ours - theirs) <= tolerance * max(np.linalg.norm(theirs), 1e-6)


@pytest.mark.slow
@settings(max_examples=90)
@given(
    scenarios(), LENGTHS, st.integers(0, 1_000), st.sampled_from([torch.float64, torch.float32]), st.sets(LARGE_PARTS)
)
def test_every_client_of_a_cohort_replies_as_it_does_alone(scenario, lengths, seed, dtype, large):
    workbench = a_workbench(a_population(np.random.default_rng(seed), lengths), scenario)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # In so narrow a world nothing would be worth gathering.
        patch.setattr("fedrec.training.scoring._GATHERED", 0)
        for part in large:
            patch.setattr(f"fedrec.training.{part}", 0)
        beside = Beside(workbench=workbench, path=Path(folder))
        cohort = list(range(len(workbench.members)))
        theirs = updates_of(beside.reference(), beside.instruction(), cohort)
        with beside.cohort(dtype) as engine:
            ours = updates_of(engine, beside.instruction(), cohort)
    assert ours.keys() == theirs.keys() == set(cohort)
    for client in cohort:
        assert near(ours[client], theirs[client], TOLERANCE[dtype]), client


@given(LENGTHS, st.integers(0, 1_000), st.sampled_from(["USER", "SEGMENT"]), st.integers(1, 9), st.integers(1, 20))
def test_units_are_packed_as_examples_are_made(lengths, seed, unit, positions, window):
    mode = "local" if unit == "USER" else "segments"
    scenario = a_scenario(mode, training={"positions": positions}, model={"window": window})
    workbench = a_workbench(a_population(np.random.default_rng(seed), lengths), scenario)
    units = pack_units(workbench.split, list(workbench.members), workbench.shape)
    made = [(client, each) for client in range(len(workbench.members)) for each in workbench.examples(client)]
    assert units.owner.tolist() == [client for client, _ in made]
    for place, (_, example) in enumerate(made):
        where = slice(units.starts[place], units.starts[place + 1])
        for name in ("targets", "aims", "intents", "ratings"):
            assert np.array_equal(getattr(units, name)[where], getattr(example, name), equal_nan=True), name
        assert units.usual[where] == pytest.approx(example.usual)
        assert sorted(units.own[units.owns[place] : units.owns[place + 1]]) == example.own.tolist()


@pytest.mark.parametrize("task", ["update", "popularity"])
def test_released_metrics_and_popularity_are_the_same(tmp_path, task):
    workbench = a_workbench(a_population(np.random.default_rng(1), [0, 3, 9, 30, 14, 2]), a_scenario("released"))
    beside = Beside(workbench=workbench, path=tmp_path)
    cohort = list(range(6))
    theirs = beside.summed(beside.reference(), beside.instruction(task), cohort)
    with beside.cohort() as engine:
        ours = beside.summed(engine, beside.instruction(task), cohort)
    assert (ours.total.count, ours.spent, ours.failures) == (theirs.total.count, theirs.spent, theirs.failures)
    assert near(ours.total.value, theirs.total.value, 1e-4)


def test_a_sum_under_masks_is_the_same_but_for_roundings_on_the_edge(tmp_path):
    scenario = a_scenario("distributed")
    workbench = a_workbench(a_population(np.random.default_rng(1), [0, 3, 9, 30, 14, 20]), scenario)
    beside = Beside(workbench=workbench, path=tmp_path)
    masking = masking_of(workbench.plan, dict)
    paid = []
    theirs = beside.reference().aggregate(beside.instruction(), range(6), masking, timeout=9, pay=paid.append)
    with beside.cohort() as engine:
        ours = engine.aggregate(beside.instruction(), range(6), masking, timeout=9, pay=paid.append)
    ring = ring_of(workbench.plan.secure_sum)
    steps = np.abs(ring.decode(ours.total) - ring.decode(theirs.total)) * ring.scale
    assert steps.max() <= 1.01
    assert (steps > 0.5).mean() < 0.02
    assert len(paid) == 2
    assert ours.spent == theirs.spent == set(range(6))


def test_a_sum_with_fewer_shares_of_the_noise_than_planned_is_refused_and_costs_nothing(tmp_path):
    scenario = a_scenario("distributed", privacy={"participations": 1})
    workbench = a_workbench(a_population(np.random.default_rng(1), [9] * 6), scenario)
    beside = Beside(workbench=workbench, path=tmp_path)
    masking = masking_of(workbench.plan, dict)
    paid = []
    with beside.cohort() as engine:
        assert engine.aggregate(beside.instruction(), range(6), masking, timeout=9, pay=paid.append).total is not None
        instruction = beside.instruction(number=2, token="u")  # noqa: S106
        again = engine.aggregate(instruction, range(6), masking, timeout=9, pay=paid.append)
    assert (again.total, again.spent, len(paid)) == (None, set(), 1)
    assert again.failures == {"BudgetError": 6, "too_few": 1}


@pytest.mark.parametrize(
    "limits",
    [{"privacy": {"participations": 2}}, {"budget": {"per_day": 2}}, {"budget": {"epsilon": 1e-3}}],
    ids=["cap", "rate", "lifetime"],
)
def test_whoever_has_spent_enough_takes_part_no_more_also_after_a_restart(tmp_path, limits):
    scenario = a_scenario("central", **limits)
    workbench = a_workbench(a_population(np.random.default_rng(1), [9, 9, 9, 9]), scenario)
    beside = Beside(workbench=workbench, path=tmp_path)
    for number, cohort in enumerate([[0, 1], [1, 2], [0, 1, 2, 3]], start=1):
        instruction = beside.instruction(number=number, token=f"t{number}")
        theirs = beside.summed(beside.reference(), instruction, cohort)
        with beside.cohort() as engine:
            ours = beside.summed(engine, instruction, cohort)
        assert ours.failures == theirs.failures
        assert ours.spent == theirs.spent


def test_what_clients_pay_is_on_the_disk_before_anything_is_sent(tmp_path):
    workbench = a_workbench(a_population(np.random.default_rng(1), [9, 9]), a_scenario("central"))
    beside = Beside(workbench=workbench, path=tmp_path)
    with beside.cohort() as engine:
        heard = engine.collect(beside.instruction(), [0, 1], timeout=9)
        assert isinstance(next(heard), Replies)
        (entry,) = read_events(tmp_path / "cohort" / "clients.jsonl")
        heard.close()
    assert (entry["participants"], entry["token"], entry["kind"]) == ([0, 1], "t", "update")


def test_an_attempt_that_was_interrupted_is_told_with_the_next(tmp_path):
    workbench = a_workbench(a_population(np.random.default_rng(1), [9, 9]), a_scenario("local"))
    beside = Beside(workbench=workbench, path=tmp_path)
    for _ in range(2):
        with beside.cohort() as engine:
            found = beside.summed(engine, beside.instruction(), [0])
    assert found.interrupted == [(0, 1)]


def test_a_run_goes_on_with_the_kind_of_ledger_that_it_began_with(tmp_path):
    workbench = a_workbench(a_population(np.random.default_rng(1), [9]), a_scenario("central"))
    folder = RunFolder(tmp_path / "run", "", resume=True)
    with cohort_engine(workbench, folder):
        pass
    for engine_of in (reference_engine, flower_engine):
        with pytest.raises(RefusedError, match="one ledger"), engine_of(workbench, folder):
            pass
    other = RunFolder(tmp_path / "other", "", resume=True)
    other.client(0).mkdir(parents=True)
    with pytest.raises(RefusedError, match="ledgers of their own"), cohort_engine(workbench, other):
        pass


@pytest.mark.slow
@settings(max_examples=15)
@given(scenarios().filter(lambda scenario: scenario.privacy.mode != "local"), LENGTHS, st.integers(0, 1_000))
def test_products_in_half_the_precision_change_little_and_loosen_no_bound(scenario, lengths, seed):
    workbench = a_workbench(a_population(np.random.default_rng(seed), lengths), scenario)
    with TemporaryDirectory() as folder:
        exact, rounded = (
            CohortEngine(workbench, RunFolder(Path(folder) / name, "", resume=True), products=products)
            for name, products in (("exact", None), ("rounded", torch.bfloat16))
        )
        beside = Beside(workbench=workbench, path=Path(folder))
        cohort = range(len(workbench.members))
        ours, theirs = (updates_of(engine, beside.instruction(), cohort) for engine in (rounded, exact))
        for engine in (exact, rounded):
            engine.close()
    assert ours.keys() == theirs.keys()
    for client, update in ours.items():
        # A later step starts from what the earlier ones rounded, and may lead elsewhere.
        assert near(update, theirs[client], 0.05) or scenario.training.steps > 1
        if workbench.plan is not None:
            assert np.linalg.norm(update.astype(np.float64)) <= workbench.plan.clip_norm * (1 + 1e-6)


def test_where_products_are_what_clips_they_are_not_rounded(tmp_path):
    workbench = a_workbench(a_population(np.random.default_rng(0), [4, 5, 6]), a_scenario("local"))
    with pytest.raises(ConfigError, match="--precision float32"):
        CohortEngine(workbench, RunFolder(tmp_path, "", resume=True), products=torch.bfloat16)


@pytest.mark.parametrize("negatives", [0, 15])
def test_later_steps_move_the_scores_of_the_first_one_and_do_fewer_products(negatives, tmp_path):
    training = {"steps": 3, "negatives": negatives, "positions": 8, "learning_rate": 0.5}
    scenario = a_scenario("none", training=training, adapter={"ranks": {"history_proj": 2}})
    workbench = a_workbench(a_population(np.random.default_rng(3), [20] * 6), scenario)
    beside = Beside(workbench=workbench, path=tmp_path)

    def counted(*, remembers):
        with pytest.MonkeyPatch.context() as patch, beside.cohort(torch.float64) as engine:
            engine._workers = Here()
            if not remembers:
                patch.setattr("fedrec.training.cohort_step.First", lambda: None)
            with FlopCounterMode(display=False) as counter:
                found = updates_of(engine, beside.instruction(), range(6))
        return found, counter.get_total_flops()

    (ours, fewer), (theirs, more) = counted(remembers=True), counted(remembers=False)
    assert all(near(ours[client], theirs[client], 1e-9) for client in ours)
    assert fewer < more


def test_dot_products_between_items_that_are_kept_spare_products_and_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("fedrec.training.scoring._GATHERED", 0)
    scenario = a_scenario("none", training={"positions": 8}, adapter={"ranks": {"history_proj": 2}})
    workbench = a_workbench(a_population(np.random.default_rng(3), [9] * 6), scenario)
    beside = Beside(workbench=workbench, path=tmp_path)

    def counted():
        with beside.cohort(torch.float64) as engine, FlopCounterMode(display=False) as counter:
            engine._workers = Here()
            found = updates_of(engine, beside.instruction(), range(6))
        return found, counter.get_total_flops()

    (ours, fewer) = counted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedrec.training.scoring._MOST_KEPT", 0)
        (theirs, more) = counted()
    assert all(near(ours[client], theirs[client], 1e-9) for client in ours)
    assert fewer < more
