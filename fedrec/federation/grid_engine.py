"""The `flower` engine: clients reached over a Grid, be it in-process, on Ray or deployed."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from flwr.app import Message
from flwr.serverapp import Grid as Grid

from fedrec.federation.exchange import CLOCK_SKEW, Exchange, Pace
from fedrec.federation.messages import TRAIN, pack_instruction, unpack_reply
from fedrec.federation.secure_round import SecureRound
from fedrec.training.client import Instruction, Reply
from fedrec.training.masking import Masked, Masking, Pay

# The node of each client that is connected now.
NodesOf = Callable[[], Mapping[int, int]]


class GridEngine:
    """Asks nodes for replies and hands them on as they arrive.

    nodes: asked anew in every round, see `identified_nodes` and `enrolled_nodes`.
    """

    def __init__(self, grid: Grid, nodes: NodesOf, *, pace: Pace | None = None) -> None:
        self._nodes = nodes
        self._exchange = Exchange(grid, pace or Pace())

    def clients(self, number: int) -> Sequence[int]:  # noqa: ARG002
        """The clients that are connected, in order."""
        return sorted(self._nodes())

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:
        """The replies that arrive in time; a round never waits for a lost node.

        A client that cannot be reached replies `unreachable`.
        """
        nodes = self._nodes()
        asked = [client for client in cohort if client in nodes]
        for client in cohort:
            if client not in nodes:
                yield Reply(client=client, code="unreachable")
        content = pack_instruction(instruction)
        messages = (
            Message(content, nodes[client], TRAIN, ttl=timeout + CLOCK_SKEW, group_id=str(instruction.round))
            for client in asked
        )
        for place, reply in self._exchange.ask(messages, timeout=timeout):
            client = asked[place]
            if reply is None:
                yield Reply(client=client, code="unreachable")
            elif not reply.has_error() and reply.metadata.src_node_id != nodes[client]:
                # An error comes from the SuperLink; anything else only from the node that was asked.
                yield Reply(client=client, code="malformed")
            else:
                yield unpack_reply(client, reply)

    def aggregate(
        self,
        instruction: Instruction,
        cohort: Sequence[int],
        masking: Masking,
        *,
        timeout: float,
        pay: Pay,
        lost: Collection[int] = (),
    ) -> Masked:
        """The sum of a cohort under masks; see `fedrec.training.masking.MaskingEngine`."""

        def reached() -> Mapping[int, int]:
            return {client: node for client, node in self._nodes().items() if client not in lost}

        return SecureRound(self._exchange, reached, timeout=timeout).run(instruction, cohort, masking, pay=pay)
