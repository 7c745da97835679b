"""What is true in the synthetic world: its items, its people's tastes, and how strongly each is planted."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from fedrec.data.synthetic_text import CIRCLES, THEMES, THEMES_PER_CIRCLE, item_texts
from fedrec.errors import ConfigError

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

START = 1_704_067_200
DAY = 86_400
FACETS = 4
_ITEMS_PER_PROVIDER = 20

# People come in blocks with their own random stream, always drawn whole: neither the size of a
# chunk nor the number of people changes anyone's history.
BLOCK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """How strongly each structure is planted.

    sequence: probability that a session's theme follows the last one in its circle's order.
    facet: how many times likelier an item of a person's own hidden facet is.
    drifting, off_taste, searching, new_items: shares of people, of events, of sessions, of items.
    popularity_exponent: of the Zipf law over items. days: length of the period.
    """

    events_per_user: float = 25.0
    popularity_exponent: float = 0.8
    sequence: float = 0.65
    facet: float = 4.0
    drifting: float = 0.5
    off_taste: float = 0.1
    searching: float = 0.15
    new_items: float = 0.1
    days: int = 180

    def __post_init__(self) -> None:
        for name in ("sequence", "drifting", "off_taste", "searching", "new_items"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, which is no share. Choose between 0 and 1.")
        if not (self.events_per_user >= 4 and self.facet > 0 and self.days >= 1 and self.popularity_exponent >= 0):
            raise ConfigError("A world needs events_per_user >= 4, facet > 0, days >= 1, popularity_exponent >= 0.")


@dataclass(frozen=True)
class Items:
    """The truth about the items; all arrays are (N,), in the catalogue's order.

    weights: how likely an item is within its theme; facets: hidden from every text;
    released: seconds since 1970, START for what was always there.
    """

    themes: Ints
    facets: Ints
    weights: Doubles
    released: Ints
    catalogue: pl.DataFrame

    def __len__(self) -> int:
        return len(self.themes)

    @property
    def theme_count(self) -> int:
        """How many themes this world has; a small one has fewer."""
        return int(self.themes.max()) + 1

    @cached_property
    def order(self) -> Ints:
        """Rows, theme by theme, what was always there first."""
        return np.lexsort((self.released, self.themes))

    @cached_property
    def bounds(self) -> Ints:
        """(themes + 1,): theme t owns order[bounds[t] : bounds[t + 1]]."""
        return np.searchsorted(self.themes[self.order], np.arange(self.theme_count + 1)).astype(np.int64)

    def affinity(self, facet: int, strength: float) -> Doubles:
        """(N,) weights as people of this facet have them."""
        return self.weights * np.where(self.facets == facet, strength, 1.0)


@dataclass(frozen=True, slots=True)
class Tastes:
    """The truth about people; all arrays are (users,).

    home, later: circles before and after the drift; turn: when it happens, as a share of
    the person's own time (above 1: never).
    """

    home: Ints
    later: Ints
    turn: Doubles
    facets: Ints


def make_items(count: int, seed: int, config: WorldConfig) -> Items:
    """The items of a world and their public catalogue; `popularity` is a noisy sales figure.

    Raises ConfigError for fewer than six items.
    """
    least = 2 * THEMES_PER_CIRCLE
    if count < least:
        raise ConfigError(f"A world of {count} items is too small. Ask for at least {least}.")
    rng = np.random.default_rng([seed, 0])
    theme_count = min(CIRCLES, count // least) * THEMES_PER_CIRCLE
    place = rng.permutation(count)
    themes = place % theme_count
    # The first places are never new: every theme has something from the first day on.
    fresh = (place >= theme_count) & (rng.random(count) < config.new_items)
    weights: Doubles = np.power(1.0 + rng.permutation(count), -config.popularity_exponent)
    released = START + np.where(fresh, rng.uniform(0.4, 0.9, count) * config.days * DAY, 0).astype(np.int64)
    sales = weights / weights.mean() * np.exp(rng.normal(0, 0.5, count)) * np.where(fresh, 300, 1000)
    facets = rng.integers(FACETS, size=count)
    texts = item_texts(themes.tolist(), rng)
    catalogue = pl.DataFrame(
        {
            "item_id": [f"i{row:07d}" for row in range(count)],
            "title": [title for title, _ in texts],
            "text": [text for _, text in texts],
            "category": [THEMES[theme].name for theme in themes],
            "popularity": pl.Series(sales, dtype=pl.Float32),
            **_origins(released, seed),
        }
    )
    return Items(themes, facets, weights, released, catalogue)


def _origins(released: Ints, seed: int) -> dict[str, pl.Series]:
    """Who offers each item and since when, by a random stream of its own: a few providers offer most."""
    rng = np.random.default_rng([seed, 4])
    shares = 1 / np.arange(1, 2 + len(released) // _ITEMS_PER_PROVIDER)
    providers = rng.choice(len(shares), len(released), p=shares / shares.sum())
    age = rng.exponential(2 * 365 * DAY, len(released)).astype(np.int64)
    published = np.where(released > START, released, START - age)
    return {
        "provider": pl.Series([f"Provider {provider + 1}" for provider in providers]),
        "published": pl.Series(published, dtype=pl.Int64),
    }


def make_tastes(users: int, items: Items, seed: int, config: WorldConfig) -> Tastes:
    """What each person of a world likes."""
    blocks = [block_tastes(block, items, seed, config) for block in range(-(-users // BLOCK))]
    return Tastes(
        home=np.concatenate([block.home for block in blocks])[:users],
        later=np.concatenate([block.later for block in blocks])[:users],
        turn=np.concatenate([block.turn for block in blocks])[:users],
        facets=np.concatenate([block.facets for block in blocks])[:users],
    )


def block_tastes(block: int, items: Items, seed: int, config: WorldConfig) -> Tastes:
    """What the people of one block like; early circles have more followers than late ones."""
    rng = np.random.default_rng([seed, 2, block])
    circles = items.theme_count // THEMES_PER_CIRCLE
    followers = 1 / np.arange(2, circles + 2)
    followers /= followers.sum()
    return Tastes(
        home=rng.choice(circles, BLOCK, p=followers),
        later=rng.choice(circles, BLOCK, p=followers),
        turn=np.where(rng.random(BLOCK) < config.drifting, rng.uniform(0.2, 0.9, BLOCK), 2.0),
        facets=rng.integers(FACETS, size=BLOCK),
    )


def next_theme(themes: Ints) -> Ints:
    """The theme that often follows each, in the order of its circle."""
    circle, place = np.divmod(themes, THEMES_PER_CIRCLE)
    return np.asarray(circle * THEMES_PER_CIRCLE + (place + 1) % THEMES_PER_CIRCLE, dtype=np.int64)
