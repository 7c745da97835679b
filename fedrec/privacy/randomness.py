"""Noise and coins from a ChaCha20 key stream.

Deployed noise is keyed by the operating system; a simulation may key it by a seed, which
makes it reproducible and therefore no guarantee. One class serves both, so that what is
tested is what is deployed.
"""

import hashlib
import secrets
from typing import Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

NoiseKind = Literal["system", "seeded"]


class RandomSource:
    """A stream of random numbers under a 256-bit key.

    guarantee: whether the key came from the operating system.
    Not thread-safe; use one source per client and round.
    """

    def __init__(self, key: bytes, *, guarantee: bool) -> None:
        if len(key) != 32:
            raise ValueError(f"A key has 32 bytes, not {len(key)}.")
        self.guarantee = guarantee
        self._stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()

    def words(self, size: int) -> npt.NDArray[np.uint64]:
        """Independent draws of 64 bits each, as they come from the key stream."""
        return np.frombuffer(self._stream.update(bytes(8 * size)), dtype="<u8")

    def uniform(self, size: int) -> npt.NDArray[np.float64]:
        """Independent draws from the open interval (0, 1), with 53 bits each."""
        return ((self.words(size) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def gaussian(self, size: int, *, noise_std: float) -> npt.NDArray[np.float64]:
        """Independent normal draws with standard deviation `noise_std`, in float64.

        Source: Box and Muller 1958. The grid of floating point is not hidden
        (Mironov 2012); the privacy report says so.
        """
        half = (size + 1) // 2
        radius = noise_std * np.sqrt(-2.0 * np.log(self.uniform(half)))
        angle = 2.0 * np.pi * self.uniform(half)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]

    def coins(self, size: int, *, probability: float) -> npt.NDArray[np.bool_]:
        """Independent coins that show heads with `probability`."""
        return self.uniform(size) < probability


def system_source() -> RandomSource:
    """A source under a fresh key of the operating system."""
    return RandomSource(secrets.token_bytes(32), guarantee=True)


def seeded_source(seed: int, *labels: object) -> RandomSource:
    """A reproducible source, distinct for every sequence of labels; no DP guarantee.

    >>> a, b = seeded_source(1, "client", 3), seeded_source(1, "client", 4)
    >>> bool((a.uniform(4) == b.uniform(4)).any()), a.guarantee
    (False, False)
    """
    text = "\x1f".join(map(str, ("fedrec", seed, *labels)))
    return RandomSource(hashlib.sha256(text.encode()).digest(), guarantee=False)


def noise_source(kind: NoiseKind, seed: int, *labels: object) -> RandomSource:
    """The source that the scenario asks for."""
    return system_source() if kind == "system" else seeded_source(seed, *labels)
