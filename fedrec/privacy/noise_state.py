"""The server's noise between rounds, encrypted, and on the disk before the release it is for.

Who has the noise of a round can take it off the release. Save it first: then a run that
was stopped goes on with the noise that it released, and never draws twice for one round.
The noised sum lies beside it, so that such a round is released as it was, not asked for
again: the same noise on another sum would show the difference of the two.

The key must not travel with the run folder: back the folder up, never the key.
"""

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from safetensors.numpy import load, save

from fedrec.errors import VerificationError
from fedrec.files import write_atomically
from fedrec.privacy.correlated_noise import Doubles, NoiseState

_VERSION = b"fedrec noise state 1\n"
_ROUND_BYTES = 8
_NONCE_BYTES = 12
_HEAD_BYTES = len(_VERSION) + _ROUND_BYTES + _NONCE_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class SavedNoise:
    """The state after a round, and the noised sum of that round; None where nothing was released."""

    state: NoiseState
    noised_sum: Doubles | None = None


def noise_key(path: Path) -> bytes:
    """The 32-byte key in a file, which is made on first use, readable by its owner alone.

    Raises VerificationError if the file holds something else.
    """
    if not path.exists():
        write_atomically(path, ChaCha20Poly1305.generate_key(), mode=0o600)
    key = path.read_bytes()
    if len(key) != 32:
        raise VerificationError(f"{path} holds {len(key)} bytes, not a key of 32. Restore it from a copy.")
    return key


def save_noise_state(path: Path, saved: SavedNoise, *, key: bytes, run_id: str) -> None:
    """Replace the file by this state; it is on the disk, and unreadable without the key, on return."""
    tensors = {"rows": np.array(saved.state.rows, dtype=np.float64)}
    if saved.noised_sum is not None:
        tensors["noised_sum"] = saved.noised_sum
    number = saved.state.round
    # A random nonce: a run that is restored from a copy would repeat a counter.
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, save(tensors), _bound_to(number, run_id))
    write_atomically(path, _VERSION + number.to_bytes(_ROUND_BYTES) + nonce + sealed, mode=0o600)


def load_noise_state(path: Path, *, key: bytes, run_id: str, rounds: Collection[int]) -> SavedNoise:
    """The saved state, vouched for: of this run, this key and one of these rounds.

    rounds: what the rest of the run allows; after a stop, the last finished round and the
    one under way. An older file would draw noise that is accounted for otherwise. Raises
    VerificationError for any other file; an absent one too.
    """
    content = path.read_bytes() if path.exists() else b""
    head, sealed = content[:_HEAD_BYTES], content[_HEAD_BYTES:]
    if len(head) < _HEAD_BYTES or not head.startswith(_VERSION):
        raise VerificationError(f"{path} is no noise state of this version. {_REMEDY}")
    number = int.from_bytes(head[len(_VERSION) : -_NONCE_BYTES])
    if number not in rounds:
        allowed = " or ".join(map(str, sorted(rounds)))
        raise VerificationError(f"{path} holds the noise of round {number}, not of round {allowed}. {_REMEDY}")
    try:
        opened = ChaCha20Poly1305(key).decrypt(head[-_NONCE_BYTES:], sealed, _bound_to(number, run_id))
    except InvalidTag:
        raise VerificationError(f"{path} is damaged, or of another run or key. {_REMEDY}") from None
    tensors = load(opened)
    return SavedNoise(NoiseState(number, tuple(tensors["rows"])), tensors.get("noised_sum"))


_REMEDY = "Restore file and key of this run from a copy; it cannot go on without its noise."


def _bound_to(number: int, run_id: str) -> bytes:
    """What a file vouches for besides its content."""
    return json.dumps([_VERSION.decode(), run_id, number]).encode()
