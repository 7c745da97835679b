"""The objects that Flower keeps a message as, unfolded without trusting who made them.

A few bytes can stand for very many: an array may name one chunk again and again.
"""

import json
from collections.abc import Mapping

from flwr.app import Message
from flwr.supercore.constant import HEAD_BODY_DIVIDER
from flwr.supercore.inflatable.inflatable_object import get_object_type_from_object_content
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

# A message of ours is itself, its few records, and at most two arrays in chunks of 5 MiB.
MOST_BYTES = 64 * 2**20
# Of an object that is no chunk of numbers.
_MOST_WORDS = 64 * 2**10


def unfolded(message_id: str, contents: Mapping[str, bytes]) -> Message:
    """The message that these objects are, by id; raises on whatever is none of ours, of any kind of exception."""
    _require_no_bomb(contents)
    message = inflate_object_from_contents(message_id, dict(contents))
    if not isinstance(message, Message):
        raise ValueError("It is no message.")
    return message


def _require_no_bomb(contents: Mapping[str, bytes]) -> None:
    """Raise ValueError on a few bytes that would become very many."""
    if sum(map(len, contents.values())) > MOST_BYTES:
        raise ValueError("A message is a few vectors.")
    largest = max(map(len, contents.values()), default=0)
    for content in contents.values():
        kind = get_object_type_from_object_content(content)
        if kind != "ArrayChunk" and len(content) > _MOST_WORDS:
            raise ValueError("A record of a message is small.")
        if kind == "Array":
            body = content[content.index(HEAD_BODY_DIVIDER) + len(HEAD_BODY_DIVIDER) :]
            if len(json.loads(body)["arraychunk_ids"]) * largest > MOST_BYTES:
                raise ValueError("A chunk is repeated too often.")
