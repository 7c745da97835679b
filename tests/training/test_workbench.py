"""A laboratory's view of everybody: who is on which client, and where histories lie."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.config import DataConfig
from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.training.workbench import Members, split_of


@pytest.mark.parametrize(("users", "size"), [(10, 1), (10, 3), (9, 3), (0, 2)])
def test_everybody_is_on_one_client_in_the_order_of_the_shuffle(users: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(users)
    members = Members(order, size)
    expected = [order[start : start + size].tolist() for start in range(0, users, size)]
    assert [each.tolist() for each in members] == expected
    assert [each.tolist() for each in members[:]] == expected
    with pytest.raises(IndexError):
        members[len(expected)]


def test_a_large_data_set_is_mapped_and_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(tmp_path / "w", users=30, items=40, seed=3)
    dataset = Dataset.open(tmp_path / "w")
    loaded = split_of(dataset, DataConfig(), seed=2)
    assert not (tmp_path / "w" / "packed").exists()
    monkeypatch.setattr("fedrec.training.workbench.LARGE", dataset.info.events)
    mapped = split_of(dataset, DataConfig(), seed=2)
    assert (tmp_path / "w" / "packed").is_dir()
    assert mapped.sequences.entries.rows.tolist() == loaded.sequences.entries.rows.tolist()
    assert mapped.validation_at.tolist() == loaded.validation_at.tolist()
