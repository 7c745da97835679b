"""Many short texts as one UTF-8 blob with offsets: a sequence of strings without an object for each."""

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


class PackedText(Sequence[str]):
    """N texts; reading one decodes its bytes.

    blob: (B,) uint8, all texts one behind the other. offsets: (N + 1,) int64, where each begins.
    Raises ValueError if the offsets do not cut the blob into pieces.
    """

    def __init__(self, blob: Bytes, offsets: Ints) -> None:
        whole = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(blob)
        if not whole or (np.diff(offsets) < 0).any():
            raise ValueError(f"{len(offsets)} offsets do not cut {len(blob)} bytes")
        self.blob = blob
        self.offsets = offsets

    @classmethod
    def of(cls, texts: Iterable[str]) -> "PackedText":
        """The texts, packed.

        >>> list(PackedText.of(["tea", "", "café"]))
        ['tea', '', 'café']
        """
        pieces = [text.encode() for text in texts]
        offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
        np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
        return cls(np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        at = row + len(self) if row < 0 else row
        if not 0 <= at < len(self):
            raise IndexError(f"There are {len(self)} texts, and none at {row}")
        return self.blob[self.offsets[at] : self.offsets[at + 1]].tobytes().decode()
