"""Items that were added on this device: recommendable by their text at once, kept over restarts and releases.

What the file says of them is public: the product's catalogue, and their embeddings, so that
neither a restart nor a new release needs the encoder. Which items were added on one device
can tell of a person: the file is the owner's alone, and goes when the person erases.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedrec.data.sequences import Floats
from fedrec.errors import DataError
from fedrec.files import sync_folder, write_atomically
from fedrec.ondevice.catalogue import Item
from fedrec.ondevice.texts import Encoder

ADDITIONS = "additions"
FILE = "items.safetensors"
_FORMAT = "fedrec-additions/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Items in the order in which they were added, with the (M, d_e) embeddings that an encoder made of them."""

    items: tuple[Item, ...]
    embeddings: Floats
    encoder_hash: str

    def __len__(self) -> int:
        return len(self.items)

    def with_items(self, items: Sequence[Item], encoder: Encoder) -> "Additions":
        """These and more; an item that was added before takes its new text.

        Raises DataError for an item without an id or words, or one that comes twice.
        """
        _require_sound(items)
        new = {item.item_id for item in items}
        kept = self.only(lambda item: item.item_id not in new)
        made = encoder.encode([_words(item) for item in items])
        held = kept.embeddings if len(kept) else made[:0]
        return replace(kept, items=(*kept.items, *items), embeddings=np.concatenate([held, made]))

    def only(self, wanted: Callable[[Item], bool]) -> "Additions":
        """Those for which `wanted` holds."""
        places = [place for place, item in enumerate(self.items) if wanted(item)]
        return replace(self, items=tuple(self.items[place] for place in places), embeddings=self.embeddings[places])

    def under(self, encoder: Encoder) -> "Additions":
        """The same items under this encoder, encoded again if another made their embeddings."""
        if encoder.hash == self.encoder_hash:
            return self
        embeddings = encoder.encode([_words(item) for item in self.items])
        return replace(self, embeddings=embeddings, encoder_hash=encoder.hash)


def no_additions(encoder_hash: str) -> Additions:
    """Nothing added yet."""
    return Additions(items=(), embeddings=np.zeros((0, 0), dtype=np.float32), encoder_hash=encoder_hash)


def read_additions(folder: Path, *, encoder_hash: str) -> Additions:
    """What was added on this device; raises DataError if the file cannot be read.

    encoder_hash: of the release in use, for a device on which nothing was added.
    """
    path = folder / FILE
    if not path.exists():
        return no_additions(encoder_hash)
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            embeddings = file.get_tensor("embeddings").astype(np.float32)
        items = tuple(Item(**fields) for fields in json.loads(facts["items"]))
        if facts["format"] != _FORMAT or len(items) != len(embeddings) or not np.isfinite(embeddings).all():
            raise ValueError("its parts do not fit each other")
        return Additions(items=items, embeddings=embeddings, encoder_hash=facts["encoder"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}). Remove it, and add the items of your product again."
        ) from None


def write_additions(folder: Path, additions: Additions) -> None:
    """Put the additions on the disk, whole or not at all."""
    path = folder / FILE
    if not len(additions):
        if path.exists():
            path.unlink()
        return
    facts = {
        "format": _FORMAT,
        "encoder": additions.encoder_hash,
        "items": json.dumps([asdict(item) for item in additions.items], ensure_ascii=False),
    }
    content = save({"embeddings": np.ascontiguousarray(additions.embeddings)}, facts)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, content, mode=0o600)


def forget_additions(folder: Path) -> None:
    """Nothing that was added is on the disk any more, nor a draft of it that a power cut left."""
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


def _require_sound(items: Sequence[Item]) -> None:
    ids = [item.item_id for item in items]
    if not all(ids) or not all(_words(item).strip() for item in items):
        raise DataError("An item to add lacks its id, or has neither a title nor a text. Give both.")
    if len(set(ids)) < len(ids):
        raise DataError(f"{len(ids) - len(set(ids))} of {len(ids)} items to add come twice. Name each once.")


def _words(item: Item) -> str:
    """What is encoded of an item: the same as of the catalogue's own."""
    return item.text or item.title
