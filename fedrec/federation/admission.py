"""Which nodes a SuperLink admits: asked and told over its control API, which only the operator reaches.

In this process and not by the `flwr` command: that one starts anew for every node, and
does not say which key a node was admitted with.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, UnregisterNodeRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError

from fedrec.errors import DataError, RefusedError
from fedrec.federation.control_secret import ShowingSecret, secret_in

T = TypeVar("T")
_UNREGISTERED, _ONLINE = "unregistered", "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedNode:
    """A node that the SuperLink admits, and whether it is connected."""

    id: int
    online: bool


class Admission:
    """The list of admitted nodes, by their public keys in Flower's form (PEM)."""

    def __init__(self, client: ControlHttpClient, address: str) -> None:
        self._client = client
        self._address = address

    def admitted(self) -> dict[bytes, AdmittedNode]:
        """Every node that may connect."""
        nodes = self._asked(lambda: self._client.ListNodes(ListNodesRequest()).nodes_info)
        return {
            node.public_key: AdmittedNode(id=node.node_id, online=node.status == _ONLINE)
            for node in nodes
            if node.status != _UNREGISTERED
        }

    def admit(self, key: bytes) -> int:
        """Whoever holds this key may connect from now on; returns the id of its node.

        Raises RefusedError for a key that was dismissed: a SuperLink never takes one twice.
        """
        return int(self._asked(lambda: self._client.RegisterNode(RegisterNodeRequest(public_key=key)).node_id))

    def dismiss(self, node: int) -> None:
        """The node may connect no more, and its key is never admitted again."""
        try:
            self._asked(lambda: self._client.UnregisterNode(UnregisterNodeRequest(node_id=node)))
        except RefusedError as error:
            if not isinstance(error, _NoSuchNodeError):
                raise

    def _asked(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except httpx.HTTPStatusError as error:
            raise _refusal(self._address, error.response) from None
        except (httpx.TransportError, ValueError) as error:
            raise DataError(
                f"The SuperLink at {self._address} does not answer ({type(error).__name__}). See that the service runs."
            ) from None


@contextmanager
def admission(address: str, *, authority: Path, secret: Path) -> Iterator[Admission]:
    """The admission of the SuperLink at HOST:PORT, whose certificate this authority vouches for.

    secret: the file with what the SuperLink asks for; raises VerificationError where it holds nothing.
    """
    client = ControlHttpClient.from_server_address(
        address,
        insecure=False,
        root_certificates=authority.read_bytes(),
        interceptors=[ShowingSecret(secret_in(secret))],
    )
    try:
        yield Admission(client, address)
    finally:
        client.close()


class _NoSuchNodeError(RefusedError):
    """The SuperLink does not know the node."""


def _refusal(address: str, response: httpx.Response) -> RefusedError | DataError:
    error = FlowerError.from_json(response.text)
    if error is None:
        return DataError(f"What listens at {address} is no SuperLink of a service (HTTP {response.status_code}).")
    if error.code == ApiErrorCode.NODE_NOT_FOUND:
        return _NoSuchNodeError("The SuperLink does not know this node.")
    return RefusedError(f"The SuperLink refused: {error.message}")
