"""A grid in this process whose nodes have keys, come and go, and may be strangers."""

from collections.abc import Iterable, Mapping, Sequence

from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo

from fedrec.federation.local_grid import LocalGrid


class EnrolledGrid(LocalGrid):
    """Node n has the n-th key, that of `key_of(n)` unless given; only the nodes in `connected` are there."""

    def __init__(self, app: ClientApp, *, nodes: int, keys: Sequence[bytes] = ()) -> None:
        super().__init__(app, clients=nodes)
        self.connected = set(range(nodes))
        self._keys = keys or [key_of(node) for node in range(nodes)]

    def get_node_ids(self) -> Iterable[int]:
        return [node for number, node in enumerate(super().get_node_ids()) if number in self.connected]

    def get_nodes(self) -> Iterable[NodeInfo]:
        """As the SuperLink tells it: each node with the key that it was admitted with."""
        return [NodeInfo(node_id=node, public_key=self._keys[node - 2]) for node in self.get_node_ids()]


def key_of(node: int) -> bytes:
    """The public key of a node, as Flower has it."""
    return f"-----BEGIN PUBLIC KEY-----\nnode {node}\n-----END PUBLIC KEY-----\n".encode()


def enrolment(clients: Mapping[int, int]) -> dict[bytes, int]:
    """The client of each key; given: the client of each node."""
    return {key_of(node): client for node, client in clients.items()}
