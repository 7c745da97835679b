import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.errors import ConfigError, DataError
from fedrec.service.adding import add_catalogue
from fedrec.service.config import NetworkConfig
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import make_service

SCENARIO = 'name = "films"\n[privacy]\nmode = "central"\n[budget]\nepsilon = 8.0\n'


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "films"
    write_world(path, users=20, items=30, seed=1)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return make_service(tmp_path / "service", network=NetworkConfig(), now=datetime.now(UTC))


def _scenario(tmp_path: Path, text: str = SCENARIO) -> Path:
    path = tmp_path / "films.toml"
    path.write_text(text)
    return path


def test_a_catalogue_that_is_added_is_served(folder: ServiceFolder, dataset: Path, tmp_path: Path) -> None:
    assert folder.names() == []
    made = add_catalogue(folder, "films", dataset=dataset, scenario=_scenario(tmp_path))
    assert folder.names() == ["films"]
    assert made.scenario.read_text() == SCENARIO
    assert (made.path / "catalogue.parquet").read_bytes() == (dataset / "catalogue.parquet").read_bytes()


def test_nobodys_events_come_to_the_server(folder: ServiceFolder, dataset: Path, tmp_path: Path) -> None:
    made = add_catalogue(folder, "films", dataset=dataset, scenario=_scenario(tmp_path))
    assert {path.name for path in made.path.iterdir()} == {"catalogue.parquet", "dataset.json", "scenario.toml"}
    about = json.loads((made.path / "dataset.json").read_text())
    assert (about["users"], about["events"], about["items"]) == (0, 0, 30)


def test_what_the_rounds_open_is_a_catalogue_that_holds(folder: ServiceFolder, dataset: Path, tmp_path: Path) -> None:
    made = add_catalogue(folder, "films", dataset=dataset, scenario=_scenario(tmp_path))
    opened = Dataset.open(made.path)
    opened.verify()
    assert opened.catalogue().equals(Dataset.open(dataset).catalogue())


def test_a_catalogue_needs_no_events_at_all(folder: ServiceFolder, dataset: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    for name in ("catalogue.parquet", "dataset.json"):
        (public / name).write_bytes((dataset / name).read_bytes())
    add_catalogue(folder, "films", dataset=public, scenario=_scenario(tmp_path))
    assert folder.names() == ["films"]


def test_a_second_one_of_the_same_name_leaves_the_first_and_its_ledger(
    folder: ServiceFolder, dataset: Path, tmp_path: Path
) -> None:
    made = add_catalogue(folder, "films", dataset=dataset, scenario=_scenario(tmp_path))
    made.run.mkdir()
    with pytest.raises(DataError, match="its ledger goes on"):
        add_catalogue(folder, "films", dataset=dataset, scenario=_scenario(tmp_path))
    assert made.run.is_dir()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[privacy]\nmode = "none"\n', "only under a plan"),
        ('[privacy]\nmode = "central"\nnoise = "seeded"\n', "reproduced from the seed"),
        ('[privacy]\nmode = "local"\n[data]\nusers_per_client = 9\n', "one person's"),
        ('[privacy]\nmode = "central"\n[model]\ntower = "text"\n', "does not run on devices"),
        ("[federation]\nround = 3\n", "Did you mean `rounds`"),
    ],
)
def test_a_scenario_that_only_a_simulation_can_run_is_refused(
    folder: ServiceFolder, dataset: Path, tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        add_catalogue(folder, "films", dataset=dataset, scenario=_scenario(tmp_path, text))
    assert list(folder.catalogues.iterdir()) == []


def test_a_folder_without_a_catalogue_is_said(folder: ServiceFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no catalogue\.parquet"):
        add_catalogue(folder, "films", dataset=tmp_path, scenario=_scenario(tmp_path))


@pytest.mark.parametrize("name", ["../films", "Films", "", ".films", "a" * 64])
def test_a_name_that_could_be_another_path_is_refused(
    folder: ServiceFolder, dataset: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="no name of a catalogue"):
        add_catalogue(folder, name, dataset=dataset, scenario=_scenario(tmp_path))
