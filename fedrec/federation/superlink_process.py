"""Flower's SuperLink in a process that keeps nothing of a device, takes from a node its own answers alone, and obeys
nobody on its machine but the service.

Flower logs what it refuses with the key, the ids and the words of whoever asked. Of what a node pushes it believes
the sender that the message names, and takes messages that nobody asked for. What it deletes stays in its database's
files until something else is written there: in `central` mode, updates without noise.
"""

import logging
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import wraps
from pathlib import Path

from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore import sql_mixin
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.logger import LOGGER_NAME
from flwr.superlink import extensions
from flwr.superlink.cli import flower_superlink
from flwr.superlink.servicer.fleet import fleet_handlers
from starlette.middleware import Middleware

from fedrec.errors import FedrecError
from fedrec.federation.control_secret import OnlyWithSecret, secret_from

# Of what is refused: where, and the number or the kind. The rest is of whoever asked, or of the database.
_REFUSAL = re.compile(r"(\[/v1/[a-z/-]+\]\[\w+:\w+\]).*", re.DOTALL)
# Ids of nodes, runs and messages.
_NAME = re.compile(r"\d{12,}|[0-9a-f]{32,}")
# A reply is at most 16 objects, whose tree says 70 bytes of each: so many of the pieces that the proxy lets through.
_LARGEST_TREE = 1_280

_CLEAN_SECONDS = 30.0
_PRAGMAS = "SQLITE_PRAGMAS"
# Flower's control API a second time, over gRPC on a port of its own, where nobody is asked for a secret.
_SECOND_CONTROL = "FLWR_INTERNAL_GRPC_CONTROL_API"

Push = Callable[[PushMessagesRequest, LinkState], PushMessagesResponse]


class NothingOfDevices(logging.Filter):
    """Records go on without what is a device's."""

    def filter(self, record: logging.LogRecord) -> bool:
        """The record, in one line that names nobody."""
        record.msg, record.args = said_of_nobody(record.getMessage()), ()
        return True


def said_of_nobody(message: str) -> str:
    """What may be written down of a line of Flower's log.

    >>> said_of_nobody("[/v1/fleet/get-fab][ApiError:2009] SuperNode 17, fab_hash=...")
    '[/v1/fleet/get-fab][ApiError:2009]'
    >>> said_of_nobody("Invalid run ID for Message: 5072726826355192981")
    'Invalid run ID for Message: ...'
    """
    return _NAME.sub("...", _REFUSAL.sub(r"\1", message))


def own_answers_only(push: Push) -> Push:
    """Flower's handler of what a node pushes, for one answer that the node gives in its own name.

    The node is the one whose key signed the request; how long its app took, which it may say anything of, is left out.
    """

    @wraps(push)
    def checked(request: PushMessagesRequest, state: LinkState) -> PushMessagesResponse:
        said = [each.metadata for each in request.messages_list]
        trees = request.message_object_trees
        if not (
            len(said) == len(trees) == 1
            and said[0].src_node_id == request.node.node_id
            and said[0].reply_to_message_id
            and trees[0].object_id == said[0].message_id
            and trees[0].ByteSize() <= _LARGEST_TREE
        ):
            raise FlowerError(ApiErrorCode.INVALID_PROTOBUF_PAYLOAD, "A node pushes one answer of its own.")
        del request.clientapp_runtime_list[:]
        return push(request, state)

    return checked


def overwrite_what_is_deleted() -> None:
    """Databases that Flower opens from now on overwrite what is deleted with zeros."""
    pragmas = (*getattr(sql_mixin, _PRAGMAS), ("secure_delete", "ON"))
    setattr(sql_mixin, _PRAGMAS, pragmas)


def empty_journal(database: Path) -> None:
    """The database's write-ahead log, where what was deleted stands still, is empty.

    Where somebody reads or writes just now it stays until the next time; a full disk stops nobody here.
    """
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=1.0)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _keep_empty(database: Path) -> None:
    while True:
        time.sleep(_CLEAN_SECONDS)
        empty_journal(database)


def ask_for_secret(secret: str) -> None:
    """A SuperLink that is made from now on does what is asked on its control API for who shows the secret."""
    # The outermost place that Flower keeps for others: what is refused here, nothing of Flower has read.
    extensions.get_middleware = lambda: (Middleware(OnlyWithSecret, secret=secret),)
    os.environ.pop(_SECOND_CONTROL, None)


def main() -> None:
    """Run `flower-superlink` with this process's arguments."""
    try:
        ask_for_secret(secret_from(os.environ))
    except FedrecError as error:
        sys.exit(f"error: {error}")
    overwrite_what_is_deleted()
    if "--database" in sys.argv:
        database = Path(sys.argv[sys.argv.index("--database") + 1])
        threading.Thread(target=_keep_empty, args=(database,), daemon=True).start()
    for handler in logging.getLogger(LOGGER_NAME).handlers:
        handler.addFilter(NothingOfDevices())
    fleet_handlers.push_messages = own_answers_only(fleet_handlers.push_messages)  # type: ignore[assignment]
    flower_superlink()


if __name__ == "__main__":
    main()
