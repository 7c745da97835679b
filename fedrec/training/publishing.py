"""Writing a state of a run as a signed release that a device, or peft, can load."""

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import load_file

from fedrec.config import ModelConfig
from fedrec.config_file import parse_table
from fedrec.data.sequences import Floats
from fedrec.errors import DataError
from fedrec.model.build import build_recommender
from fedrec.model.item_index import ItemIndex
from fedrec.model.linear import PRIOR_FILE
from fedrec.model.recommender import Recommender
from fedrec.release import Manifest, publish_release
from fedrec.training.aggregation import ServerState
from fedrec.training.foundation import Foundation
from fedrec.training.shared_files import INDEX, SharedFiles

ADAPTER = "adapter"


class Publisher:
    """Publishes states of one run; what never changes is written once and shared by hard links."""

    def __init__(self, foundation: Foundation, parent: Path, *, key: Ed25519PrivateKey, run_id: str) -> None:
        self._foundation = foundation
        self._parent = parent
        self._key = key
        self._run_id = run_id

    def publish(
        self,
        state: ServerState,
        *,
        ledger_head: str,
        privacy: dict[str, Any],
        card: Callable[[str], str],
        privacy_text: str,
    ) -> Path:
        """Write and sign the release of a state; returns its folder.

        card: the model card, told what the release can do on a device.
        """
        model, shared = self._foundation.model, SharedFiles(self._foundation, self._parent / ".shared")
        files = shared.files()

        def write_files(folder: Path) -> None:
            model.load(state.adapter)
            model.save(folder / ADAPTER)
            for name, path in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                os.link(path, folder / name)
            (folder / "MODEL_CARD.md").write_text(card(shared.on_a_device()), encoding="utf-8")
            (folder / "privacy.md").write_text(privacy_text, encoding="utf-8")

        lineage = {"run": self._run_id, "round": state.round, "ledger_head": ledger_head, **_lineage(self._foundation)}
        return publish_release(
            self._parent, write_files, round_number=state.round, lineage=lineage, privacy=privacy, key=self._key
        )


def _lineage(foundation: Foundation) -> dict[str, Any]:
    """What a device needs to know to recommend with a release, and to take part in its run."""
    scenario, layout = foundation.scenario, foundation.model.layout
    return {
        "layout": layout.hash,
        "tensors": [[name, list(shape)] for name, shape in zip(layout.names, layout.shapes, strict=True)],
        "base_model": foundation.base_hash,
        "encoder": foundation.index.encoder_hash,
        "index": foundation.index.content_hash,
        "model": asdict(scenario.model),
        "data": asdict(scenario.data),
        "adapter": asdict(scenario.adapter),
        "training": asdict(scenario.training),
        "plan": foundation.plan.as_table() if foundation.plan else None,
        "budget": asdict(scenario.budget),
        "seed": scenario.seed,
    }


def released_base_model(folder: Path, manifest: Manifest, query_vectors: Floats | None = None) -> Recommender:
    """The base model that a verified release was trained on, ready for peft's `from_pretrained`.

    query_vectors: (T, d), of the query texts in the histories that will be scored.
    Raises DataError for a release of the text tower, which needs the catalogue's texts too.
    """
    config = parse_table(ModelConfig, manifest.lineage["model"])
    if config.tower == "text":
        raise DataError("A release of the text tower is scored with its run: name the run folder, not the release.")
    prior: Floats | None = None
    if (folder / PRIOR_FILE).exists():
        prior = load_file(folder / PRIOR_FILE)["prior"]
        config = replace(config, prior_weight=1.0)  # the file holds the weighted prior
    return build_recommender(config, ItemIndex.load(folder / INDEX), query_vectors=query_vectors, prior=prior)
