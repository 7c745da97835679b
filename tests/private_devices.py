"""Devices whose releases have a privacy plan, with the torch model behind them: what taking part is tested with."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save_file

from fedrec.config import AdapterConfig, DataConfig, ModelConfig, TrainingConfig
from fedrec.data.events import Event, Kind
from fedrec.data.store.store import Store
from fedrec.model.adapter import AdaptedModel
from fedrec.model.build import adapt, build_recommender
from fedrec.model.catalogue_file import CATALOGUE, CatalogueFile
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.item_index import ItemIndex
from fedrec.model.linear import PRIOR_FILE
from fedrec.ondevice.releases import install, pin_signer
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy_config import BudgetConfig
from fedrec.release import publish_release, signing_key
from tests.small_worlds import ITEMS, a_plan, an_index

CENTRAL = replace(a_plan(), mode="central", unit="USER", local=None, clip_norm=0.5, noise_multiplier=2.0)
MODEL = ModelConfig(window=50)
TRAINING = TrainingConfig(positions=8, learning_rate=0.3)
ADAPTER = AdapterConfig(ranks={"history_proj": 6})
_TOPICS = ("crime", "travel", "kitchen", "space")


def a_signer(folder: Path) -> Ed25519PrivateKey:
    """The same key again for the same folder; its public half lies beside it."""
    return signing_key(folder / "signer.key")


def a_base(prior: np.ndarray | None = None) -> tuple[AdaptedModel, ItemIndex]:
    """The torch model whose releases these are."""
    index = an_index()
    return adapt(build_recommender(MODEL, index, prior=prior), MODEL, ADAPTER, index), index


def a_release(
    parent: Path,
    *,
    round_number: int = 0,
    plan: PrivacyPlan | None = CENTRAL,
    budget: BudgetConfig | None = None,
    moved: float = 0.0,
    run: str = "run",
    with_prior: bool = False,
) -> Path:
    """Publish a release of 40 items under `parent`, as a run would; `moved` puts the adapter somewhere else."""
    key = a_signer(parent)
    prior = np.log1p(np.arange(ITEMS)[::-1]).astype(np.float32) if with_prior else None
    model, index = a_base(prior)
    model.load(np.random.default_rng(round_number).normal(size=model.layout.size) * moved)
    weighted = model.base.prior.numpy()

    def write(folder: Path) -> None:
        model.save(folder / "adapter")
        index.save_int8(folder / DEVICE_INDEX)
        a_catalogue(index).save(folder / CATALOGUE)
        if weighted.any():
            save_file({"prior": weighted}, folder / PRIOR_FILE)

    lineage: dict[str, Any] = {
        "run": run,
        "round": round_number,
        "layout": model.layout.hash,
        "tensors": [[name, list(shape)] for name, shape in zip(model.layout.names, model.layout.shapes, strict=True)],
        "base_model": frozen_hash(MODEL, index.content_hash, weighted),
        "encoder": index.encoder_hash,
        "index": index.content_hash,
        "model": asdict(MODEL),
        "data": asdict(DataConfig()),
        "adapter": asdict(ADAPTER),
        "training": asdict(TRAINING),
        "plan": plan.as_table() if plan else None,
        "budget": asdict(budget or BudgetConfig()),
    }
    return publish_release(parent / "releases", write, round_number=round_number, lineage=lineage, privacy={}, key=key)


def a_catalogue(index: ItemIndex) -> CatalogueFile:
    """Titles, topics and makers of the index's items."""
    rows = range(len(index))
    return CatalogueFile.of(
        list(index.item_ids),
        titles=[f"Tale number {row}" for row in rows],
        texts=[f"A {_TOPICS[row % len(_TOPICS)]} story, the {row}th" for row in rows],
        categories=[_TOPICS[row % len(_TOPICS)] for row in rows],
        providers=[f"maker {row % 5}" for row in rows],
        published=[None for _ in rows],
    )


def a_device(folder: Path, release: Path) -> Path:
    """A device with that release installed and an empty store, its key in a file."""
    device = folder / "device"
    device.mkdir()
    pin_signer(device, release.parents[1] / "signer.pub")
    install(device, release)
    Store.create(device, keys="file").close()
    return device


def an_event(item: int | None = 0, *, kind: Kind = Kind.LIKE, time: int = 1_700_000_000, **more: Any) -> Event:
    """The owner did something with an item."""
    return Event(user_id="me", item_id=None if item is None else f"i{item}", timestamp=time, kind=kind, **more)
