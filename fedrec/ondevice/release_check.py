"""Whether a verified release is one that this device can recommend with: asked before anything is switched to it."""

import json
from pathlib import Path

from fedrec.config import ModelConfig
from fedrec.config_file import parse_table
from fedrec.errors import DataError, FedrecError, VerificationError
from fedrec.model.catalogue_file import CATALOGUE
from fedrec.model.device_index import DEVICE_INDEX, DeviceIndex
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.linear import ADAPTER_FILE, LinearModel
from fedrec.model.onnx_encoder import ENCODER_FACTS
from fedrec.ondevice.catalogue import DeviceCatalogue
from fedrec.release import Manifest

_NEEDED = (DEVICE_INDEX, CATALOGUE, ADAPTER_FILE)


def require_usable(folder: Path, manifest: Manifest) -> None:
    """Raise unless index, catalogue, encoder and adapter are those that the manifest speaks of.

    Raises DataError for a release without a device form, VerificationError for one whose
    parts contradict each other or the base model's hash.
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
    index = DeviceIndex.open(folder / DEVICE_INDEX)
    DeviceCatalogue.open(folder / CATALOGUE).require_rows(index.item_ids)
    model = LinearModel.open(folder, manifest, index)
    lineage = manifest.lineage
    found = {
        "index": index.content_hash,
        "encoder": index.encoder_hash,
        "base_model": frozen_hash(config, index.content_hash, model.prior),
    }
    if ENCODER_FACTS in manifest.files:
        found["the encoder for texts"] = json.loads((folder / ENCODER_FACTS).read_text())["encoder"]
    stated = {**lineage, "the encoder for texts": lineage.get("encoder")}
    for name, digest in found.items():
        if digest != stated.get(name):
            raise VerificationError(
                f"Release {manifest.id}: `{name}` has hash {digest[:12]}, and its lineage names another. "
                "Do not use this release; tell who published it."
            )


def _settings(manifest: Manifest) -> ModelConfig:
    try:
        return parse_table(ModelConfig, manifest.lineage["model"])
    except (KeyError, TypeError, AttributeError, FedrecError):
        raise VerificationError(
            f"Release {manifest.id} was made with model settings that this version of fedrec does not know. Update it."
        ) from None
