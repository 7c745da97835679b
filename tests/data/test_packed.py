"""Histories as mapped columns: the same as those in memory, whole or not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.entries import PositiveRule
from fedrec.data.packed import open_split, whole_people
from fedrec.data.splits import Split, leave_one_out, load_sequences, train_counts
from fedrec.data.synthetic import write_world
from fedrec.errors import DataError
from tests.data.test_splits import a_dataset


@pytest.fixture
def world(tmp_path: Path) -> Dataset:
    write_world(tmp_path / "w", users=120, items=40, seed=3)
    return Dataset.open(tmp_path / "w")


def packed(dataset: Dataset, *, seed: int = 0, least: float | None = None) -> Split:
    return open_split(dataset, positives=PositiveRule(min_rating=least), weights={}, seed=seed)


def kept(dataset: Dataset) -> list[Path]:
    return sorted((dataset.path / "packed").iterdir())


def test_mapped_histories_are_those_in_memory(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedrec.data.packed.whole_people", lambda data: whole_people(data, at_once=200))
    mapped, loaded = packed(world), leave_one_out(load_sequences(world))
    assert list(mapped.sequences.user_ids) == list(loaded.sequences.user_ids)
    assert mapped.sequences.texts == loaded.sequences.texts
    assert mapped.sequences.items == loaded.sequences.items
    assert mapped.test_at.tolist() == loaded.test_at.tolist()
    assert train_counts(mapped).tolist() == train_counts(loaded).tolist()
    for user in range(loaded.sequences.users):
        for name in ("rows", "times", "weights", "targets", "intents", "ratings"):
            values, expected = getattr(mapped.train(user), name), getattr(loaded.train(user), name)
            assert values.dtype == expected.dtype
            assert np.array_equal(values, expected, equal_nan=name in ("intents", "ratings"))


def test_every_event_is_read_once_and_nobody_is_cut_in_two(world: Dataset) -> None:
    parts = list(whole_people(world, at_once=100))
    assert len(parts) > 3
    people = [user for part in parts for user in part["user_id"].unique()]
    assert len(people) == len(set(people)) == world.info.users
    assert sum(map(len, parts)) == world.info.events


@pytest.mark.slow
def test_one_person_with_more_events_than_are_read_at_once_stays_whole(world: Dataset) -> None:
    parts = list(whole_people(world, at_once=3))
    assert len(parts) == world.info.users


def test_what_was_packed_is_not_packed_again(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(world)
    monkeypatch.setattr("fedrec.data.packed.whole_people", pytest.fail)
    assert packed(world).sequences.users == 120


def test_other_settings_have_columns_of_their_own(world: Dataset) -> None:
    few = packed(world, least=4.5)
    assert few.sequences.entries.targets.sum() < packed(world).sequences.entries.targets.sum()
    assert len(kept(world)) == 2


@pytest.mark.parametrize("name", ["rows.npy", "test_at.npy", "texts.json", "packed.json"])
def test_columns_that_were_damaged_are_packed_anew(world: Dataset, name: str) -> None:
    expected = packed(world).sequences.entries.rows.tolist()
    file = kept(world)[0] / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert packed(world).sequences.entries.rows.tolist() == expected
    assert len(kept(world)) == 1


def test_a_packing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path / "d", [("u", "nowhere", 1, "like", None, None)])
    with pytest.raises(DataError, match="No event is of an item"):
        packed(dataset)
    assert kept(dataset) == []


def test_mapped_histories_cannot_be_written(world: Dataset) -> None:
    with pytest.raises(ValueError, match="read-only"):
        packed(world).sequences.entries.rows[0] = 1


def test_people_are_named_as_in_the_dataset(world: Dataset) -> None:
    users = packed(world).sequences.user_ids
    assert users[:3] == world.user_ids()[:3]
    assert users[-1] == world.user_ids()[-1]
    with pytest.raises(IndexError):
        users[len(users)]


def test_every_file_beside_the_facts_is_hashed(world: Dataset) -> None:
    packed(world)
    folder = kept(world)[0]
    hashed = set(json.loads((folder / "packed.json").read_text())["files"])
    assert hashed | {"packed.json"} == {file.name for file in folder.iterdir()}
