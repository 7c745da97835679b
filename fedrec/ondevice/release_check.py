"""Whether a verified release is one that this device can recommend with: asked before anything is switched to it.

A signature says who made a release, not that it works. Here it is opened as the engine
opens it, and makes lists for somebody new and for somebody with a history.
"""

import json
from pathlib import Path

import numpy as np

from fedrec.config import ModelConfig
from fedrec.config_file import parse_table
from fedrec.data.sequences import Ints
from fedrec.errors import DataError, VerificationError
from fedrec.model.catalogue_file import CATALOGUE
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.linear import ADAPTER_FILE, LinearModel
from fedrec.model.onnx_encoder import ENCODER_FACTS
from fedrec.ondevice.additions import no_additions
from fedrec.ondevice.explain import Words
from fedrec.ondevice.installed import Installed
from fedrec.ondevice.live import KINDS, Entries
from fedrec.ondevice.loaded import Loaded, joined, opened
from fedrec.ondevice.recommending import Wish, recommended
from fedrec.ondevice.rerank import Steering
from fedrec.ondevice.scoring import Question, question_of, scores_of
from fedrec.release import Manifest

_NEEDED = (DEVICE_INDEX, CATALOGUE, ADAPTER_FILE)
_ENTRIES = 64
# Scores are sums of a few numbers around one; far beyond, a longer history would overflow.
_LARGEST = 1e6


def require_usable(folder: Path, manifest: Manifest) -> None:
    """Raise unless the release in `folder` recommends, with the parts that its manifest speaks of.

    Raises DataError for a release without a device form, VerificationError for one whose
    parts contradict each other or the base model's hash, or that fails at whatever it may be.
    """
    config = _settings(manifest)
    if config.tower != "linear":
        raise DataError(
            f"Release {manifest.id} needs the text tower, which does not run on a device. Use a linear one."
        )
    if missing := [name for name in _NEEDED if name not in manifest.files]:
        raise DataError(
            f"Release {manifest.id} has no {missing[0]}: it was not published for devices. Publish it again."
        )
    try:
        loaded = _loaded(folder, manifest)
        found = _hashes(folder, loaded, manifest)
        same_items = loaded.catalogue.has_rows(loaded.index.item_ids)
        works = same_items and _works(loaded)
    # Whatever a signer did: the message names the kind of fault, and never the content.
    except Exception as error:
        raise _unusable(manifest, type(error).__name__) from None
    for name, (digest, stated) in found.items():
        if digest != stated:
            raise VerificationError(
                f"Release {manifest.id}: `{name}` has hash {digest[:12]}, and its lineage names another. "
                "Do not use this release; tell who published it."
            )
    if not same_items:
        raise DataError("The catalogue and the index of this release name different items. Fetch it again.")
    if not works:
        raise _unusable(manifest, "its scores are not numbers that a list can be made of")


def _settings(manifest: Manifest) -> ModelConfig:
    try:
        return parse_table(ModelConfig, manifest.lineage["model"])
    except Exception:
        raise VerificationError(
            f"Release {manifest.id} was made with model settings that this version of fedrec does not know. Update it."
        ) from None


def _unusable(manifest: Manifest, why: str) -> VerificationError:
    return VerificationError(
        f"Release {manifest.id} does not work on a device ({why}): it was made badly, or for another version of "
        "fedrec. The active release stays; tell who published this one."
    )


def _loaded(folder: Path, manifest: Manifest) -> Loaded:
    """The release as the engine opens it, without what was added on this device."""
    installed = Installed(folder=folder, manifest=manifest, id=manifest.id, round=manifest.lineage["round"])
    released = opened(installed, graphs=folder)
    return joined(released, no_additions(released.index.encoder_hash))


def _hashes(folder: Path, loaded: Loaded, manifest: Manifest) -> dict[str, tuple[str, object]]:
    """By part: its hash as it is, and as the lineage states it."""
    index, model, lineage = loaded.index, loaded.model, manifest.lineage
    frozen = frozen_hash(model.config, index.content_hash, model.prior)
    found = {
        "index": (index.content_hash, lineage.get("index")),
        "encoder": (index.encoder_hash, lineage.get("encoder")),
        "base_model": (frozen, lineage.get("base_model")),
    }
    if ENCODER_FACTS in manifest.files:
        digest = str(json.loads((folder / ENCODER_FACTS).read_text())["encoder"])
        found["the encoder for texts"] = (digest, lineage.get("encoder"))
    return found


def _works(loaded: Loaded) -> bool:
    """Whether every item can be told, the adapter fits its layout, and lists have finite scores; or it raises."""
    for row in range(len(loaded)):
        loaded.catalogue.item(row)
    whitening = loaded.index.whitening
    numbers = (whitening.mean, whitening.rotation, whitening.scale)
    everybody = np.unique(np.linspace(0, len(loaded) - 1, min(len(loaded), _ENTRIES)).astype(np.int64))
    with np.errstate(all="ignore"):
        return (
            all(np.isfinite(each).all() for each in numbers)
            and _fits_layout(loaded.model)
            and all(_recommends(loaded, rows) for rows in (everybody[:0], everybody))
        )


def _fits_layout(model: LinearModel) -> bool:
    """Whether the flat adapter that the lineage lays out is one of these factors'."""
    held = sum(factor.a.size + factor.b.size for factor in model.factors.values())
    if not 0 <= model.layout.size <= held:
        return False
    model.with_adapter(np.zeros(model.layout.size, np.float32)).require_fitting()
    return True


def _recommends(loaded: Loaded, rows: Ints) -> bool:
    """Whether somebody who did something with these items gets a list with finite scores."""
    question = _question(loaded, rows)
    scores = scores_of(question, loaded.model)
    wish = Wish(
        k=10,
        steering=Steering(),
        allowed=np.ones(len(loaded), dtype=np.bool_),
        shown=np.zeros(len(loaded), dtype=np.int64),
        provider_shown=np.zeros(len(loaded.catalogue.providers) + 1, dtype=np.int64),
        now=0,
    )
    words = Words(title=loaded.catalogue.title, text=lambda _: None, asked="")
    _, items = recommended(loaded, question, wish, words)
    values = np.concatenate([scores, [item.score for item in items]])
    # Not a number is not below it either.
    return bool((np.abs(values) < _LARGEST).all())


def _question(loaded: Loaded, rows: Ints) -> Question:
    """What somebody asks who did one thing of every kind in turn with these items."""
    kinds = np.arange(len(rows)) % len(KINDS)
    weights = np.array([loaded.released.weights[kind] for kind in KINDS], dtype=np.float32)[kinds]
    ids = np.arange(1, len(rows) + 1)
    entries = Entries(ids=ids, rows=rows, kinds=kinds, weights=weights, vectors=loaded.index.vectors(rows))
    return question_of(entries, loaded.model)
