"""The bearer token of a device's agent: 256 bits in a file that only its owner reads."""

import secrets
import stat
from pathlib import Path

from fedrec.errors import VerificationError
from fedrec.files import write_atomically

FILE = "agent.token"
_BYTES = 32


def agent_token(device: Path) -> str:
    """The token in DEVICE/agent.token, made on first use (0600).

    Raises VerificationError for a file that others can read, or that holds no token: then the
    token may be known, or nobody's.
    """
    path = device / FILE
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(_BYTES).encode() + b"\n", mode=0o600)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise VerificationError(f"{path} can be read by others. Remove it; a new token is made at the next start.")
    token = path.read_text().strip()
    if len(token) < _BYTES:
        raise VerificationError(f"{path} holds no token. Remove it; a new one is made at the next start.")
    return token
