"""The text encoder on a device: the training encoder as int8 ONNX, loaded when the first text comes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedrec.errors import DataError, LayoutError
from fedrec.model.item_index import Floats, Whitening

ENCODER = "encoder"
ENCODER_FACTS = "encoder/encoder.json"
MODEL_FILE = "model.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
FACTS_FILE = "encoder.json"
_BATCH = 16


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
    """A release's encoder. hash: of the torch encoder that it was exported from."""

    folder: Path
    hash: str
    width: int

    @classmethod
    def open(cls, folder: Path) -> "OnnxEncoder":
        """The encoder in a release's `encoder/`; nothing is loaded yet.

        Raises DataError if the folder holds none.
        """
        try:
            facts = json.loads((folder / FACTS_FILE).read_text())
            return cls(folder, str(facts["encoder"]), int(facts["width"]))
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no encoder: this release cannot read texts on a device. Use item events alone."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / FACTS_FILE} cannot be read ({error}). Install the release again.") from None

    def encode(self, texts: Sequence[str]) -> Floats:
        """(T, d_e) float32 embeddings of L2 norm 1, in the order of `texts`."""
        found = np.zeros((len(texts), self.width), dtype=np.float32)
        # Texts of like length share a batch: padding is wasted work.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            found[rows] = self._run([texts[row] for row in rows])
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
        # A text has no picture and no sound: those coordinates stay at the catalogue's mean.
        neutral = index.whitening.mean[self.width :]
        missing = np.broadcast_to(neutral, (len(texts), len(neutral)))
        return index.whitening.apply(np.concatenate([self.encode(texts), missing], axis=1))

    def _run(self, texts: list[str]) -> npt.NDArray[np.float32]:
        codes = self._tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.array([code.ids for code in codes], dtype=np.int64),
            "attention_mask": np.array([code.attention_mask for code in codes], dtype=np.int64),
        }
        found: npt.NDArray[np.float32] = self._session.run(None, given)[0]
        return found

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / TOKENIZER_FILE))

    @cached_property
    def _session(self) -> Any:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(self.folder / MODEL_FILE), options, providers=["CPUExecutionProvider"])
