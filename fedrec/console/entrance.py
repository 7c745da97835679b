"""The operator's link to a console that runs; made only after whoever answers has proved to be it."""

import json
import secrets
import time
from http.client import HTTPConnection, HTTPException

from fedrec.console.tickets import new_ticket, operator_token
from fedrec.errors import RefusedError
from fedrec.service.config import load_service
from fedrec.service.folder import ServiceFolder
from fedrec.web.proofs import proof
from fedrec.web.sessions import same

_PATIENCE = 10.0
# A proof is shorter; nothing that a stranger sends is read further.
_PROOF_BYTES = 256


def console_link(folder: ServiceFolder) -> str:
    """An address on loopback that opens the console of a running service once, within five minutes.

    Raises RefusedError where none runs: the ticket would be told to whoever took its port.
    """
    port, token = load_service(folder).network.front_port, operator_token(folder)
    if not _proves(port, token):
        raise RefusedError(f"No console runs for {folder.path}. Start it with `fedrec server run {folder.path}`.")
    return f"http://127.0.0.1:{port}/console/#ticket={new_ticket(token, now=time.time())}"


def _proves(port: int, token: str) -> bool:
    """Whether who listens on the port holds the operator token too."""
    nonce = secrets.token_urlsafe(32)
    # HTTPConnection asks no proxy, whatever the environment says.
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", f"/console/hello?nonce={nonce}")
        given = json.loads(connection.getresponse().read(_PROOF_BYTES))
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(given, dict) and same(str(given.get("proof")), proof(token, port=port, nonce=nonce))
