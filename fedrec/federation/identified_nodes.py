"""Which node is which client where nodes say so themselves: in simulations, whose nodes are all ours."""

from collections import Counter
from collections.abc import Mapping

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedrec.errors import ConfigError
from fedrec.federation.exchange import Exchange, Pace
from fedrec.federation.messages import IDENTIFY, claimed_client


class IdentifiedNodes:
    """The connected nodes by client; each is asked once which client it is.

    Two that claim to be the same client, and those that say nothing sensible, do not take part.
    """

    def __init__(self, grid: Grid, *, clients: int, timeout: float, pace: Pace | None = None) -> None:
        self._grid = grid
        self._clients = clients
        self._timeout = timeout
        self._exchange = Exchange(grid, pace or Pace())
        self._claims: dict[int, int | None] = {}

    def __call__(self) -> Mapping[int, int]:
        """The node of each client that is connected now; raises ConfigError if there is none."""
        connected = list(self._grid.get_node_ids())
        self._ask([node for node in connected if node not in self._claims])
        claims = {node: claim for node in connected if (claim := self._claims[node]) is not None}
        # Nobody can tell which of two claimants is the client: neither takes part.
        often = Counter(claims.values())
        found = {claim: node for node, claim in claims.items() if often[claim] == 1}
        if not found:
            raise ConfigError("No client node answered. Start SuperNodes, or set num-supernodes of the simulation.")
        return found

    def _ask(self, nodes: list[int]) -> None:
        self._claims.update(dict.fromkeys(nodes))
        messages = (Message(RecordDict(), node, IDENTIFY) for node in nodes)
        for place, reply in self._exchange.ask(messages, timeout=self._timeout):
            claim = None if reply is None else claimed_client(reply)
            if claim is not None and 0 <= claim < self._clients:
                self._claims[nodes[place]] = claim
