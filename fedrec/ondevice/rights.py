"""What a person may ask of a whole device: everything that it holds of them, and nothing of it left."""

from pathlib import Path
from typing import Any

from fedrec.data.store.store import Store
from fedrec.ondevice.additions import ADDITIONS, forget_additions, read_additions


def exported(device: Path, store: Store) -> dict[str, Any]:
    """What the store holds, and the items that were added on this device: which ones can tell of a person."""
    added = read_additions(device / ADDITIONS, encoder_hash="").items
    return {**store.export(), "added_items": [{"item_id": item.item_id, "title": item.title} for item in added]}


def erase(device: Path, store: Store) -> str:
    """Nothing of the person is left, in the store or beside it; returns what to tell them."""
    # First: an erasure of the store that is cut short goes on at its next opening, and finds these gone.
    forget_additions(device / ADDITIONS)
    return store.erase()
