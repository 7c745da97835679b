"""A world with planted preferences: what people like there is known, so models can be held against it.

Beyond the texts it plants circles of themes that go together although their texts are
unrelated, an order in which people move through a circle, a hidden facet that no text
shows, drifting tastes, skewed popularity and items that are released along the way.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from fedrec.data.dataset import DatasetInfo, DatasetWriter
from fedrec.data.events import Kind
from fedrec.data.synthetic_text import THEMES_PER_CIRCLE, comment_texts, search_texts
from fedrec.data.synthetic_truth import (
    BLOCK,
    DAY,
    FACETS,
    START,
    Doubles,
    Ints,
    Items,
    Tastes,
    WorldConfig,
    block_tastes,
    make_items,
    make_tastes,
    next_theme,
)
from fedrec.errors import ConfigError

__all__ = ["World", "WorldConfig", "generate_world", "write_world"]

Bools = npt.NDArray[np.bool_]
Generator = np.random.Generator

_BLOCKS_PER_CHUNK = 16
_SESSION_MEAN = 2.0
_LONGEST = 6
_REDRAWS = 6
_TEXTS = 12
_DRIFT_SPEED = 15.0

_KINDS = tuple(Kind)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_OWN_KINDS = {
    Kind.CLICK: 0.36,
    Kind.VIEW: 0.12,
    Kind.PLAY: 0.15,
    Kind.LIKE: 0.10,
    Kind.RATE: 0.10,
    Kind.SAVE: 0.06,
    Kind.PURCHASE: 0.06,
    Kind.COMMENT: 0.03,
    Kind.SHARE: 0.02,
}
_OTHER_KINDS = {Kind.SKIP: 0.5, Kind.VIEW: 0.3, Kind.HIDE: 0.12, Kind.RATE: 0.04, Kind.PLAY: 0.02, Kind.BLOCK: 0.02}
_DEVICES = ("phone", "laptop", "tablet")


@dataclass(frozen=True, slots=True)
class World:
    """A world in memory, with the truth about its items and people."""

    events: pl.DataFrame
    items: Items
    tastes: Tastes
    config: WorldConfig


def write_world(
    out: Path,
    *,
    users: int,
    items: int,
    seed: int = 0,
    config: WorldConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetInfo:
    """Write a world as a dataset folder, chunk by chunk; memory does not grow with `users`.

    progress: called with how many people are done and how many there are.
    """
    settings = config or WorldConfig()
    truth = make_items(items, seed, settings)
    done = 0
    with DatasetWriter(out, sorted_input=True) as writer:
        writer.set_catalogue(truth.catalogue)
        for events, people in _chunks(users, truth, seed, settings):
            writer.add_events(events)
            done += people
            if progress:
                progress(done, users)
        return writer.commit(
            source=f"a synthetic world, seed {seed}", licence="CC0-1.0", importer="fedrec.data.synthetic 1"
        )


def generate_world(*, users: int, items: int, seed: int = 0, config: WorldConfig | None = None) -> World:
    """The same world in memory, with its truth."""
    settings = config or WorldConfig()
    truth = make_items(items, seed, settings)
    events = pl.concat([events for events, _ in _chunks(users, truth, seed, settings)])
    return World(events, truth, make_tastes(users, truth, seed, settings), settings)


def _chunks(users: int, items: Items, seed: int, config: WorldConfig) -> Iterator[tuple[pl.DataFrame, int]]:
    if not 1 <= users < 10_000_000:
        raise ConfigError(f"A world cannot have {users} people. Ask for 1 to 9,999,999.")
    texts = _make_texts(items, seed)
    size = BLOCK * _BLOCKS_PER_CHUNK
    for first in range(0, users, size):
        last = min(first + size, users)
        blocks = range(first // BLOCK, -(-last // BLOCK))
        frame = pl.concat([_block_events(block, items, texts, seed, config) for block in blocks])
        yield frame.filter(pl.col("user_id") < f"u{last:07d}"), last - first


def _make_texts(items: Items, seed: int) -> pl.Series:
    """Searches and comments; those of theme t begin at t * 2 * _TEXTS, searches first."""
    rng = np.random.default_rng([seed, 1])
    texts = []
    for theme in range(items.theme_count):
        texts += search_texts(theme, _TEXTS, rng) + comment_texts(theme, _TEXTS, rng)
    return pl.Series(texts)


@dataclass(frozen=True, slots=True)
class _Steps:
    """What a block's people do, before items are chosen: (E,) arrays, by person and time.

    themes: of the item, or of the search; own: whether it belongs to the person's taste.
    """

    people: Ints
    themes: Ints
    times: Ints
    devices: Ints
    own: Bools
    search: Bools

    def __len__(self) -> int:
        return len(self.people)


def _block_events(block: int, items: Items, texts: pl.Series, seed: int, config: WorldConfig) -> pl.DataFrame:
    rng = np.random.default_rng([seed, 3, block])
    tastes = block_tastes(block, items, seed, config)
    steps = _draw_steps(tastes, items, config, rng)
    rows, revisited = _draw_items(steps, tastes, items, config, rng)
    kinds = _draw_kinds(steps, revisited, rng)
    values = _draw_values(steps, kinds, rng)
    written = steps.search | (kinds == _CODES[Kind.COMMENT])
    text_rows = steps.themes * 2 * _TEXTS + np.where(steps.search, 0, _TEXTS) + rng.integers(_TEXTS, size=len(steps))
    people = pl.Series(np.arange(block * BLOCK, (block + 1) * BLOCK)).cast(pl.String).str.zfill(7)
    return pl.DataFrame(
        {
            "user_id": ("u" + people).gather(steps.people),
            "item_id": items.catalogue["item_id"].gather(_nullable(rows, ~steps.search)),
            "timestamp": steps.times,
            "kind": pl.Series([str(kind) for kind in _KINDS]).gather(kinds),
            "value": pl.Series(values, dtype=pl.Float32, nan_to_null=True),
            "text": texts.gather(_nullable(text_rows, written)),
            "context": pl.Series(_DEVICES).gather(steps.devices),
        }
    )


def _draw_steps(tastes: Tastes, items: Items, config: WorldConfig, rng: Generator) -> _Steps:
    """Sessions in bursts; the (BLOCK, longest) grids below are cut to each person's own length."""
    lengths = rng.lognormal(np.log(config.events_per_user) - 0.18, 0.6, BLOCK)
    lengths = np.clip(lengths, 4, _LONGEST * config.events_per_user).astype(np.int64)
    place = np.arange(lengths.max())
    starts = rng.random((BLOCK, len(place))) < 1 / _SESSION_MEAN
    starts[:, 0] = True
    session = np.cumsum(starts, axis=1) - 1
    sessions = int(session.max()) + 1

    elapsed = np.cumsum(rng.exponential(size=(BLOCK, sessions)), axis=1)
    last = session[np.arange(BLOCK), lengths - 1]
    share = elapsed / elapsed[np.arange(BLOCK), last][:, None]
    theme = _session_themes(share, tastes, config, rng)
    arrival, leaving = rng.uniform(0, 0.5, (BLOCK, 1)), rng.uniform(0.6, 1, (BLOCK, 1))
    opening = START + (arrival + (leaving - arrival) * share) * config.days * DAY
    device = rng.integers(len(_DEVICES), size=(BLOCK, sessions))

    since = place - np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    times = np.take_along_axis(opening, session, axis=1).astype(np.int64) + 60 * since
    times += rng.integers(60, size=times.shape)
    # Strictly later than the step before, also where two sessions would overlap.
    times = np.maximum.accumulate(times - place, axis=1) + place

    kept = place < lengths[:, None]
    count = int(kept.sum())
    search = starts[kept] & (rng.random(count) < config.searching)
    own = search | (rng.random(count) >= config.off_taste)
    return _Steps(
        people=np.nonzero(kept)[0],
        themes=np.where(
            own, np.take_along_axis(theme, session, axis=1)[kept], rng.integers(items.theme_count, size=count)
        ),
        times=times[kept],
        devices=np.take_along_axis(device, session, axis=1)[kept],
        own=own,
        search=search,
    )


def _session_themes(share: Doubles, tastes: Tastes, config: WorldConfig, rng: Generator) -> Ints:
    """(BLOCK, sessions) themes; `share` is how much of a person's own time has passed."""
    drifted = rng.random(share.shape) < 1 / (1 + np.exp(-_DRIFT_SPEED * (share - tastes.turn[:, None])))
    circle = np.where(drifted, tastes.later[:, None], tastes.home[:, None])
    themes = circle * THEMES_PER_CIRCLE + rng.integers(THEMES_PER_CIRCLE, size=share.shape)
    follows = rng.random(share.shape) < config.sequence
    for at in range(1, share.shape[1]):
        follow = follows[:, at] & (circle[:, at] == circle[:, at - 1])
        themes[:, at] = np.where(follow, next_theme(themes[:, at - 1]), themes[:, at])
    return themes


def _draw_items(steps: _Steps, tastes: Tastes, items: Items, config: WorldConfig, rng: Generator) -> tuple[Ints, Bools]:
    """A row for each step, and whether the person had met that item before."""
    facets = np.where(steps.own, tastes.facets[steps.people], rng.integers(FACETS, size=len(steps)))
    tables = [np.cumsum(items.affinity(facet, config.facet)[items.order]) for facet in range(FACETS)]
    rows = np.empty(len(steps), dtype=np.int64)
    wrong = np.ones(len(steps), dtype=np.bool_)
    for _ in range(_REDRAWS):
        for facet, table in enumerate(tables):
            where = np.flatnonzero(wrong & (facets == facet))
            rows[where] = items.order[_draw_places(table, steps.themes[where], items, rng)]
        wrong = _repeated(steps, rows, len(items)) | (items.released[rows] > steps.times)
    early = items.released[rows] > steps.times
    rows[early] = items.order[items.bounds[steps.themes[early]]]
    return rows, _repeated(steps, rows, len(items))


def _draw_places(table: Doubles, themes: Ints, items: Items, rng: Generator) -> Ints:
    """Places in `items.order`, drawn within each theme in proportion to the steps of `table`."""
    first, last = items.bounds[themes], items.bounds[themes + 1] - 1
    low = np.where(first > 0, table[first - 1], 0.0)
    places = np.searchsorted(table, low + rng.random(len(themes)) * (table[last] - low), side="right")
    return np.clip(places, first, last)


def _repeated(steps: _Steps, rows: Ints, items: int) -> Bools:
    """Whether the same person has the same row at an earlier step; searches have no row."""
    keys = np.where(steps.search, -1 - np.arange(len(rows)), steps.people * items + rows)
    order = np.argsort(keys, kind="stable")
    repeated = np.zeros(len(rows), dtype=np.bool_)
    repeated[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return repeated


def _draw_kinds(steps: _Steps, revisited: Bools, rng: Generator) -> Ints:
    own, other = (_draw_codes(shares, len(steps), rng) for shares in (_OWN_KINDS, _OTHER_KINDS))
    kinds = np.where(steps.own, own, other)
    kinds[revisited] = _CODES[Kind.VIEW]
    kinds[steps.search] = _CODES[Kind.SEARCH]
    return kinds


def _draw_codes(shares: Mapping[Kind, float], count: int, rng: Generator) -> Ints:
    codes = np.array([_CODES[kind] for kind in shares])
    return codes[np.searchsorted(np.cumsum(list(shares.values()))[:-1], rng.random(count), side="right")]


def _draw_values(steps: _Steps, kinds: Ints, rng: Generator) -> Doubles:
    """Ratings from 1 to 5 in halves, shares finished from 0 to 1, NaN for other kinds."""
    ratings = np.clip(np.round(2 * rng.normal(np.where(steps.own, 4.2, 2.2), 0.7)) / 2, 1, 5)
    finished = rng.beta(np.where(steps.own, 4, 1), np.where(steps.own, 1, 4))
    values = np.full(len(steps), np.nan)
    rated, played = kinds == _CODES[Kind.RATE], kinds == _CODES[Kind.PLAY]
    values[rated], values[played] = ratings[rated], finished[played]
    return values


def _nullable(rows: Ints, present: Bools) -> pl.Series:
    return pl.select(pl.when(pl.Series(present)).then(pl.Series(rows))).to_series()
