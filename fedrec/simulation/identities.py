"""Identity keys of simulated clients: made from the scenario's seed, and therefore secrets of nobody."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def identity_of(client: int, *, seed: int) -> Ed25519PrivateKey:
    """The identity key of a simulated client."""
    text = f"fedrec simulated identity|{seed}|{client}"
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(text.encode()).digest())


@lru_cache(maxsize=4)
def directory_of(clients: int, *, seed: int) -> Mapping[int, bytes]:
    """The raw identity key of each client of a simulation."""
    return {client: identity_of(client, seed=seed).public_key().public_bytes_raw() for client in range(clients)}
