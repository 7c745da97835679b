"""What the ClientApp does with a message: find the client that this node is, let it reply.

Nothing of an exception leaves the device but the name of its class: its text could hold
data, and Flower would put it into the server's log.
"""

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.errors import FedrecError
from fedrec.federation.messages import pack_reply, unpack_instruction
from fedrec.training.client import Client, Reply

ClientOf = Callable[[Context], Client]


def build_client_app(client_of: ClientOf) -> ClientApp:
    """A ClientApp whose node is the client that `client_of` finds in its context."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(pack_reply(_reply(client_of, message, context)), reply_to=message)

    @app.query("identify")
    def identify(message: Message, context: Context) -> Message:
        known = ConfigRecord({"client": int(context.node_config.get("partition-id", -1))})
        return Message(RecordDict({"identity": known}), reply_to=message)

    return app


def _reply(client_of: ClientOf, message: Message, context: Context) -> Reply:
    try:
        client = client_of(context)
        return client.reply(unpack_instruction(message.content))
    except FedrecError as error:
        return Reply(client=-1, code=error.code)
    except Exception:  # see the module: the text stays here
        return Reply(client=-1, code="crashed")
