"""Whether a server admits a device: asked before its SuperNode starts, so that a refusal is one line and not a log."""

from collections.abc import Callable
from contextlib import closing
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
    Raises VerificationError if this authority does not vouch for the server, DataError if nobody answers.
    """
    public = keys.node.public_key()
    with closing(_client(server, authority, keys)) as client:
        if node is not None:
            _asked(server, lambda: _signed_off(client, node))
        request = ActivateNodeRequest(public_key=flower_key(ssh_line(public)), heartbeat_interval=_HEARTBEAT_SECONDS)
        found = _asked(server, lambda: int(client.ActivateNode(request).node_id))
        # The SuperNode that comes next says hello itself.
        return None if found is None else _asked(server, lambda: _signed_off(client, found))


def _signed_off(client: FleetHttpClient, node: int) -> int:
    try:
        client.DeactivateNode(DeactivateNodeRequest(node_id=node))
    except httpx.HTTPStatusError as error:
        if _code(error.response) != ApiErrorCode.FLEET_NODE_DEACTIVATION_FAILED:
            raise
        # It was not connected, which is what is wanted.
    return node


def _asked(server: str, question: Callable[[], int]) -> int | None:
    """The answer; None where the server says that it does not know who asks."""
    try:
        return question()
    except httpx.HTTPStatusError as error:
        known = _code(error.response) == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED
        if known or error.response.status_code == httpx.codes.UNAUTHORIZED:
            return None
        raise DataError(f"{server} does not answer as a service does (HTTP {error.response.status_code}).") from None
    except (httpx.TransportError, ValueError) as error:
        if "certificate" in str(error).lower():
            raise VerificationError(
                f"The certificate of {server} is not vouched for by the authority that this device was given. Ask the "
                "operator for the service's ca.crt; if it is that one, somebody else answers."
            ) from None
        raise DataError(f"{server} does not answer ({type(error).__name__}).") from None


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
