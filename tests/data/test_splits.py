"""Packing events into histories and holding two entries of each out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fedrec.data.dataset import Dataset, DatasetWriter
from fedrec.data.entries import PositiveRule
from fedrec.data.sequences import Sequences, first_targets
from fedrec.data.splits import leave_one_out, load_sequences
from fedrec.errors import ConfigError


def a_dataset(path: Path, events: list[tuple[str, str | None, int, str, float | None, str | None]]) -> Dataset:
    columns = ["user_id", "item_id", "timestamp", "kind", "value", "text"]
    frame = pl.DataFrame(events, schema=columns, orient="row", strict=False)
    with DatasetWriter(path) as writer:
        writer.set_catalogue(pl.DataFrame({"item_id": list("abcde"), "title": list("ABCDE"), "text": list("ABCDE")}))
        writer.add_events(frame)
        writer.commit(source="a test", licence="CC0-1.0", importer="test")
    return Dataset.open(path)


def test_the_last_two_targets_are_held_out_in_order_of_time(tmp_path: Path) -> None:
    events = [("u", item, time, "like", None, None) for time, item in ((30, "c"), (10, "a"), (20, "b"), (40, "d"))]
    split = leave_one_out(load_sequences(a_dataset(tmp_path / "d", events)))
    assert split.train(0).rows.tolist() == [0, 1]
    history, held = split.until(0, test=False) or (None, -1)
    assert held == 2
    history, held = split.until(0, test=True) or (None, -1)
    assert held == 3
    assert history is not None
    assert history.rows.tolist() == [0, 1, 2]


def test_a_user_with_two_targets_is_trained_on_and_not_scored(tmp_path: Path) -> None:
    split = leave_one_out(load_sequences(a_dataset(tmp_path / "d", [("u", i, 1, "like", None, None) for i in "ab"])))
    assert split.until(0, test=False) is None
    assert len(split.train(0)) == 2


def test_ties_in_time_are_ordered_by_the_seed_and_not_by_the_file(tmp_path: Path) -> None:
    events = [("u", item, 5, "like", None, None) for item in "abcde"]
    first = a_dataset(tmp_path / "first", events)
    second = a_dataset(tmp_path / "second", events[::-1])
    orders = [load_sequences(data, seed=1).entries.rows.tolist() for data in (first, second)]
    assert orders[0] == orders[1]
    assert len({tuple(load_sequences(first, seed=seed).entries.rows.tolist()) for seed in range(8)}) > 1


def test_only_the_first_positive_on_an_item_is_held_out_or_aimed_at(tmp_path: Path) -> None:
    events = [("u", item, time, "click", None, None) for time, item in enumerate("abcabc")]
    sequences = load_sequences(a_dataset(tmp_path / "d", events))
    assert first_targets(sequences.of(0)).tolist() == [True] * 3 + [False] * 3
    assert leave_one_out(sequences).test_at.tolist() == [2]


def test_nobody_elses_events_change_a_persons_history(tmp_path: Path) -> None:
    mine = [("b", item, 5, "like", None, None) for item in "abcde"]
    mine += [("b", None, 5, "search", None, text) for text in ("owls", "bees", "foxes")]
    others = [("a", None, 1, "search", None, "zebras"), ("a", "c", 1, "like", None, None)]
    alone, beside = (
        load_sequences(a_dataset(tmp_path / name, events))
        for name, events in (("alone", mine), ("beside", [*others, *mine]))
    )

    def told(sequences: Sequences, user: int) -> list[str | int]:
        rows = sequences.of(user).rows.tolist()
        return [row if row < sequences.items else sequences.texts[row - sequences.items] for row in rows]

    assert told(alone, 0) == told(beside, 1)


def test_searches_become_pseudo_items_behind_the_catalogue(tmp_path: Path) -> None:
    events = [("u", None, 1, "search", None, "owls"), ("u", "a", 2, "like", None, None)]
    sequences = load_sequences(a_dataset(tmp_path / "d", events))
    assert sequences.entries.rows.tolist() == [5, 0]
    assert list(sequences.texts) == ["owls"]
    assert sequences.entries.targets.tolist() == [False, True]


def test_ratings_below_the_least_one_are_no_targets_but_keep_their_labels(tmp_path: Path) -> None:
    events = [("u", "a", 1, "rate", 2.0, None), ("u", "b", 2, "rate", 5.0, None), ("u", "c", 3, "hide", None, None)]
    entries = load_sequences(a_dataset(tmp_path / "d", events), positives=PositiveRule(min_rating=4.0)).entries
    assert entries.targets.tolist() == [False, True, False]
    assert entries.intents.tolist() == [0.0, 1.0, 0.0]
    assert entries.ratings[:2].tolist() == [2.0, 5.0]
    assert np.isnan(entries.ratings[2])
    assert entries.weights.tolist() == [1.0, 1.0, 0.0]


def test_a_weight_for_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`stare`"):
        load_sequences(a_dataset(tmp_path / "d", [("u", "a", 1, "like", None, None)]), weights={"stare": 1.0})
