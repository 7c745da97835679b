"""Putting one part of the real path into another's place for a while: the audit's only lever.

Deployed code has no switch for canaries or faults; they come in through its module names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, part: Any) -> Iterator[None]:
    """`owner.name` is `part` until the end, whatever happens in between."""
    original = getattr(owner, name)
    setattr(owner, name, part)
    try:
        yield
    finally:
        setattr(owner, name, original)
