"""What the ClientApp does with a message: find the client that this node is, let it reply.

Nothing of an exception leaves the device but the name of its class: its text could hold
data, and Flower would put it into the server's log.
"""

from collections.abc import Callable
from typing import Protocol

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.errors import FedrecError, RefusedError
from fedrec.federation.messages import pack_reply, unpack_instruction
from fedrec.federation.secure_messages import pack_answer, unpack_request
from fedrec.secagg.terms import Stage
from fedrec.training.client import Client, Instruction, Reply
from fedrec.training.masking import MaskedReply


class Answering(Protocol):
    """A client in rounds under masks; see `Participant.answer`."""

    def answer(self, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        """The answer to a stage's request."""
        ...


ClientOf = Callable[[Context], Client]
ParticipantOf = Callable[[Context], Answering]


def _no_participant(_: Context) -> Answering:
    raise RefusedError("This node takes part in no rounds under masks.")


def build_client_app(client_of: ClientOf, participant_of: ParticipantOf = _no_participant) -> ClientApp:
    """A ClientApp whose node is the client that `client_of` finds in its context.

    participant_of: the same client with what it takes part in rounds under masks with.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(pack_reply(_reply(client_of, message, context)), reply_to=message)

    @app.train("secure")
    def secure(message: Message, context: Context) -> Message:
        return Message(pack_answer(_answer(participant_of, message, context)), reply_to=message)

    @app.query("identify")
    def identify(message: Message, context: Context) -> Message:
        known = ConfigRecord({"client": int(context.node_config.get("partition-id", -1))})
        return Message(RecordDict({"identity": known}), reply_to=message)

    return app


def _answer(participant_of: ParticipantOf, message: Message, context: Context) -> MaskedReply:
    try:
        participant = participant_of(context)
        return participant.answer(*unpack_request(message.content))
    except FedrecError as error:
        return MaskedReply(client=-1, code=error.code)
    except Exception:  # see the module: the text stays here
        return MaskedReply(client=-1, code="crashed")


def _reply(client_of: ClientOf, message: Message, context: Context) -> Reply:
    try:
        client = client_of(context)
        return client.reply(unpack_instruction(message.content))
    except FedrecError as error:
        return Reply(client=-1, code=error.code)
    except Exception:  # see the module: the text stays here
        return Reply(client=-1, code="crashed")
