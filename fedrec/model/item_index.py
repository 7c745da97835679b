"""The item index: one vector per item of the public catalogue, keyed by item id.

Vectors are half-whitened: coordinates are principal directions in descending order of
variance, each divided by the square root of its standard deviation. Public plane.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from fedrec.errors import DataError, VerificationError
from fedrec.model.mapped_file import write_tensors

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INDEX_FORMAT = "fedrec-item-index/1"
_BLOCK = 65_536
_TINY = 1e-6


@dataclass(frozen=True)
class Whitening:
    """The affine map from embeddings to index vectors: `(e - mean) @ rotation * scale`.

    mean: (d,); rotation: (d, d), one principal direction per column; scale: (d,), 0 for a
    direction without variance. All float32.
    """

    mean: Floats
    rotation: Floats
    scale: Floats

    def apply(self, embeddings: npt.ArrayLike) -> Floats:
        """(M, d) float32 vectors of (M, d) embeddings.

        Raises DataError if the width differs.
        """
        given = np.asarray(embeddings)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise DataError(f"Embeddings of shape {given.shape} do not fit an index of width {len(self.mean)}.")
        turn = self.rotation.astype(np.float64) * self.scale
        vectors = np.empty(given.shape, dtype=np.float32)
        for part in _blocks(len(given)):
            vectors[part] = (given[part].astype(np.float64) - self.mean) @ turn
        return vectors

    def apply_to_texts(self, embeddings: npt.ArrayLike) -> Floats:
        """(M, d) float32 vectors of texts alone, from (M, at most d) embeddings.

        A text has no picture and no sound: those coordinates stay at the catalogue's mean.
        """
        given = np.asarray(embeddings)
        neutral = self.mean[given.shape[1] :]
        missing = np.broadcast_to(neutral, (len(given), len(neutral)))
        return self.apply(np.concatenate([given, missing], axis=1))


@dataclass(frozen=True)
class ItemIndex:
    """Vectors of a catalogue's items, in its order.

    vectors: (N, d) float32 holding float16 values, so that saving loses nothing.
    quantised_from: the content hash of the index that an int8 file was made from.
    """

    item_ids: Sequence[str]
    vectors: Floats
    whitening: Whitening
    encoder_name: str
    encoder_hash: str
    quantised_from: str | None = None

    def __post_init__(self) -> None:
        width = len(self.whitening.mean)
        if self.vectors.shape != (len(self.item_ids), width):
            raise DataError(
                f"An index of {len(self.item_ids)} ids and width {width} cannot hold vectors of {self.vectors.shape}."
            )
        if len(set(self.item_ids)) != len(self.item_ids):
            raise DataError("The index names an item twice. Item ids must be unique.")

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def width(self) -> int:
        """How many coordinates a vector has."""
        return int(self.vectors.shape[1])

    @cached_property
    def content_hash(self) -> str:
        """The sha256 of ids, float16 vectors and whitening; an int8 copy answers with its original's."""
        return self.quantised_from or _hash_content(self)

    @cached_property
    def _row_by_id(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def rows_of(self, item_ids: Sequence[str]) -> Ints:
        """The row of each item id.

        Raises DataError if one is not in the index.
        """
        rows = [self._row_by_id.get(item_id, -1) for item_id in item_ids]
        if -1 in rows:
            raise DataError(
                f"{rows.count(-1)} of {len(rows)} item ids are not in the index. Extend it with them first."
            )
        return np.array(rows, dtype=np.int64)

    def extend(self, new_ids: Sequence[str], new_embeddings: npt.ArrayLike) -> "ItemIndex":
        """An index with new items behind the old ones; old vectors and the whitening stay as they are.

        Raises DataError if an id exists already.
        """
        known = sum(item_id in self._row_by_id for item_id in new_ids)
        if known:
            raise DataError(f"{known} of {len(new_ids)} new items are in the index already. Leave them out.")
        added = _round(self.whitening.apply(new_embeddings))
        return replace(
            self,
            item_ids=(*self.item_ids, *new_ids),
            vectors=np.concatenate([self.vectors, added]),
            quantised_from=None,
        )

    def save(self, path: Path) -> None:
        """Write the index with float16 vectors, atomically."""
        _save(path, self, {"vectors": self.vectors.astype(np.float16)})

    def save_int8(self, path: Path) -> None:
        """Write the copy for devices: per row, int8 codes and a float scale."""
        codes, scales = quantise(self.vectors)
        _save(path, self, {"codes": codes, "scales": scales})

    @classmethod
    def load(cls, path: Path) -> "ItemIndex":
        """Read either kind of file.

        Raises DataError if the file is no index, VerificationError if its content was changed.
        """
        tensors, metadata = _read(path)
        try:
            if metadata["format"] != INDEX_FORMAT:
                raise DataError(
                    f"{path} has format {metadata['format']}, not {INDEX_FORMAT}. Encode the catalogue again."
                )
            check_digest(path, tensors, metadata)
            quantised = "codes" in tensors
            vectors = (
                tensors["codes"].astype(np.float32) * tensors["scales"][:, None] if quantised else tensors["vectors"]
            )
            return cls(
                item_ids=tuple(json.loads(tensors["item_ids"].tobytes().decode())),
                vectors=vectors.astype(np.float32),
                whitening=Whitening(tensors["mean"], tensors["rotation"], tensors["scale"]),
                encoder_name=metadata["encoder_name"],
                encoder_hash=metadata["encoder_hash"],
                quantised_from=metadata["content_hash"] if quantised else None,
            )
        except (KeyError, ValueError, IndexError) as error:
            raise DataError(f"{path} is not an item index ({error}). Encode the catalogue again.") from None


def build_index(
    embeddings: npt.ArrayLike, item_ids: Sequence[str], *, encoder_name: str, encoder_hash: str
) -> ItemIndex:
    """The half-whitened index of (N, d) embeddings; its rows have a root mean square norm of 1.

    Raises DataError if an entry is not finite or no two embeddings differ.
    """
    given = np.asarray(embeddings)
    if not len(given) or not np.isfinite(given).all():
        raise DataError("Embeddings must be finite, and there must be some. Check the catalogue's texts and vectors.")
    whitening = _half_whitening(given)
    return ItemIndex(
        item_ids=tuple(item_ids),
        vectors=_round(whitening.apply(given)),
        whitening=whitening,
        encoder_name=encoder_name,
        encoder_hash=encoder_hash,
    )


def fuse(
    text_embeddings: npt.ArrayLike,
    modalities: Mapping[str, npt.ArrayLike],
    weights: Mapping[str, float] | None = None,
) -> Floats:
    """(N, d + sum of m) embeddings: text first, then each modality's vectors in the mapping's order.

    modalities: (N, m) vectors, NaN rows where an item has none (those become zeros).
    weights: of a modality, 1 unless given; text has weight 1.
    """
    blocks = [_normalised(text_embeddings)]
    for name, vectors in modalities.items():
        block = _normalised(vectors)
        if len(block) != len(blocks[0]):
            raise DataError(f"`{name}` has {len(block)} rows for {len(blocks[0])} items.")
        blocks.append(block * (weights or {}).get(name, 1.0))
    return np.concatenate(blocks, axis=1).astype(np.float32)


def quantise(vectors: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """(N, d) int8 codes and (N,) float32 scales: `codes * scale` is within half a scale of each entry."""
    scales = (np.abs(vectors).max(axis=1, initial=0.0) / 127).astype(np.float32)
    steps = np.where(scales > 0, scales, 1.0)[:, None]
    return np.clip(np.rint(vectors / steps), -127, 127).astype(np.int8), scales


def _half_whitening(embeddings: npt.NDArray[np.floating]) -> Whitening:
    """Fitted in float64, block by block: memory stays that of the embeddings."""
    rows, width = embeddings.shape
    mean = embeddings.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((width, width))
    for part in _blocks(rows):
        centred = embeddings[part].astype(np.float64) - mean
        covariance += centred.T @ centred
    variances, directions = np.linalg.eigh(covariance / rows)
    deviations = np.sqrt(np.clip(variances[::-1], 0.0, None))
    rotation = directions[:, ::-1]
    # An eigenvector's sign is arbitrary: its largest entry is made positive.
    rotation = rotation * np.sign(rotation[np.abs(rotation).argmax(axis=0), np.arange(width)])
    kept = deviations > _TINY * deviations[0]
    if not kept.any():
        raise DataError("All embeddings are the same. An index needs at least two different texts.")
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, deviations, 1.0)), 0.0)
    scale /= np.sqrt(np.sum((deviations * scale) ** 2))
    return Whitening(mean.astype(np.float32), rotation.astype(np.float32), scale.astype(np.float32))


def _normalised(vectors: npt.ArrayLike) -> Doubles:
    given = np.asarray(vectors, dtype=np.float64)
    present = np.where(np.isfinite(given).all(axis=1, keepdims=True), given, 0.0)
    norms = np.linalg.norm(present, axis=1, keepdims=True)
    unit: Doubles = present / np.where(norms > 0, norms, 1.0)
    return unit


def _round(vectors: Floats) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK))


def _ids_bytes(index: ItemIndex) -> bytes:
    return json.dumps(list(index.item_ids), ensure_ascii=False).encode()


def _hash_content(index: ItemIndex) -> str:
    digest = hashlib.sha256(_ids_bytes(index))
    for part in _blocks(len(index)):
        digest.update(index.vectors[part].astype(np.float16).tobytes())
    for array in (index.whitening.mean, index.whitening.rotation, index.whitening.scale):
        digest.update(array.astype(np.float32).tobytes())
    return digest.hexdigest()


def _content_digest(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(metadata.keys() - {"sha256"}):
        digest.update(f"{name}={metadata[name]}\n".encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def check_digest(path: Path, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Raise VerificationError unless the tensors of an index file are the ones that it was written with."""
    if _content_digest(tensors, metadata) != metadata["sha256"]:
        raise VerificationError(f"{path} was changed after it was written. Encode the catalogue again.")


def _save(path: Path, index: ItemIndex, vectors: Mapping[str, npt.NDArray[Any]]) -> None:
    tensors = {
        **vectors,
        "item_ids": np.frombuffer(_ids_bytes(index), dtype=np.uint8),
        "mean": index.whitening.mean,
        "rotation": np.ascontiguousarray(index.whitening.rotation),
        "scale": index.whitening.scale,
    }
    metadata = {
        "format": INDEX_FORMAT,
        "encoder_name": index.encoder_name,
        "encoder_hash": index.encoder_hash,
        "content_hash": index.content_hash,
    }
    metadata["sha256"] = _content_digest(tensors, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part = Path(folder) / path.name
        write_tensors(part, tensors, metadata)
        part.replace(path)


def _read(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Make an index with `fedrec catalogue encode`.") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read as an item index ({error}). Encode the catalogue again.") from None
