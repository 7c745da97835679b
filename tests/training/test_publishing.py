"""What a run publishes is what a device can install, recommend with and take part by."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fedrec.config import AdapterConfig, ModelConfig, Scenario
from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.errors import DataError
from fedrec.model.catalogue_file import CATALOGUE
from fedrec.model.device_index import DEVICE_INDEX, DeviceIndex
from fedrec.model.history import history_sums
from fedrec.model.linear import LinearModel
from fedrec.model.onnx_encoder import ENCODER, ENCODER_FACTS, OnnxEncoder
from fedrec.ondevice import releases
from fedrec.ondevice.catalogue import DeviceCatalogue
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy_config import PrivacyConfig
from fedrec.release import Manifest, public_key, signing_key, verify_release
from fedrec.secagg.planned import plan_of
from fedrec.training.aggregation import ServerState
from fedrec.training.publishing import Publisher
from fedrec.training.workbench import Workbench, open_workbench
from tests.small_worlds import save_tiny_bert

pytestmark = pytest.mark.slow

ENCODER_FILES = ("encoder/model.int8.onnx", "encoder/tokenizer.json", "encoder/encoder.json")
PRIVACY = PrivacyConfig(mode="central", unit="USER", clip_norm=0.5, noise_multiplier=2.0, participations=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "world", users=36, items=60, seed=8)
    save_tiny_bert(folder / "bert", texts=Dataset.open(folder / "world").catalogue()["text"].to_list())
    return folder


@pytest.fixture(autouse=True)
def _cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDREC_CACHE", str(place / "cache"))


def a_workbench(place: Path, **model: object) -> Workbench:
    config = ModelConfig(encoder=str(place / "bert"), prior="public", **model)  # type: ignore[arg-type]
    ranks = {"query": 2} if config.tower == "text" else {"history_proj": 4, "item_proj": 3}
    scenario = Scenario(name="s", model=config, adapter=AdapterConfig(ranks=ranks), privacy=PRIVACY)
    return open_workbench(scenario, place / "world")


@pytest.fixture(scope="module")
def workbench(place: Path) -> Workbench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDREC_CACHE", str(place / "cache"))
        return a_workbench(place)


def publish(workbench: Workbench, run: Path, *, number: int = 0) -> Path:
    """The release of a state whose adapter is `number` hundredths everywhere."""
    adapter = np.full(workbench.model.layout.size, number / 100, dtype=np.float32)
    publisher = Publisher(workbench, run / "releases", key=signing_key(run / "signing.key"), run_id="run")
    return publisher.publish(
        replace(ServerState.start(adapter), round=number),
        ledger_head="0" * 64,
        privacy={"epsilon": 1.0},
        card=lambda device: f"On a device: {device}",
        privacy_text="",
    )


def manifest_of(run: Path, release: Path) -> Manifest:
    return verify_release(release, public_key(run / "signing.pub"))


def installed_on(device: Path, run: Path, release: Path) -> releases.Installed:
    releases.pin_signer(device, run / "signing.pub")
    return releases.install(device, release)


@pytest.mark.slow
def test_a_device_scores_a_release_as_its_run_does(workbench: Workbench, tmp_path: Path) -> None:
    release = publish(workbench, tmp_path, number=3)
    installed = installed_on(tmp_path / "device", tmp_path, release)
    index = DeviceIndex.open(installed.folder / DEVICE_INDEX)
    model = LinearModel.open(installed.folder, installed.manifest, index)
    assert model.layout == workbench.model.layout
    assert model.prior == pytest.approx(workbench.model.base.prior.numpy())
    histories = [workbench.split.train(user) for user in range(20)]
    vectors = np.concatenate([workbench.index.vectors, workbench.query_vectors])
    sums = [history_sums(each, np.array([len(each)]), vectors, decays=model.config.decays)[0] for each in histories]
    found = np.stack([model.scores(model.query(each)) for each in sums])
    expected = workbench.scorer().scores(histories)
    assert found == pytest.approx(expected, abs=0.1)  # eight bits
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999


def test_a_device_reads_the_catalogue_of_the_data_set(workbench: Workbench, tmp_path: Path) -> None:
    release = publish(workbench, tmp_path)
    catalogue = DeviceCatalogue.open(release / CATALOGUE)
    expected = workbench.dataset.catalogue()
    found = [catalogue.item(row) for row in range(len(catalogue))]
    for name in ("item_id", "title", "text", "category", "provider", "published"):
        assert [getattr(item, name) for item in found] == expected[name].to_list()


def test_a_device_reads_texts_with_the_encoder_of_the_index(workbench: Workbench, tmp_path: Path) -> None:
    release = publish(workbench, tmp_path)
    texts = workbench.dataset.catalogue()["text"].to_list()
    found = OnnxEncoder.open(release / ENCODER).query_vectors(texts, workbench.index)
    expected = workbench.index.vectors
    assert (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected) > 0.995
    assert "reads searches and comments with an int8 encoder" in (release / "MODEL_CARD.md").read_text()


def test_the_lineage_says_what_taking_part_needs(workbench: Workbench, tmp_path: Path) -> None:
    lineage = manifest_of(tmp_path, publish(workbench, tmp_path)).lineage
    scenario, layout = workbench.scenario, workbench.model.layout
    assert [(name, tuple(shape)) for name, shape in lineage["tensors"]] == list(
        zip(layout.names, layout.shapes, strict=True)
    )
    assert PrivacyPlan.from_table(lineage["plan"]) == plan_of(scenario) == workbench.plan
    for part in ("adapter", "training", "budget", "model", "data"):
        assert lineage[part] == json.loads(json.dumps(asdict(getattr(scenario, part))))
    assert lineage["layout"] == layout.hash


def test_a_run_without_privacy_has_no_plan(place: Path, workbench: Workbench, tmp_path: Path) -> None:
    open_run = open_workbench(workbench.scenario.without_privacy(), place / "world")
    assert manifest_of(tmp_path, publish(open_run, tmp_path)).lineage["plan"] is None


def test_what_does_not_change_is_shared_by_all_releases_of_a_run(workbench: Workbench, tmp_path: Path) -> None:
    one, other = (publish(workbench, tmp_path, number=number) for number in range(2))
    same = (
        "index.safetensors",
        DEVICE_INDEX,
        CATALOGUE,
        "prior.safetensors",
        *(str(p.relative_to(one)) for p in (one / ENCODER).iterdir()),
    )
    for name in same:
        assert (one / name).stat().st_ino == (other / name).stat().st_ino
    assert (one / "adapter/adapter_model.safetensors").read_bytes() != (
        other / "adapter/adapter_model.safetensors"
    ).read_bytes()


def test_the_same_state_is_the_same_release_wherever_it_is_published(workbench: Workbench, tmp_path: Path) -> None:
    one, other = (publish(workbench, tmp_path / name, number=2) for name in ("one", "other"))
    assert one.name == other.name


def test_another_title_is_another_release(workbench: Workbench, tmp_path: Path) -> None:
    frame = workbench.dataset.catalogue().with_columns(pl.col("title") + "!")
    frame.write_parquet(tmp_path / "catalogue.parquet")
    renamed = replace(workbench, dataset=Dataset(tmp_path, workbench.dataset.info))
    assert publish(renamed, tmp_path / "one").name != publish(workbench, tmp_path / "other").name


def test_a_data_set_from_before_providers_were_known_is_published(workbench: Workbench, tmp_path: Path) -> None:
    workbench.dataset.catalogue().drop("provider", "published").write_parquet(tmp_path / "catalogue.parquet")
    old = replace(workbench, dataset=Dataset(tmp_path, workbench.dataset.info))
    catalogue = DeviceCatalogue.open(publish(old, tmp_path / "run") / CATALOGUE)
    assert (catalogue.item(0).provider, catalogue.item(0).published) == (None, None)


def test_without_a_form_for_devices_an_encoder_stays_behind_and_the_card_says_so(place: Path, tmp_path: Path) -> None:
    """One that pools by the maximum."""
    bert = shutil.copytree(place / "bert", tmp_path / "bert")
    (bert / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ]
        )
    )
    (bert / "1_Pooling").mkdir()
    (bert / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False})
    )
    scenario = Scenario(
        name="s", model=ModelConfig(encoder=str(bert)), adapter=AdapterConfig(ranks={"history_proj": 4})
    )
    release = publish(open_workbench(scenario, place / "world"), tmp_path)
    assert ENCODER_FACTS not in manifest_of(tmp_path, release).files
    card = (release / "MODEL_CARD.md").read_text()
    assert "cannot read searches and comments there" in card
    assert "it pools by max" in card
    assert installed_on(tmp_path / "device", tmp_path, release).round == 0


def test_a_release_of_the_text_tower_is_not_for_devices(place: Path, tmp_path: Path) -> None:
    release = publish(a_workbench(place, tower="text"), tmp_path)
    assert not {CATALOGUE, ENCODER_FACTS} & manifest_of(tmp_path, release).files.keys()
    assert "not possible" in (release / "MODEL_CARD.md").read_text()
    with pytest.raises(DataError, match="text tower"):
        installed_on(tmp_path / "device", tmp_path, release)
