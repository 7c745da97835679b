"""Which node is which client where nodes are people's devices: by the key that the SuperLink admitted it with.

What a node claims counts for nothing; a node whose key is not enrolled does not exist here.
"""

from collections.abc import Callable, Mapping

from flwr.serverapp import Grid

# The client of each enrolled node key, which is as Flower has it: PEM.
ClientsByKey = Callable[[], Mapping[bytes, int]]


class EnrolledNodes:
    """The connected nodes by client; both the connections and the enrolment are asked for anew."""

    def __init__(self, grid: Grid, enrolled: ClientsByKey) -> None:
        self._grid = grid
        self._enrolled = enrolled

    def __call__(self) -> Mapping[int, int]:
        """The node of each enrolled client that is connected now; nobody may be."""
        clients = self._enrolled()
        found: dict[int, int] = {}
        for node in self._grid.get_nodes():
            client = clients.get(node.public_key)
            if client is not None:
                found[client] = node.node_id
        return found
