from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import TrainingConfig
from fedrec.data.sequences import History
from fedrec.model.history import USUAL_RATING, usual_ratings
from fedrec.model.recommender import LinearTower
from fedrec.training.batches import collate
from fedrec.training.examples import Shape, examples_of, make_example, units_of
from tests.small_worlds import ALL_HEADS, ALL_RANKS, DAY, ITEMS, Laboratory, a_history, a_model, a_random_history, same

TOWER = a_model().base.tower
SEGMENTS = Shape(positions=5, window=50, unit="SEGMENT", segment_days=30)
USERS = Shape(positions=5, window=50)


def example(history, shape=USERS):
    return make_example(history, TOWER, shape, items=ITEMS)


def inserted(history, event, at):
    """The history with the one-entry history `event` put at its place in time."""
    place = int(np.searchsorted(history.times, at))
    columns = {field.name: getattr(history, field.name) for field in fields(History)}
    return History(**{name: np.insert(column, place, getattr(event, name)[0]) for name, column in columns.items()})


def test_a_user_is_one_unit():
    history = a_history([1, 2, 3], times=[0, 40 * DAY, 400 * DAY])
    assert list(units_of(history, USERS)) == [history]


def test_segments_are_cut_at_fixed_times_that_nobodys_data_moves():
    times = [5 * DAY, 29 * DAY, 30 * DAY, 31 * DAY, 95 * DAY]
    segments = list(units_of(a_history(range(5), times=times), SEGMENTS))
    assert [segment.rows.tolist() for segment in segments] == [[0, 1], [2, 3], [4]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.integers(1, 30))
def test_segments_hold_every_event_once_and_none_spans_a_border(seed, shift):
    history = a_random_history(np.random.default_rng(seed), 20)
    segments = list(units_of(history, Shape(positions=5, window=50, unit="SEGMENT", segment_days=shift)))
    assert np.concatenate([segment.rows for segment in segments]).tolist() == history.rows.tolist()
    for segment in segments:
        assert len(set((segment.times // (shift * DAY)).tolist())) == 1


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), moment=st.integers(0, 120 * DAY))
def test_an_inserted_event_changes_its_own_segment_only(seed, moment):
    draw = np.random.default_rng(seed)
    history = a_random_history(draw, 20)
    more = inserted(history, a_history([draw.integers(ITEMS)], times=[moment], intents=[1], ratings=[5]), moment)
    assert len(more) == 21

    def by_segment(given):
        units = {int(unit.times[0]) // (30 * DAY): unit for unit in units_of(given, SEGMENTS)}
        return {number: example(unit, SEGMENTS) for number, unit in units.items()}

    before, after = by_segment(history), by_segment(more)
    own = moment // (30 * DAY)
    assert before.keys() - {own} == after.keys() - {own}
    for number in before.keys() - {own}:
        assert (before[number] is None) == (after[number] is None)
        assert before[number] is None or same(before[number], after[number])


def test_a_segment_starts_with_an_empty_history():
    history = a_history([1, 2, 3, 4], times=[0, DAY, 31 * DAY, 32 * DAY])
    alone = a_history([3, 4], times=[31 * DAY, 32 * DAY])
    _, second = examples_of([history], TOWER, SEGMENTS, items=ITEMS)
    (only,) = examples_of([alone], TOWER, SEGMENTS, items=ITEMS)
    assert same(second, only)


def test_a_user_example_depends_on_nobody_else():
    draw = np.random.default_rng(0)
    histories = [a_random_history(draw, 10) for _ in range(4)]
    together = examples_of(histories, TOWER, USERS, items=ITEMS)
    for history, made in zip(histories, together, strict=True):
        assert same(made, example(history))


def test_the_first_entry_is_never_a_target():
    assert example(a_history([7, 8, 9])).targets.tolist() == [8, 9]
    assert example(a_history([7])) is None


@pytest.mark.parametrize("history", [a_history([]), a_history([1, 2], targets=[1, 0])])
def test_a_unit_with_nothing_to_learn_from_has_no_example(history):
    assert example(history) is None
    assert examples_of([history], TOWER, USERS, items=ITEMS) == []


def test_only_the_latest_positions_are_learnt_from():
    made = example(a_history(range(20)), Shape(positions=3, window=50))
    assert made.targets.tolist() == [17, 18, 19]


def test_no_more_than_the_window_is_read_before_the_first_position():
    full = example(a_history(range(20)), Shape(positions=3, window=4))
    cut = example(a_history(range(13, 20)), Shape(positions=3, window=4))
    assert torch.equal(full.inputs[0], cut.inputs[0])


def test_searches_inform_but_are_never_targets():
    # Rows from 20 on stand for query texts here.
    made, without = (make_example(a_history(rows), TOWER, USERS, items=20) for rows in ([1, 25, 2], [1, 2]))
    assert made.targets.tolist() == [2]
    assert made.own.tolist() == [1, 2]
    assert not torch.equal(made.inputs[0], without.inputs[0])


def test_an_entry_with_a_label_alone_is_a_position_without_an_aim():
    made = example(a_history([1, 2, 3], targets=[1, 0, 1], intents=[np.nan, 0, np.nan]))
    assert made.targets.tolist() == [2, 3]
    assert made.aims.tolist() == [0, 1]
    assert made.own.tolist() == [1, 3]


def test_usual_ratings_are_the_mean_before_pulled_to_the_usual_one():
    found = usual_ratings(a_history([1, 2, 3, 4], ratings=[5, np.nan, 2, 1]))
    expected = [3.5, (5 + 3 * 3.5) / 4, (5 + 3 * 3.5) / 4, (5 + 2 + 3 * 3.5) / 5, (5 + 2 + 1 + 3 * 3.5) / 6]
    assert found == pytest.approx(expected)


def test_padding_carries_no_label_and_no_aim():
    batch = collate([example(a_history([1, 2])), example(a_history([3, 4, 5, 6]))], positions=5)
    assert batch.targets.shape == batch.aims.shape == (2, 5)
    assert batch.aims.tolist() == [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0]]
    assert batch.intents.isnan().all()
    assert batch.ratings.isnan().all()
    assert (batch.usual[0, 1:] == USUAL_RATING).all()
    assert batch.own.tolist() == [[1, 2, -1, -1], [3, 4, 5, 6]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_padding_and_company_change_no_examples_loss(seed):
    draw = np.random.default_rng(seed)
    histories = [a_random_history(draw, int(draw.integers(3, 12))) for _ in range(5)]
    model = a_model(ALL_RANKS, moved=0.5)
    losses = []
    for positions in (6, 11):
        training = TrainingConfig(positions=positions, heads=ALL_HEADS)
        lab = Laboratory(model, histories, training=training, shape=Shape(positions=6, window=50))
        losses += [lab.losses(lab.examples), torch.cat([lab.losses([each]) for each in lab.examples])]
    for other in losses[1:]:
        assert torch.allclose(losses[0], other, atol=1e-5)


def test_an_item_bought_again_in_a_later_interval_is_aimed_at_whatever_came_before():
    model = a_model()
    shape = Shape(positions=20, window=50, unit="SEGMENT", segment_days=30)
    month = 30 * DAY
    later = [(item, month + place) for place, item in enumerate((4, 1, 2, 5))]
    first = [(item, place) for place, item in enumerate((1, 2, 3, 4))]

    def last(entries):
        history = a_history([item for item, _ in entries], times=[time for _, time in entries])
        return examples_of([history], model.base.tower, shape, items=ITEMS)[-1]

    alone, beside = last(later), last(first + later)
    assert alone.targets.tolist() == beside.targets.tolist() == [1, 2, 5]
    assert alone.aims.tolist() == beside.aims.tolist() == [1, 1, 1]
    assert alone.own.tolist() == beside.own.tolist()
    assert all(bool((a == b).all()) for a, b in zip(alone.inputs, beside.inputs, strict=True))


# Faults and sizes of one unit's data are that unit's alone.


@pytest.mark.parametrize("person", [0, 1, 3])
def test_a_person_whose_example_cannot_be_made_counts_as_absent(person):
    draw = np.random.default_rng(3)
    histories = [a_random_history(draw, 10) for _ in range(4)]
    sound = examples_of([*histories[:person], *histories[person + 1 :]], TOWER, USERS, items=ITEMS)
    # Row 10**9 is in no index.
    histories[person] = a_history([1, 10**9, 2, 3])
    found = examples_of(histories, TOWER, USERS, items=ITEMS)
    assert len(found) == len(sound) == 3
    assert all(map(same, found, sound))


def test_an_interval_whose_example_cannot_be_made_is_lost_alone():
    times = [0, DAY, 31 * DAY, 32 * DAY, 61 * DAY, 62 * DAY]
    found = examples_of([a_history([1, 2, 10**9, 3, 4, 5], times=times)], TOWER, SEGMENTS, items=ITEMS)
    assert [each.targets.tolist() for each in found] == [[2], [5]]


def test_a_fault_is_raised_where_no_example_was_made_at_all():
    with pytest.raises(IndexError):
        examples_of([a_history([10**9, 1, 2]), a_history([3])], TOWER, USERS, items=ITEMS)


def an_enormous_history(size):
    """Somebody with two positives as far apart as can be, and views in between."""
    targets = np.zeros(size)
    targets[[1, -1]] = 1
    return a_history(np.arange(size) % ITEMS, targets=targets)


class Counting(LinearTower):
    """A linear tower that notes how many entries it read."""

    def inputs(self, history, positions):
        self.read = len(history)
        return super().inputs(history, positions)


@pytest.mark.parametrize(("size", "read"), [(3_000, 3_000), (200_000, 51)])
def test_an_enormous_history_stays_bounded_and_an_ordinary_one_is_read_as_it_is(size, read):
    tower = Counting(TOWER.vectors, decays=TOWER.decays, weights=TOWER.weights.tolist())
    made = make_example(an_enormous_history(size), tower, USERS, items=ITEMS)
    assert tower.read == read
    assert len(made.targets) == (2 if size == 3_000 else 1)


def test_however_positions_lie_the_tower_reads_no_more_than_the_bound():
    tower = Counting(TOWER.vectors, decays=TOWER.decays, weights=TOWER.weights.tolist())
    targets = np.zeros(50_000)
    targets[::1_000] = 1
    history = a_history(np.arange(50_000) % ITEMS, targets=targets, intents=np.where(targets, 1.0, np.nan))
    made = make_example(history, tower, Shape(positions=50, window=300), items=ITEMS)
    assert len(made.targets) == 5
    assert tower.read <= 300 + 4096


def test_what_comes_after_the_last_position_is_not_read():
    tower = Counting(TOWER.vectors, decays=TOWER.decays, weights=TOWER.weights.tolist())
    targets = [1, 1, 1, *[0] * 1_000]
    made = make_example(a_history(np.arange(1_003) % ITEMS, targets=targets), tower, USERS, items=ITEMS)
    assert made.targets.tolist() == [1, 2]
    assert tower.read == 3


def test_of_very_many_own_items_the_latest_are_kept_and_the_targets_among_them():
    tower = LinearTower(np.zeros((10_000, 2), np.float32), decays=TOWER.decays, weights=TOWER.weights.tolist())
    made = make_example(a_history(np.arange(10_000)[::-1]), tower, USERS, items=10_000)
    assert made.own.tolist() == list(range(4096))
    assert set(made.targets) <= set(made.own)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.integers(3, 60))
def test_own_items_are_all_positives_of_an_ordinary_history(seed, length):
    history = a_random_history(np.random.default_rng(seed), length)
    made = example(history)
    assert made is None or set(made.own) == set(history.rows[history.targets])
