"""What all releases of a run have in common: written once, in a form for training and one for devices."""

import json
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from fedrec.errors import ConfigError, VerificationError
from fedrec.files import write_atomically
from fedrec.model.build import encoder_path
from fedrec.model.catalogue_file import CATALOGUE, CatalogueFile
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.encoder_cache import place_exported_encoder
from fedrec.model.linear import PRIOR_FILE
from fedrec.model.onnx_encoder import ENCODER, FACTS_FILE
from fedrec.model.text_encoder import TextEncoder
from fedrec.training.foundation import Foundation

INDEX = "index.safetensors"
_WITHOUT_ENCODER = "encoder.none"


class SharedFiles:
    """The files of one run that do not change from round to round, kept in a folder of their own."""

    def __init__(self, foundation: Foundation, folder: Path) -> None:
        self._foundation = foundation
        self._folder = folder

    def files(self) -> dict[str, Path]:
        """Where each file lies, by its path within a release; made where it is not there yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        index, prior = self._foundation.index, self._foundation.model.base.prior.numpy()
        writers: dict[str, Callable[[Path], None]] = {INDEX: index.save, DEVICE_INDEX: index.save_int8}
        if prior.any():
            writers[PRIOR_FILE] = lambda path: save_file({"prior": np.ascontiguousarray(prior, dtype=np.float32)}, path)
        if self._has_device_form:
            writers[CATALOGUE] = lambda path: self._catalogue_file().save(path)
            self._place_encoder()
        found = {name: self._written(name, write) for name, write in writers.items()}
        encoder = self._folder / ENCODER
        return found | {f"{ENCODER}/{path.name}": path for path in sorted(encoder.glob("*"))}

    def on_a_device(self) -> str:
        """What a release can do on a device, in one sentence."""
        if not self._has_device_form:
            return "not possible: the text tower does not run on a device"
        facts = self._folder / ENCODER / FACTS_FILE
        if not facts.exists():
            reason = (self._folder / _WITHOUT_ENCODER).read_text(encoding="utf-8").strip()
            return f"recommends, but cannot read searches and comments there. {reason}"
        agreement = json.loads(facts.read_text())["agreement"]
        return (
            f"recommends, and reads searches and comments with an int8 encoder whose vectors agree with the original's "
            f"to a cosine of {agreement['mean_cosine']:.4f} ({agreement['min_cosine']:.4f} at the worst of "
            f"{agreement['texts']} texts)"
        )

    @property
    def _has_device_form(self) -> bool:
        return self._foundation.scenario.model.tower == "linear"

    def _written(self, name: str, write: Callable[[Path], None]) -> Path:
        path = self._folder / name
        if not path.exists():
            draft = path.with_suffix(".draft")
            write(draft)
            draft.chmod(0o644)
            draft.replace(path)
        return path

    def _place_encoder(self) -> None:
        folder, reason = self._folder / ENCODER, self._folder / _WITHOUT_ENCODER
        if folder.exists() or reason.exists():
            return
        for left in self._folder.glob(f".{ENCODER}.*"):
            shutil.rmtree(left, ignore_errors=True)
        encoder = TextEncoder.open(encoder_path(self._foundation.scenario.model))
        try:
            place_exported_encoder(encoder, folder, self._texts)
        except (ConfigError, VerificationError) as error:
            # A model that reads no texts on devices is still a model; its card says so.
            write_atomically(reason, f"{error}\n".encode())

    @cached_property
    def _catalogue(self) -> pl.DataFrame:
        return self._foundation.dataset.catalogue()

    @property
    def _texts(self) -> list[str]:
        return list(self._catalogue.select(pl.coalesce("text", "title", pl.lit("")))["text"])

    def _catalogue_file(self) -> CatalogueFile:
        def column(name: str) -> list[Any]:
            # Data sets that were imported before these columns were known lack them.
            return list(self._catalogue[name]) if name in self._catalogue.columns else [None] * len(self._catalogue)

        return CatalogueFile.of(
            column("item_id"),
            titles=column("title"),
            texts=column("text"),
            categories=column("category"),
            providers=column("provider"),
            published=column("published"),
        )
