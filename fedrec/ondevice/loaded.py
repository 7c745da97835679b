"""A release as the engine uses it: its parts open, with what was added on the device behind them. Public plane."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fedrec.config import DataConfig
from fedrec.config_file import parse_table
from fedrec.data.entries import PositiveRule, kind_weights
from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.errors import DataError
from fedrec.model.catalogue_file import CATALOGUE
from fedrec.model.device_index import DEVICE_INDEX, DeviceIndex
from fedrec.model.linear import LinearModel
from fedrec.model.onnx_encoder import ENCODER, ENCODER_FACTS, OnnxEncoder
from fedrec.ondevice.additions import ADDITIONS, Additions, no_additions, read_additions, write_additions
from fedrec.ondevice.catalogue import DeviceCatalogue, Item
from fedrec.ondevice.installed import Installed
from fedrec.ondevice.nearest import GRAPHS, Nearest, open_graph

_NEW_FOR = 30 * 86_400
# Outside the most popular fifth of the catalogue, as `long_tail_share` of the evaluation has it.
_HEAD = 0.2


@dataclass(frozen=True, kw_only=True)
class Released:
    """A release's own parts.

    encoder: None where texts cannot be read. nearest: None where every item is scored.
    weights: of every kind of event. rule: which events training aims at.
    """

    installed: Installed
    index: DeviceIndex
    catalogue: DeviceCatalogue
    model: LinearModel
    encoder: OnnxEncoder | None
    nearest: Nearest | None
    weights: Mapping[str, float]
    rule: PositiveRule


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What one device recommends with: the release's items, then those added on the device.

    long_tail: (N,) outside the most popular fifth; nothing is where the release knows no popularity.
    """

    released: Released
    additions: Additions
    index: DeviceIndex
    catalogue: DeviceCatalogue
    model: LinearModel
    long_tail: Bools

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nearest(self) -> Nearest | None:
        """What proposes items of a large catalogue."""
        return self.released.nearest

    def row_of(self, item_id: str) -> int:
        """The row of an item; raises DataError if the catalogue lacks it."""
        row = self.index.row_of(item_id)
        if row is None:
            raise DataError("The catalogue holds no such item. Name one of the installed release, or add it first.")
        return row

    def fresh(self, now: int, rows: Ints | slice = slice(None)) -> Bools:
        """(R,) whether each of these items came out in the last 30 days, or was added on the device."""
        published = self.catalogue.published[rows]
        added = np.arange(len(self))[rows] >= len(self.released.index)
        fresh: Bools = added | ((published > now - _NEW_FOR) & (published <= now))
        return fresh


def load(device: Path, installed: Installed) -> Loaded:
    """Open an installed release; additions that it brings itself are dropped, the others follow it.

    Raises DataError or VerificationError where its files do not make a recommender.
    """
    released = opened(installed, graphs=device / GRAPHS)
    additions = read_additions(device / ADDITIONS, encoder_hash=released.index.encoder_hash)
    return joined(released, _still_wanted(device, released, additions))


def opened(installed: Installed, *, graphs: Path) -> Released:
    """Open a release's own parts; graphs: the folder of those that search large catalogues.

    Raises DataError, ConfigError or VerificationError where its files do not make a recommender.
    """
    folder, manifest = installed.folder, installed.manifest
    data = parse_table(DataConfig, manifest.lineage["data"])
    index = DeviceIndex.open(folder / DEVICE_INDEX)
    model = LinearModel.open(folder, manifest, index)
    return Released(
        installed=installed,
        index=index,
        catalogue=DeviceCatalogue.open(folder / CATALOGUE),
        model=model,
        encoder=_encoder(folder, manifest.files),
        nearest=open_graph(graphs, model),
        weights=kind_weights(data.kind_weights),
        rule=PositiveRule(kinds=data.positive_kinds, min_rating=data.min_rating, min_finished=data.min_finished),
    )


def with_items(device: Path, loaded: Loaded, items: Sequence[Item]) -> Loaded:
    """The same release with more items, kept on the disk.

    Raises DataError for an item that the release holds itself, or where texts cannot be read.
    """
    released = loaded.released
    if released.encoder is None:
        raise DataError("This release brings no text encoder, so no item can be added. Install a release with one.")
    known = sum(released.index.row_of(item.item_id) is not None for item in items)
    if known:
        raise DataError(f"{known} of {len(items)} items to add are in the release already. Leave them out.")
    additions = loaded.additions.with_items(items, released.encoder)
    more = joined(released, additions)
    write_additions(device / ADDITIONS, additions)
    return more


def without_additions(loaded: Loaded) -> Loaded:
    """The same release with its own items alone; the disk stays as it is."""
    return joined(loaded.released, no_additions(loaded.released.index.encoder_hash))


def _still_wanted(device: Path, released: Released, additions: Additions) -> Additions:
    """What was added and is not in the release by now, under the release's encoder if that can be run."""
    if released.encoder is not None and len(additions) and additions.encoder_hash != released.encoder.hash:
        # Where this encoder fails at one of them, they wait for another release.
        with suppress(DataError):
            additions = additions.under(released.encoder)
            # Encoding many items again takes seconds: the next start is spared them.
            write_additions(device / ADDITIONS, additions)
    # The disk keeps what the release has by now: after a roll-back it is needed again.
    return additions.only(lambda item: released.index.row_of(item.item_id) is None)


def joined(released: Released, additions: Additions) -> Loaded:
    """A release with these items behind its own."""
    index, catalogue = released.index, released.catalogue
    # What another encoder made waits on the disk for a release that has that encoder.
    if len(additions) and additions.encoder_hash == index.encoder_hash:
        vectors = index.whitening.apply_to_texts(additions.embeddings)
        index = index.extended([item.item_id for item in additions.items], vectors)
        catalogue = catalogue.extended(additions.items)
    model = released.model.extended(index)
    tail = _long_tail(model.prior, released=len(released.index))
    return Loaded(released=released, additions=additions, index=index, catalogue=catalogue, model=model, long_tail=tail)


def _long_tail(prior: Floats, *, released: int) -> Bools:
    """(N,) outside the head; items level with the last of the head belong to it, and items never seen do not."""
    known = prior[:released]
    if not len(known) or known.max() == known.min():
        return np.zeros(len(prior), dtype=np.bool_)
    least = np.sort(known)[::-1][max(1, int(len(known) * _HEAD)) - 1]
    tail: Bools = (prior < least) | (prior <= known.min())
    return tail


def _encoder(folder: Path, files: Mapping[str, str]) -> OnnxEncoder | None:
    """The release's encoder, where it has one and this device can run it; nothing is loaded yet."""
    runnable = find_spec("onnxruntime") is not None and find_spec("tokenizers") is not None
    return OnnxEncoder.open(folder / ENCODER) if ENCODER_FACTS in files and runnable else None
