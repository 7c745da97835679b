"""A service's part of a scenario is the same as a simulation's, from the catalogue alone."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.config import AdapterConfig, ModelConfig, Scenario
from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.errors import ConfigError, DataError
from fedrec.privacy_config import PrivacyConfig
from fedrec.training.foundation import open_foundation
from fedrec.training.workbench import open_workbench
from tests.public_catalogues import catalogue_alone
from tests.small_worlds import save_tiny_bert


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "world", users=30, items=40, seed=4)
    save_tiny_bert(folder / "bert", texts=Dataset.open(folder / "world").catalogue()["text"].to_list())
    catalogue_alone(Dataset.open(folder / "world"), folder / "public")
    return folder


@pytest.fixture(autouse=True)
def _cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDREC_CACHE", str(place / "cache"))


def a_scenario(place: Path, **changes: object) -> Scenario:
    model = ModelConfig(encoder=str(place / "bert"), prior=changes.pop("prior", "public"))  # type: ignore[arg-type]
    given = {"name": "s", "model": model, "adapter": AdapterConfig(ranks={"history_proj": 4})}
    return Scenario(**{**given, **changes})  # type: ignore[arg-type]


def test_a_catalogue_alone_gives_the_model_plan_and_budget_of_the_whole_data_set(place: Path) -> None:
    scenario = a_scenario(place, privacy=PrivacyConfig(mode="central", unit="USER", participations=3))
    alone, whole = open_foundation(scenario, place / "public"), open_workbench(scenario, place / "world")
    assert alone.base_hash == whole.base_hash
    assert alone.model.layout.hash == whole.model.layout.hash
    assert np.array_equal(alone.index.vectors, whole.index.vectors)
    assert (alone.plan, alone.budget) == (whole.plan, whole.budget)
    assert alone.plan is not None


def test_a_prior_that_counts_what_people_did_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="counts"):
        open_foundation(a_scenario(place, prior="counts"), place / "public")


def test_a_simulation_on_a_catalogue_alone_says_what_is_missing(place: Path) -> None:
    with pytest.raises(DataError, match="no events"):
        open_workbench(a_scenario(place), place / "public")
