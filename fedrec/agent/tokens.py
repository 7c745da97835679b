"""The bearer token of a device's agent: good for one run, since a port is anybody's once its agent is gone."""

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
