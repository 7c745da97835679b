"""Writing a state of a run as a signed release that a device, or peft, can load."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import load_file, save_file

from fedrec.config import ModelConfig
from fedrec.config_file import parse_table
from fedrec.data.sequences import Floats
from fedrec.errors import DataError
from fedrec.model.build import build_recommender
from fedrec.model.item_index import ItemIndex
from fedrec.model.recommender import Recommender
from fedrec.release import Manifest, publish_release
from fedrec.training.aggregation import ServerState
from fedrec.training.workbench import Workbench

ADAPTER = "adapter"
INDEX = "index.safetensors"
DEVICE_INDEX = "index.int8.safetensors"
PRIOR = "prior.safetensors"


class Publisher:
    """Publishes states of one run; the item index is written once and shared by hard links."""

    def __init__(self, workbench: Workbench, parent: Path, *, key: Ed25519PrivateKey, run_id: str) -> None:
        self._workbench = workbench
        self._parent = parent
        self._key = key
        self._run_id = run_id

    def publish(
        self, state: ServerState, *, ledger_head: str, privacy: dict[str, Any], card: str, privacy_text: str
    ) -> Path:
        """Write and sign the release of a state; returns its folder."""
        shared = self._shared_files()

        def write_files(folder: Path) -> None:
            self._workbench.model.load(state.adapter)
            self._workbench.model.save(folder / ADAPTER)
            for path in shared:
                os.link(path, folder / path.name)
            (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
            (folder / "privacy.md").write_text(privacy_text, encoding="utf-8")

        lineage = {
            "run": self._run_id,
            "round": state.round,
            "layout": self._workbench.model.layout.hash,
            "base_model": self._workbench.base_hash,
            "encoder": self._workbench.index.encoder_hash,
            "index": self._workbench.index.content_hash,
            "ledger_head": ledger_head,
            "model": asdict(self._workbench.scenario.model),
            "data": asdict(self._workbench.scenario.data),
            "seed": self._workbench.scenario.seed,
        }
        return publish_release(
            self._parent, write_files, round_number=state.round, lineage=lineage, privacy=privacy, key=self._key
        )

    def _shared_files(self) -> list[Path]:
        folder = self._parent / ".shared"
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / INDEX, folder / DEVICE_INDEX]
        prior = self._workbench.model.base.prior.numpy()
        if not all(path.exists() for path in paths):
            self._workbench.index.save_int8(paths[1])
            self._workbench.index.save(paths[0])
            for path in paths:
                path.chmod(0o644)
        if prior.any():
            paths.append(folder / PRIOR)
            if not paths[-1].exists():
                draft = paths[-1].with_suffix(".draft")
                save_file({"prior": np.ascontiguousarray(prior, dtype=np.float32)}, draft)
                draft.replace(paths[-1])
        return paths


def released_base_model(folder: Path, manifest: Manifest, query_vectors: Floats | None = None) -> Recommender:
    """The base model that a verified release was trained on, ready for peft's `from_pretrained`.

    query_vectors: (T, d), of the query texts in the histories that will be scored.
    Raises DataError for a release of the text tower, which needs the catalogue's texts too.
    """
    config = parse_table(ModelConfig, manifest.lineage["model"])
    if config.tower == "text":
        raise DataError("A release of the text tower is scored with its run: name the run folder, not the release.")
    prior: Floats | None = None
    if (folder / PRIOR).exists():
        prior = load_file(folder / PRIOR)["prior"]
        config = replace(config, prior_weight=1.0)  # the file holds the weighted prior
    return build_recommender(config, ItemIndex.load(folder / INDEX), query_vectors=query_vectors, prior=prior)
