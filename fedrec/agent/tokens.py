"""The bearer token of one run of a device's agent, and the proof that whoever answers holds it.

A port is anybody's once its agent is gone: whoever takes it next would be told the token and
what a product says. So the token is good for one run, and a client asks for the proof first.
"""

import hmac
import secrets
import stat
from pathlib import Path

from fedrec.errors import VerificationError
from fedrec.files import write_atomically

FILE = "agent.token"
_BYTES = 32


def agent_token(device: Path) -> str:
    """A new token of 256 bits, for one run of the agent; it lies in DEVICE/agent.token (0600)."""
    token = secrets.token_urlsafe(_BYTES)
    write_atomically(device / FILE, token.encode() + b"\n", mode=0o600)
    return token


def running_token(device: Path) -> str:
    """The token of the agent that runs for the device.

    Raises OSError where there is none, and VerificationError for a file that others can read:
    then somebody else may prove to be the agent.
    """
    path = device / FILE
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise VerificationError(f"{path} can be read by others. Stop the agent; its next start makes a new token.")
    return path.read_text().strip()


def proof(token: str, *, port: int, nonce: str) -> str:
    """What only a holder of the token can answer to a nonce: an HMAC-SHA256 in hexadecimal.

    The port is a part of it, so that nobody on another port can pass an agent's answer on.

    >>> proof("token", port=1, nonce="n") == proof("token", port=2, nonce="n")
    False
    """
    return hmac.digest(token.encode(), f"{port} {nonce}".encode(), "sha256").hex()
