"""What a device trains on: the events of its own store, read as training reads a data set."""

import numpy as np

from fedrec.config import ModelConfig, TrainingConfig
from fedrec.data.entries import history_of, is_query
from fedrec.data.sequences import Floats, History
from fedrec.data.store.store import Store, StoredEvent
from fedrec.ondevice.loaded import Released
from fedrec.ondevice.texts import TextVectors
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.examples import Shape


def own_history(store: Store, released: Released) -> tuple[History, Floats]:
    """The person's entries, and the (T, d) vectors of their texts, which are rows N to N + T.

    Events of items that the release lacks are left out, as a server's data set leaves them out.
    """
    texts = TextVectors(store, released.encoder, released.index.whitening)
    kept: list[StoredEvent] = []
    rows: list[int] = []
    written: list[int] = []
    for each in store.events():
        if is_query(each.event):
            if not texts.readable:
                continue
            row: int | None = len(released.index) + len(written)
            written.append(each.id)
        else:
            row = None if each.event.item_id is None else released.index.row_of(each.event.item_id)
        if row is not None:
            kept.append(each)
            rows.append(row)
    said = {each.id: each.event.text or "" for each in kept}
    vectors = (
        texts.of_events(written, lambda event_id: said[event_id])
        if written
        else np.zeros((0, released.index.width), np.float32)
    )
    history = history_of(
        [each.event for each in kept],
        np.array(rows, dtype=np.int64),
        rule=released.rule,
        weights=released.weights,
    )
    return history, vectors


def shape_of(model: ModelConfig, training: TrainingConfig, plan: PrivacyPlan) -> Shape:
    """How the history becomes examples under a plan."""
    segment = {"segment_days": plan.local.segment_days} if plan.local else {}
    return Shape(positions=training.positions, window=model.window, unit=plan.unit, **segment)
