"""Whether a server admits a device: asked before its SuperNode starts, so that a refusal is one line and not a log."""

from contextlib import closing, suppress
from pathlib import Path

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedrec.enrolment import flower_key, ssh_line
from fedrec.errors import ConfigError, DataError, VerificationError
from fedrec.ondevice.enrolment import DeviceKeys

_HEARTBEAT_SECONDS = 30


def knock(server: str, *, authority: Path, keys: DeviceKeys, node: int | None = None) -> int | None:
    """The id of the node that the server has for these keys, ready to connect; None where it admits them not.

    node: the id of an earlier time. A node that was killed is held to be connected for a minute, and is
    admitted no second time, unless it is signed off by its id first.
    Raises VerificationError if this authority does not vouch for the server, DataError if nobody
    answers, or the clocks of the two are too far apart for a signature to count.
    """
    with closing(_client(server, authority, keys)) as client:
        try:
            if node is not None:
                _sign_off(client, node)
            key = flower_key(ssh_line(keys.node.public_key()))
            request = ActivateNodeRequest(public_key=key, heartbeat_interval=_HEARTBEAT_SECONDS)
            found = int(client.ActivateNode(request).node_id)
            if not found:
                raise ValueError("no node")
            # The SuperNode that comes next says hello itself.
            _sign_off(client, found)
        except httpx.HTTPStatusError as error:
            if _code(error.response) == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
                return None
            raise _odd(server, error.response) from None
        except (httpx.TransportError, ValueError) as error:
            raise _silent(server, error) from None
    return found


def _sign_off(client: FleetHttpClient, node: int) -> None:
    """The server holds the node for not connected; what it says if it was not, or is another's, does not matter."""
    with suppress(httpx.HTTPStatusError):
        client.DeactivateNode(DeactivateNodeRequest(node_id=node))


def _odd(server: str, response: httpx.Response) -> DataError:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        # It checked the time before the key.
        return DataError(f"{server} does not take this device's signature: their clocks are apart. Set this one's.")
    return DataError(f"{server} does not answer as a service does (HTTP {response.status_code}).")


def _silent(server: str, error: Exception) -> DataError | VerificationError:
    if "certificate" in str(error).lower():
        return VerificationError(
            f"The certificate of {server} is not vouched for by the authority that this device was given. Ask the "
            "operator for the service's ca.crt; if it is that one, somebody else answers."
        )
    return DataError(f"{server} does not answer ({type(error).__name__}).")


def _code(response: httpx.Response) -> int | None:
    error = FlowerError.from_json(response.text)
    return None if error is None else error.code


def _client(server: str, authority: Path, keys: DeviceKeys) -> FleetHttpClient:
    try:
        return FleetHttpClient.from_server_address(
            server,
            insecure=False,
            root_certificates=authority.read_bytes(),
            interceptors=[NodeAuthHttpInterceptor(keys.node, keys.node.public_key())],
        )
    except (OSError, ValueError) as error:  # among them what OpenSSL says of a file that is no certificate
        raise ConfigError(
            f"{authority} holds no certificate that can be read ({type(error).__name__}). Name the service's ca.crt."
        ) from None
