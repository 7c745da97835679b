"""The `flower` engine: clients reached over a Grid, be it in-process, on Ray or deployed."""

from collections.abc import Iterator, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedrec.errors import ConfigError
from fedrec.federation.messages import IDENTIFY, TRAIN, claimed_client, pack_instruction, unpack_reply
from fedrec.training.client import Instruction, Reply


class GridEngine:
    """Asks nodes for replies; a node's client number is what it says it is once, at the start.

    Two that claim to be the same client, and those that say nothing sensible, do not take part.
    Raises ConfigError if no node is left.
    """

    def __init__(self, grid: Grid, *, clients: int, timeout: float) -> None:
        self._grid = grid
        self._node_of = self._identify(clients, timeout)

    def clients(self) -> Sequence[int]:
        """The clients that are connected, in order."""
        return sorted(self._node_of)

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:
        """The replies that arrive in time; a round never waits for a lost node."""
        content = pack_instruction(instruction)
        asked = [client for client in cohort if client in self._node_of]
        messages = [Message(content, self._node_of[client], TRAIN, group_id=str(instruction.round)) for client in asked]
        # Sending gives the messages their ids; an error reply names only the message.
        replies = self._grid.send_and_receive(messages, timeout=timeout)
        client_of: dict[str, int] = {}
        for reply in replies:
            client_of = client_of or {
                message.metadata.message_id: client for message, client in zip(messages, asked, strict=True)
            }
            client = client_of.get(reply.metadata.reply_to_message_id)
            if client is not None:
                yield unpack_reply(client, reply)

    def _identify(self, clients: int, timeout: float) -> dict[int, int]:
        messages = [Message(RecordDict(), node, IDENTIFY) for node in self._grid.get_node_ids()]
        found: dict[int, int] = {}
        contested: set[int] = set()
        for reply in self._grid.send_and_receive(messages, timeout=timeout):
            client = claimed_client(reply)
            if client is None or not 0 <= client < clients:
                continue
            if client in found:
                contested.add(client)
            found[client] = reply.metadata.src_node_id
        # Nobody can tell which of two claimants is the client: neither takes part.
        for client in contested:
            del found[client]
        if not found:
            raise ConfigError("No client node answered. Start SuperNodes, or set num-supernodes of the simulation.")
        return found
