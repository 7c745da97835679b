"""The text encoder without torch: the training encoder as int8 ONNX, loaded when the first text comes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fedrec.errors import DataError, LayoutError
from fedrec.model.item_index import Floats, Ints, Whitening

ENCODER = "encoder"
MODEL_FILE = "model.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
FACTS_FILE = "encoder.json"
ENCODER_FACTS = f"{ENCODER}/{FACTS_FILE}"
_TOKENS = 256


class WhitenedIndex(Protocol):
    """What an encoder needs to know of an index to turn texts into its vectors."""

    @property
    def width(self) -> int: ...
    @property
    def whitening(self) -> Whitening: ...
    @property
    def encoder_hash(self) -> str: ...


@dataclass(frozen=True, eq=False)
class OnnxEncoder:
    """A release's encoder.

    hash: of the torch encoder that it was exported from. padding: the token that fills up a batch.
    """

    folder: Path
    hash: str
    width: int
    padding: int

    @classmethod
    def open(cls, folder: Path) -> "OnnxEncoder":
        """The encoder in a release's `encoder/`; nothing is loaded yet.

        Raises DataError if the folder holds none.
        """
        try:
            facts = json.loads((folder / FACTS_FILE).read_text())
            return cls(folder, str(facts["encoder"]), int(facts["width"]), int(facts["padding"]))
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no encoder: this release cannot read texts on a device. Use item events alone."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / FACTS_FILE} cannot be read ({error}). Install the release again.") from None

    def encode(self, texts: Sequence[str]) -> Floats:
        """(T, d_e) float32 embeddings of L2 norm 1, in the order of `texts`.

        Raises DataError where tokenizer or model fail at a text, or make no number of it.
        """
        found = np.zeros((len(texts), self.width), dtype=np.float32)
        try:
            codes = self._codes(texts)
            for rows in _batches([len(code) for code in codes]):
                ids, mask = self._padded([codes[row] for row in rows])
                found[rows] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        except BaseException as error:
            # A fault inside the tokenizer, which is written in Rust, is no Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise DataError(f"The release's text encoder failed at a text ({type(error).__name__}).") from None
        if not np.isfinite(found).all():
            raise DataError("The release's text encoder made no number of a text. Install another release.")
        return found

    def query_vectors(self, texts: Sequence[str], index: WhitenedIndex) -> Floats:
        """(T, d) float32 vectors of texts in the space of an index.

        Raises LayoutError if the index was made by another encoder.
        """
        if self.hash != index.encoder_hash:
            raise LayoutError(
                f"The index was made by the encoder {index.encoder_hash[:12]}, not by {self.hash[:12]}. "
                "Install the release again."
            )
        return index.whitening.apply_to_texts(self.encode(texts))

    def tokens(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """(T, S) token ids and (T, S) attention mask, padded to the longest text."""
        return self._padded(self._codes(texts))

    def _codes(self, texts: Sequence[str]) -> list[list[int]]:
        return [code.ids for code in self._tokenizer.encode_batch([text.strip() for text in texts])]

    def _padded(self, codes: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
        shape = len(codes), max(map(len, codes), default=0)
        ids, mask = np.full(shape, self.padding, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, code in enumerate(codes):
            ids[row, : len(code)] = code
            mask[row, : len(code)] = 1
        return ids, mask

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / TOKENIZER_FILE))

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # What goes wrong is raised; printed as well, it would end in somebody's terminal.
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(str(self.folder / MODEL_FILE), options, providers=["CPUExecutionProvider"])


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows by rising length, in batches of few tokens: memory is for the longest text, not for many of them."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * lengths[row] > _TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
