"""A device with a signed release of random items: as large as asked for, made in seconds."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from fedrec.config import AdapterConfig, DataConfig, ModelConfig, TrainingConfig
from fedrec.data.events import Event, Kind
from fedrec.data.store.store import Store
from fedrec.data.synthetic_text import item_texts
from fedrec.model.build import adapt, build_recommender
from fedrec.model.catalogue_file import CATALOGUE, CatalogueFile
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.item_index import ItemIndex, build_index
from fedrec.model.onnx_export import export_encoder
from fedrec.model.text_encoder import TextEncoder, default_encoder_path
from fedrec.ondevice.participation import Conditions, opt_in
from fedrec.ondevice.releases import active, install, pin_signer
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy_config import BudgetConfig
from fedrec.release import publish_release, signing_key

_KINDS = (Kind.VIEW, Kind.LIKE, Kind.CLICK, Kind.SAVE, Kind.SKIP)
_MODEL = ModelConfig()


def make_device(
    device: Path,
    *,
    items: int,
    width: int,
    events: int,
    encoder: bool,
    rank: int = 16,
    plan: PrivacyPlan | None = None,
) -> None:
    """A device with the release installed and a history in its store.

    encoder: puts the real text encoder in it. rank: of the adapter. plan: what the owner agreed to take part in.
    """
    device.mkdir(parents=True)
    adapter = AdapterConfig(ranks={"history_proj": rank})
    release = _publish(
        device.parent / f"{device.name}-release", items, width, encoder=encoder, adapter=adapter, plan=plan
    )
    pin_signer(device, release.parents[1] / "signer.pub")
    install(device, release)
    draw = np.random.default_rng(3)
    with Store.create(device, keys="file") as store, store.transaction():
        for number, row in enumerate(draw.integers(0, items, events).tolist()):
            kind = _KINDS[number % len(_KINDS)]
            store.add_event(Event(user_id="me", item_id=f"i{row}", timestamp=1_600_000_000 + number, kind=kind))
        if plan:
            always = Conditions(idle=False, charging=False, unmetered=False)
            opt_in(store, active(device).manifest, now=1_700_000_000.0, conditions=always)


def _publish(
    folder: Path, items: int, width: int, *, encoder: bool, adapter: AdapterConfig, plan: PrivacyPlan | None
) -> Path:
    draw = np.random.default_rng(0)
    themes = draw.integers(0, 24, items)
    centres = draw.normal(size=(24, width))
    embeddings = (centres[themes] + draw.normal(size=(items, width))).astype(np.float32)
    encoder_name, digest = _encoder_names() if encoder else ("random", "0" * 64)
    index = build_index(embeddings, [f"i{row}" for row in range(items)], encoder_name=encoder_name, encoder_hash=digest)
    prior = np.log1p(draw.zipf(1.5, items).clip(max=10_000)).astype(np.float32)
    model = adapt(build_recommender(_MODEL, index, prior=prior), _MODEL, adapter, index)
    model.load(draw.normal(size=model.layout.size) * 0.05)
    weighted = model.base.prior.numpy()

    def write(draft: Path) -> None:
        model.save(draft / "adapter")
        index.save_int8(draft / DEVICE_INDEX)
        _catalogue(index, themes, draw).save(draft / CATALOGUE)
        save_file({"prior": weighted}, draft / "prior.safetensors")
        if encoder:
            _export_encoder(draft / "encoder")

    lineage: dict[str, Any] = {
        "run": "bench",
        "round": 0,
        "layout": model.layout.hash,
        "tensors": [[name, list(shape)] for name, shape in zip(model.layout.names, model.layout.shapes, strict=True)],
        "base_model": frozen_hash(_MODEL, index.content_hash, weighted),
        "encoder": index.encoder_hash,
        "index": index.content_hash,
        "model": asdict(_MODEL),
        "data": asdict(DataConfig()),
        "adapter": asdict(adapter),
        "training": asdict(TrainingConfig()),
        "plan": plan.as_table() if plan else None,
        "budget": asdict(BudgetConfig()),
    }
    key = signing_key(folder / "signer.key")
    return publish_release(folder / "releases", write, round_number=0, lineage=lineage, privacy={}, key=key)


def _catalogue(index: ItemIndex, themes: np.ndarray, draw: np.random.Generator) -> CatalogueFile:
    texts = item_texts(themes.tolist(), draw)
    return CatalogueFile.of(
        list(index.item_ids),
        titles=[title for title, _ in texts],
        texts=[text for _, text in texts],
        categories=[f"theme {theme}" for theme in themes.tolist()],
        providers=[f"maker {number}" for number in draw.integers(0, 50, len(texts)).tolist()],
        published=[None] * len(texts),
    )


def _encoder() -> TextEncoder:
    return TextEncoder.open(default_encoder_path())


def _encoder_names() -> tuple[str, str]:
    encoder = _encoder()
    return encoder.name, encoder.hash


def _export_encoder(folder: Path) -> None:
    folder.mkdir()
    themes = np.arange(24).repeat(3).tolist()
    export_encoder(_encoder(), folder, [text for _, text in item_texts(themes, np.random.default_rng(1))])
