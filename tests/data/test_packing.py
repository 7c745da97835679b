"""Packing many people at once, held against one person and one event at a time."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.dataset import Dataset
from fedrec.data.entries import DEFAULT_WEIGHTS, PositiveRule
from fedrec.data.events import TEXT_KINDS, Kind, intent_label
from fedrec.data.packing import Packing, held_out_places, offsets_of
from fedrec.data.sequences import first_targets
from fedrec.data.splits import leave_one_out, load_sequences, train_counts
from fedrec.data.synthetic import write_world
from fedrec.errors import DataError
from fedrec.evaluation.interactions import train_matrix
from tests.data.test_splits import a_dataset

Row = tuple[str, str | None, int, str, float | None, str | None]

ROWS = st.tuples(
    st.sampled_from(["ann", "bob", "eve"]),
    st.sampled_from(["a", "b", "c", "gone", None]),
    st.integers(0, 3),
    st.sampled_from([str(kind) for kind in Kind]),
    st.sampled_from([None, 0.2, 0.8, 1.0, 3.5, 4.0, float("nan")]),
    st.sampled_from([None, "owls", "bees"]),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("worlds") / "w"
    write_world(path, users=150, items=40, seed=3)
    return Dataset.open(path)


def one_by_one(rows: Sequence[Row], *, items: Sequence[str], seed: int, rule: PositiveRule) -> list[tuple]:
    """Each entry as (user, row or text, time, weight, target, intent), by a loop over events."""

    def tie(row: Row) -> bytes:
        names = [str(seed), row[0], row[1] or "", row[5] or "", row[3]]
        return hashlib.blake2b("\x1f".join(names).encode(), digest_size=8).digest()

    told = []
    for row in sorted(rows, key=lambda row: (row[0], row[2])):
        query = row[5] is not None and row[3] in TEXT_KINDS
        if not query and row[1] not in items:
            continue
        least = {"rate": rule.min_rating, "play": rule.min_finished}.get(row[3])
        value = None if row[4] is None else float(np.float32(row[4]))
        # A comparison with NaN is polars' own affair: such a value passes.
        enough = least is None or (value is not None and not value < least)
        intent = intent_label(Kind(row[3]), value)
        entry = (
            row[0],
            row[5] if query else items.index(row[1] or ""),
            row[2],
            DEFAULT_WEIGHTS[row[3]],
            row[3] in rule.kinds and not query and enough,
            -1.0 if intent is None else intent,
        )
        told.append(((row[0], row[2], tie(row)), entry))
    return [entry for _, entry in sorted(told, key=lambda each: each[0])]


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=30), seed=st.integers(0, 3), least=st.sampled_from([None, 3.9]))
def test_many_people_at_once_are_packed_as_one_event_at_a_time(rows: list[Row], seed: int, least: float | None) -> None:
    items = ["a", "b", "c"]
    packing = Packing(
        catalogue=pl.DataFrame({"item_id": items, "row": np.arange(3)}),
        rule=PositiveRule(min_rating=least),
        weights=DEFAULT_WEIGHTS,
        seed=seed,
    )
    columns = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "kind": pl.String}
    frame = pl.DataFrame(rows, schema={**columns, "value": pl.Float32, "text": pl.String}, orient="row")
    packed = packing.pack(frame.sort("user_id", "timestamp", maintain_order=True))
    texts = list(packing.texts)
    entries = packed.entries
    told = zip(
        np.repeat(np.array(packed.user_ids, dtype=object), packed.lengths),
        [row if row < 3 else texts[row - 3] for row in entries.rows.tolist()],
        entries.times.tolist(),
        entries.weights.tolist(),
        entries.targets.tolist(),
        [-1.0 if np.isnan(intent) else intent for intent in entries.intents.tolist()],
        strict=True,
    )
    expected = one_by_one(rows, items=items, seed=seed, rule=packing.rule)
    assert [(*entry[:3], pytest.approx(entry[3]), *entry[4:]) for entry in told] == expected


def test_a_part_of_the_population_is_packed_as_all_of_it(world: Dataset) -> None:
    whole = load_sequences(world)
    packing = Packing.of(world, positives=PositiveRule(), weights={}, seed=0)
    ids = world.user_ids()
    parts = [packing.pack(world.user_events(some)) for some in (ids[:1], ids[1:90], ids[90:])]
    assert [user for part in parts for user in part.user_ids] == list(whole.user_ids)
    assert list(packing.texts) == list(whole.texts)
    for name in ("rows", "times", "weights", "targets", "intents", "ratings"):
        packed = np.concatenate([getattr(part.entries, name) for part in parts])
        assert np.array_equal(packed, getattr(whole.entries, name), equal_nan=name in ("intents", "ratings"))


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12), min_size=1, max_size=6))
def test_what_is_held_out_of_all_at_once_is_what_is_held_out_of_each(people: list[list[tuple[int, bool]]]) -> None:
    lengths = np.array([len(each) for each in people])
    rows = np.array([row for each in people for row, _ in each], dtype=np.int64)
    targets = np.array([target for each in people for _, target in each], dtype=np.bool_)
    validation, test = held_out_places(lengths, rows, targets)
    for place, each in enumerate(people):
        seen: set[int] = set()
        firsts = [at for at, (row, target) in enumerate(each) if target and not (row in seen or seen.add(row))]
        assert (validation[place], test[place]) == (tuple(firsts[-2:]) if len(firsts) >= 3 else (-1, -1))
    assert offsets_of(lengths)[-1] == len(rows)


def test_the_first_targets_of_one_history_are_those_of_a_search_through_it(world: Dataset) -> None:
    sequences = load_sequences(world)
    for user in range(sequences.users):
        history = sequences.of(user)
        places = np.flatnonzero(history.targets)
        expected = np.zeros(len(history), dtype=np.bool_)
        expected[places[np.unique(history.rows[places], return_index=True)[1]]] = True
        assert first_targets(history).tolist() == expected.tolist()


def test_training_is_counted_a_part_of_the_people_at_a_time(world: Dataset) -> None:
    split = leave_one_out(load_sequences(world))
    expected = np.asarray(train_matrix(split).sum(axis=0)).ravel().astype(int).tolist()
    assert train_counts(split).tolist() == train_counts(split, people=7).tolist() == expected


def test_a_dataset_without_any_usable_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No event is of an item"):
        load_sequences(a_dataset(tmp_path / "d", [("u", "nowhere", 1, "like", None, None)]))
