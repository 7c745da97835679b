"""From the events of whole people to packed entries; a part of the population is packed as all of it would be."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fedrec.data.dataset import Dataset
from fedrec.data.entries import DEFAULT_WEIGHTS, PositiveRule, kind_weights
from fedrec.data.events import COMMITTED_KINDS, FINISHED, LIKED_RATING, NEGATIVE_KINDS, TEXT_KINDS, Kind
from fedrec.data.sequences import Bools, Floats, History, Ints, first_of_each
from fedrec.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Some people's entries end to end, person by person; lengths: entries of each."""

    user_ids: Sequence[str]
    lengths: Ints
    entries: History


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How the events of a dataset become entries.

    catalogue: its item ids and their rows. texts: each distinct query text so far and its
    number; `pack` adds to it.
    """

    catalogue: pl.DataFrame
    rule: PositiveRule
    weights: Mapping[str, float]
    seed: int
    texts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, *, positives: PositiveRule, weights: Mapping[str, float], seed: int) -> "Packing":
        """For the catalogue of a dataset; raises ConfigError for a weight that no kind may have."""
        ids = dataset.catalogue()["item_id"]
        catalogue = pl.DataFrame({"item_id": ids, "row": np.arange(len(ids))})
        return cls(catalogue=catalogue, rule=positives, weights=kind_weights(weights), seed=seed)

    @property
    def items(self) -> int:
        """Size of the catalogue N."""
        return len(self.catalogue)

    def pack(self, events: pl.DataFrame) -> Packed:
        """The entries of people whose events are all here, person by person, each in time order."""
        frame = self._with_rows(events)
        if not frame["kind"].is_in(list(DEFAULT_WEIGHTS)).all():
            raise DataError(f"The events hold kinds other than {', '.join(DEFAULT_WEIGHTS)}. Import the data again.")
        frame = _in_order(frame, self.seed)
        counts = frame.group_by("user_id", maintain_order=True).len()
        return Packed(
            user_ids=counts["user_id"].to_list(),
            lengths=counts["len"].to_numpy().astype(np.int64),
            entries=self._entries(frame),
        )

    def _with_rows(self, events: pl.DataFrame) -> pl.DataFrame:
        """What enters a history, with the row of its item or text; new texts are numbered as they come."""
        frame = events.join(self.catalogue, on="item_id", how="left", maintain_order="left")
        query = pl.col("text").is_not_null() & pl.col("kind").is_in(list(TEXT_KINDS))
        frame = frame.with_columns(query.alias("query")).filter(pl.col("query") | pl.col("row").is_not_null())
        for text in frame.filter(pl.col("query"))["text"].unique(maintain_order=True):
            self.texts.setdefault(text, len(self.texts))
        numbered = pl.DataFrame(
            {"text": pl.Series(list(self.texts), dtype=pl.String), "text_row": np.arange(len(self.texts)) + self.items}
        )
        return frame.join(numbered, on="text", how="left", maintain_order="left").with_columns(
            pl.when("query").then("text_row").otherwise("row").alias("row")
        )

    def _entries(self, frame: pl.DataFrame) -> History:
        return History(
            rows=frame["row"].to_numpy().astype(np.int64),
            times=frame["timestamp"].to_numpy().astype(np.int64),
            weights=frame["kind"].replace_strict(dict(self.weights), return_dtype=pl.Float32).to_numpy(),
            targets=frame.select(_is_target(self.rule)).to_series().to_numpy().astype(np.bool_),
            intents=_intents(frame),
            ratings=frame.select(pl.when(pl.col("kind") == Kind.RATE).then("value"))["value"]
            .cast(pl.Float32)
            .fill_null(float("nan"))
            .to_numpy(),
        )


def offsets_of(lengths: npt.NDArray[np.integer[Any]]) -> Ints:
    """(U + 1,) where each of U ranges begins, end to end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def held_out_places(lengths: Ints, rows: npt.NDArray[np.integer[Any]], targets: Bools) -> tuple[Ints, Ints]:
    """(U,) and (U,) the place of each person's target for validation and for test; -1 under three targets.

    lengths: (U,) entries of each person; rows, targets: of all of them, end to end.
    """
    user = np.repeat(np.arange(len(lengths)), lengths)
    places = np.flatnonzero(first_of_each(user, rows, targets))
    ends = np.cumsum(np.bincount(user[places], minlength=len(lengths)))
    enough = np.flatnonzero(np.diff(ends, prepend=0) >= 3)
    begins = offsets_of(lengths)[enough]
    validation = np.full(len(lengths), -1, dtype=np.int64)
    test = validation.copy()
    validation[enough], test[enough] = places[ends[enough] - 2] - begins, places[ends[enough] - 1] - begins
    return validation, test


def _in_order(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """By person, then by time, then by a hash of the event among those that share both."""
    frame = frame.sort("user_id", "timestamp", maintain_order=True)
    tied = frame.select((pl.len().over("user_id", "timestamp") > 1).alias("tied"))["tied"].to_numpy()
    ties = np.zeros(len(frame), dtype=np.uint64)
    names = frame.filter(pl.Series(tied)).select("user_id", "item_id", "text", "kind")
    ties[tied] = np.array([_tie(seed, *each) for each in names.iter_rows()], dtype=np.uint64)
    return frame.with_columns(pl.Series("tie", ties)).sort("user_id", "timestamp", "tie", maintain_order=True)


def _tie(seed: int, *names: str | None) -> int:
    """Orders equal times by what the event itself holds: nobody else's events may reorder a history."""
    digest = hashlib.blake2b("\x1f".join((str(seed), *(name or "" for name in names))).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def _is_target(rule: PositiveRule) -> pl.Expr:
    positive = pl.col("kind").is_in(list(rule.kinds)) & ~pl.col("query")
    for kind, least in ((Kind.RATE, rule.min_rating), (Kind.PLAY, rule.min_finished)):
        if least is not None:
            positive &= (pl.col("kind") != kind) | (pl.col("value") >= least).fill_null(False)
    return positive.alias("target")


def _intents(frame: pl.DataFrame) -> Floats:
    """(L,) `intent_label` of each event, NaN where it is left open."""
    told = frame["value"].is_not_null().to_numpy()
    value = frame["value"].fill_null(float("nan")).to_numpy().astype(np.float64)
    intents = np.full(len(frame), np.nan, dtype=np.float32)
    intents[_of_kinds(frame, COMMITTED_KINDS)] = 1.0
    intents[_of_kinds(frame, NEGATIVE_KINDS)] = 0.0
    for kind, least in ((Kind.RATE, LIKED_RATING), (Kind.PLAY, FINISHED)):
        labelled = _of_kinds(frame, {kind}) & told
        intents[labelled] = value[labelled] >= least
    return intents


def _of_kinds(frame: pl.DataFrame, kinds: frozenset[Kind] | set[Kind]) -> Bools:
    found: Bools = frame["kind"].is_in([str(kind) for kind in kinds]).to_numpy()
    return found
