"""Leave-one-out by time: which entry of each history is held out for validation, which for test."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from fedrec.data.dataset import Dataset
from fedrec.data.entries import DEFAULT_WEIGHTS, PositiveRule, kind_weights
from fedrec.data.events import TEXT_KINDS, Kind, intent_label
from fedrec.data.sequences import History, Ints, Sequences, first_targets
from fedrec.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Histories with two held-out entries per user.

    validation_at, test_at: (U,) position within the user's own history, -1 where the user
    has fewer than three targets. What lies before `validation_at` is training history;
    what lies before `test_at`, the validation item included, is the history at test.
    """

    sequences: Sequences
    validation_at: Ints
    test_at: Ints

    def train(self, user: int) -> History:
        """The entries that training may see."""
        history = self.sequences.of(user)
        end = int(self.validation_at[user])
        return history if end < 0 else history.take(slice(0, end))

    def until(self, user: int, *, test: bool) -> tuple[History, int] | None:
        """The history before the held-out entry and that entry's row; None without one."""
        position = int((self.test_at if test else self.validation_at)[user])
        if position < 0:
            return None
        history = self.sequences.of(user)
        return history.take(slice(0, position)), int(history.rows[position])


def load_sequences(
    dataset: Dataset,
    *,
    positives: PositiveRule | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    user_ids: list[str] | None = None,
) -> Sequences:
    """Pack a dataset's events into arrays.

    Entries are in time order; equal times are ordered by a hash of seed and event,
    so that file order cannot leak.
    Events of an item that the catalogue lacks are left out, except for their text.
    """
    rule = positives or PositiveRule()
    catalogue = dataset.catalogue()["item_id"]
    rows = pl.DataFrame({"item_id": catalogue, "row": np.arange(len(catalogue))})
    frame = (dataset.events().collect() if user_ids is None else dataset.user_events(user_ids)).join(
        rows, on="item_id", how="left", maintain_order="left"
    )
    frame = frame.with_columns(pl.col("text").is_not_null().and_(pl.col("kind").is_in(list(TEXT_KINDS))).alias("query"))
    frame = frame.filter(pl.col("query") | pl.col("row").is_not_null())
    texts = frame.filter(pl.col("query"))["text"].unique(maintain_order=True).to_list()
    text_rows = pl.DataFrame(
        {"text": pl.Series(texts, dtype=pl.String), "text_row": np.arange(len(texts)) + len(catalogue)}
    )
    frame = frame.join(text_rows, on="text", how="left", maintain_order="left").with_columns(
        pl.when("query").then("text_row").otherwise("row").alias("row")
    )
    _require_known_kinds(frame)
    ties = [_tie(seed, *names) for names in frame.select("user_id", "item_id", "text", "kind").iter_rows()]
    frame = frame.with_columns(pl.Series("tie", ties, dtype=pl.UInt64)).sort("user_id", "timestamp", "tie")
    frame = _mark_targets(frame, rule)
    scale = kind_weights(weights or {})
    intents = [intent_label(Kind(kind), value) for kind, value in frame.select("kind", "value").iter_rows()]
    counts = frame.group_by("user_id", maintain_order=True).len()
    return Sequences(
        user_ids=counts["user_id"].to_list(),
        offsets=np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64),
        entries=History(
            rows=frame["row"].to_numpy().astype(np.int64),
            times=frame["timestamp"].to_numpy().astype(np.int64),
            weights=frame["kind"].replace_strict(scale, return_dtype=pl.Float32).to_numpy(),
            targets=frame["target"].to_numpy().astype(np.bool_),
            intents=np.array([np.nan if label is None else label for label in intents], dtype=np.float32),
            ratings=frame.select(pl.when(pl.col("kind") == Kind.RATE).then("value"))["value"]
            .cast(pl.Float32)
            .fill_null(float("nan"))
            .to_numpy(),
        ),
        items=len(catalogue),
        texts=texts,
    )


def leave_one_out(sequences: Sequences) -> Split:
    """Hold out the last target of each user for test and the one before it for validation."""
    validation = np.full(sequences.users, -1, dtype=np.int64)
    test = validation.copy()
    for user in range(sequences.users):
        places = np.flatnonzero(first_targets(sequences.of(user)))
        if len(places) >= 3:
            validation[user], test[user] = places[-2], places[-1]
    return Split(sequences, validation, test)


def _mark_targets(frame: pl.DataFrame, rule: PositiveRule) -> pl.DataFrame:
    positive = pl.col("kind").is_in(list(rule.kinds)) & ~pl.col("query")
    for kind, least in ((Kind.RATE, rule.min_rating), (Kind.PLAY, rule.min_finished)):
        if least is not None:
            positive &= (pl.col("kind") != kind) | (pl.col("value") >= least).fill_null(False)
    return frame.with_columns(positive.alias("target"))


def _tie(seed: int, *names: str | None) -> int:
    """Orders equal times by what the event itself holds: nobody else's events may reorder a history."""
    digest = hashlib.blake2b("\x1f".join((str(seed), *(name or "" for name in names))).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def _require_known_kinds(frame: pl.DataFrame) -> None:
    if frame.is_empty():
        raise DataError("No event is of an item in the catalogue or holds a text. Import the data again.")
    if not frame["kind"].is_in(list(DEFAULT_WEIGHTS)).all():
        raise DataError(f"The events hold kinds other than {', '.join(DEFAULT_WEIGHTS)}. Import the data again.")
