"""The `flower` engine: clients reached over a Grid, be it in-process, on Ray or deployed."""

from collections.abc import Iterator, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedrec.errors import ConfigError
from fedrec.federation.messages import IDENTIFY, TRAIN, pack_instruction, unpack_reply
from fedrec.training.client import Instruction, Reply


class GridEngine:
    """Asks nodes for replies; a node's client number is what it says it is once, at the start.

    Raises ConfigError if no node answers, or two claim to be the same client.
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
        for reply in self._grid.send_and_receive(messages, timeout=timeout):
            if reply.has_error():
                continue
            client = int(reply.content.config_records["identity"]["client"])  # type: ignore[arg-type]
            if client in found:
                raise ConfigError(f"Two nodes say that they are client {client}. Give each its own partition-id.")
            if client < clients:
                found[client] = reply.metadata.src_node_id
        if not found:
            raise ConfigError("No client node answered. Start SuperNodes, or set num-supernodes of the simulation.")
        return found
