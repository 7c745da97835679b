"""A trained release of MovieLens latest-small on a device, and what its people did, as the device's events."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrec.config import DataConfig
from fedrec.config_file import parse_table
from fedrec.data.dataset import Dataset
from fedrec.data.events import Event, Kind
from fedrec.data.sequences import Floats, History
from fedrec.data.splits import Split
from fedrec.data.store.rows import OWNER
from fedrec.model.adapter import load_released
from fedrec.model.scorer import ModelScorer
from fedrec.ondevice.engine import Engine
from fedrec.release import Manifest, public_key, verify_release
from fedrec.training.publishing import ADAPTER, released_base_model
from fedrec.training.workbench import split_of
from tests.ondevice.device_worlds import a_device
from tests.real_data import latest_small

REPOSITORY = Path(__file__).parents[2]
FEDREC = Path(sys.executable).with_name("fedrec")
_QUICK = ("federation.rounds=10", "federation.release_every=10", "evaluation.every=10", "evaluation.baselines=[]")


@dataclass(frozen=True, kw_only=True)
class MovieLens:
    """A run's last release, its people, and a device that holds the release.

    split: by time, two entries of everybody held out. item_ids: by row.
    """

    release: Path
    manifest: Manifest
    split: Split
    item_ids: Sequence[str]
    device: Path

    def histories(self) -> list[History]:
        """Everybody's history before each of the two entries that are held out."""
        users = range(self.split.sequences.users)
        found = (self.split.until(user, test=test) for test in (False, True) for user in users)
        return [held[0] for held in found if held is not None]

    def events(self, history: History) -> list[Event]:
        """The same entries as the device would have recorded them."""
        items = self.split.sequences.items
        return [
            Event(
                user_id=OWNER,
                item_id=self.item_ids[row] if row < items else None,
                timestamp=int(time),
                kind=Kind.RATE if row < items else Kind.COMMENT,
                value=None,
                text=None if row < items else self.split.sequences.texts[row - items],
            )
            for row, time in zip(history.rows.tolist(), history.times.tolist(), strict=True)
        ]

    def torch_scorer(self, query_vectors: Floats) -> ModelScorer:
        """The release as torch and peft load it."""
        model = released_base_model(self.release, self.manifest, query_vectors)
        load_released(model, self.release / ADAPTER)
        return ModelScorer(model, window=self.manifest.lineage["model"]["window"])


def a_movielens(folder: Path) -> MovieLens:
    """Import the data, train ten rounds, and install the release; skips the test where the data are not there."""
    data = latest_small()
    subprocess.run([FEDREC, "data", "import", "movielens", data, "--out", folder / "data"], check=True)
    scenario = REPOSITORY / "simulations" / "movielens_small.toml"
    settings = [word for setting in _QUICK for word in ("--set", setting)]
    subprocess.run(
        [FEDREC, "simulate", scenario, "--data", folder / "data", "--out", folder / "run", *settings],
        check=True,
        capture_output=True,
    )
    release = max((folder / "run" / "releases").glob("0*"))
    key = folder / "run" / "signing.pub"
    (release.parent / "signing.pub").write_bytes(key.read_bytes())
    manifest = verify_release(release, public_key(key))
    settings_of_data = parse_table(DataConfig, manifest.lineage["data"])
    dataset = Dataset.open(folder / "data")
    return MovieLens(
        release=release,
        manifest=manifest,
        split=split_of(dataset, settings_of_data, seed=manifest.lineage["seed"]),
        item_ids=dataset.catalogue()["item_id"].to_list(),
        device=a_device(folder / "device", release),
    )


def live(engine: Engine, events: Sequence[Event]) -> None:
    """The device belongs to somebody who did exactly this."""
    with engine.store.transaction():
        for stored in engine.store.events():
            engine.store.remove_event(stored.id)
    engine._read_store()
    engine.record_all(list(events))


def top(scores: Floats, k: int = 10) -> list[int]:
    """The rows of the k best, best first."""
    return [int(row) for row in np.argsort(-scores, kind="stable")[:k]]
