"""Vectors of what the person wrote: from the store's cache, so that most starts need no encoder at all."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from fedrec.data.sequences import Floats
from fedrec.errors import DataError
from fedrec.model.item_index import Whitening


class Encoder(Protocol):
    """Turns texts into embeddings; opened when the first text comes."""

    @property
    def hash(self) -> str:
        """Of the encoder that the catalogue was encoded with."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """(T, d_e) float32."""
        ...


class Cache(Protocol):
    """Where embeddings of a person's own texts are kept: encrypted, like the texts themselves."""

    def set_vector(self, event_id: int, encoder_hash: str, vector: Floats) -> None:
        """Keep the embedding of an event's text."""
        ...

    def vectors(self, encoder_hash: str, events: Sequence[int]) -> dict[int, Floats]:
        """The embeddings that this encoder made of these events' texts, as far as it did."""
        ...


class TextVectors:
    """Vectors (d,) of texts in the space of the index, by event.

    encoder: None where the release brings none.
    """

    def __init__(self, cache: Cache, encoder: Encoder | None, whitening: Whitening) -> None:
        self._cache = cache
        self._encoder = encoder
        self._whitening = whitening
        self._ready: dict[int, Floats] = {}

    @property
    def readable(self) -> bool:
        """Whether texts can be read at all."""
        return self._encoder is not None

    def of_text(self, text: str) -> Floats:
        """(d,) of a text that is not kept; raises DataError where there is no encoder."""
        vector: Floats = self._whitening.apply_to_texts(self._required().encode([text]))[0]
        return vector

    def of_events(self, event_ids: Sequence[int], written: Callable[[int], str]) -> Floats:
        """(T, d) of the texts of some events; what was never encoded is encoded now, in one batch, and kept.

        written: looks up the text of an event.
        """
        fresh = [each for each in event_ids if each not in self._ready]
        if fresh:
            made = self._whitening.apply_to_texts(self._embeddings(fresh, written))
            self._ready.update(zip(fresh, made, strict=True))
        return np.stack([self._ready[each] for each in event_ids])

    def _embeddings(self, event_ids: Sequence[int], written: Callable[[int], str]) -> Floats:
        encoder = self._required()
        known = self._cache.vectors(encoder.hash, event_ids)
        missing = [each for each in event_ids if each not in known]
        if missing:
            for event_id, embedding in zip(missing, encoder.encode([written(each) for each in missing]), strict=True):
                self._cache.set_vector(event_id, encoder.hash, embedding)
                known[event_id] = embedding
        return np.stack([known[each] for each in event_ids])

    def _required(self) -> Encoder:
        if self._encoder is None:
            raise DataError("This release brings no text encoder. Ask without a text, or install a release with one.")
        return self._encoder
