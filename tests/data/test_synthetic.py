import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fedrec.data import synthetic
from fedrec.data.dataset import CATALOGUE_SCHEMA, EVENT_SCHEMA, Dataset
from fedrec.data.events import NEGATIVE_KINDS, Kind
from fedrec.data.splits import leave_one_out, load_sequences
from fedrec.data.synthetic import World, WorldConfig, generate_world, write_world
from fedrec.data.synthetic_text import THEMES, THEMES_PER_CIRCLE, vocabulary
from fedrec.data.synthetic_truth import BLOCK, START, next_theme
from fedrec.errors import ConfigError


@pytest.fixture(scope="module")
def world() -> World:
    return generate_world(users=1000, items=600)


@pytest.fixture(scope="module")
def joined(world: World) -> pl.DataFrame:
    """Events that have an item, with the truth about it and about the person."""
    truth = pl.DataFrame(
        {
            "item_id": world.items.catalogue["item_id"],
            "theme": world.items.themes,
            "item_facet": world.items.facets,
            "released": world.items.released,
        }
    )
    people = pl.DataFrame(
        {
            "user_id": world.events["user_id"].unique(maintain_order=True),
            "home": world.tastes.home,
            "later": world.tastes.later,
            "facet": world.tastes.facets,
            "drifts": world.tastes.turn < 1,
        }
    )
    frame = world.events.join(truth, on="item_id", maintain_order="left")
    return frame.join(people, on="user_id", maintain_order="left").with_columns(
        (pl.col("theme") // THEMES_PER_CIRCLE).alias("circle")
    )


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    infos = [write_world(tmp_path / str(at), users=300, items=60, seed=seed) for at, seed in enumerate((5, 5, 6))]
    assert infos[0].hash == infos[1].hash != infos[2].hash


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    users = 2 * BLOCK + 100
    hashes = set()
    for blocks in (1, 2, 5):
        monkeypatch.setattr(synthetic, "_BLOCKS_PER_CHUNK", blocks)
        hashes.add(write_world(tmp_path / str(blocks), users=users, items=60).hash)
    assert len(hashes) == 1


def test_more_people_leave_the_first_ones_as_they_were(world: World) -> None:
    few = generate_world(users=50, items=600)
    assert few.events.equals(world.events.head(len(few.events)))


def test_a_few_providers_offer_most_items_and_nothing_is_newer_than_its_release(world: World) -> None:
    catalogue = world.items.catalogue
    counts = catalogue["provider"].value_counts(sort=True)["count"]
    assert 5 < len(counts) <= 31
    assert counts[0] > 3 * counts.median()  # type: ignore[operator]
    assert (catalogue["published"].to_numpy() <= world.items.released).all()


def test_the_folder_holds_what_memory_holds(world: World, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    info = write_world(
        tmp_path / "world", users=1000, items=600, progress=lambda done, total: calls.append((done, total))
    )
    dataset = Dataset.open(tmp_path / "world")
    assert (info.users, info.items, info.events) == (1000, 600, len(world.events))
    assert dataset.events().collect().equals(world.events)
    assert dataset.catalogue().equals(world.items.catalogue)
    assert world.events.schema == EVENT_SCHEMA
    assert world.items.catalogue.schema == CATALOGUE_SCHEMA
    assert calls == [(1000, 1000)]


def test_events_are_sorted_by_person_and_strictly_by_time(world: World) -> None:
    users, times = world.events["user_id"], world.events["timestamp"].to_numpy()
    assert users.is_sorted()
    assert world.tastes.home.shape == (users.n_unique(),)
    same = (users == users.shift(1)).fill_null(False).to_numpy()[1:]
    assert (np.diff(times)[same] > 0).all()


def test_every_kind_is_there_with_its_value_or_text(world: World) -> None:
    events = world.events
    assert set(events["kind"]) == set(Kind)
    valued = events["kind"].is_in([Kind.RATE, Kind.PLAY])
    assert (events["value"].is_not_null() == valued).all()
    assert events.filter(kind=Kind.RATE)["value"].is_between(1, 5).all()
    assert events.filter(kind=Kind.PLAY)["value"].is_between(0, 1).all()
    assert (events["text"].is_not_null() == events["kind"].is_in([Kind.SEARCH, Kind.COMMENT])).all()
    assert (events["item_id"].is_null() == (events["kind"] == Kind.SEARCH)).all()


def test_texts_are_made_of_the_vocabulary_and_say_their_theme(world: World) -> None:
    texts = [*world.items.catalogue["text"], *world.items.catalogue["title"], *world.events["text"].drop_nulls()]
    words = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    assert words <= vocabulary()
    assert all(row["category"] in row["title"] for row in world.items.catalogue.iter_rows(named=True))
    assert len({theme.name for theme in THEMES}) == 24


def test_popularity_is_skewed_and_the_public_figure_is_a_noisy_copy(world: World, joined: pl.DataFrame) -> None:
    counts = joined.group_by("item_id").len()["len"].sort(descending=True)
    assert counts.head(60).sum() > 0.25 * counts.sum()
    known = world.items.released == START
    figure = world.items.catalogue["popularity"].to_numpy()
    assert (figure > 0).all()
    likeness = np.corrcoef(np.log(figure[known]), np.log(world.items.weights[known]))[0, 1]
    assert 0.6 < likeness < 0.99


def test_no_item_is_met_before_its_release(world: World, joined: pl.DataFrame) -> None:
    new = world.items.released > START
    assert 0.05 < new.mean() < 0.15
    assert (joined["timestamp"] >= joined["released"]).all()
    assert joined.filter(pl.col("released") > START).height > 100


def test_people_like_the_themes_of_their_circles_and_skip_others(joined: pl.DataFrame) -> None:
    own = (pl.col("circle") == pl.col("home")) | (pl.col("circle") == pl.col("later"))
    negative = pl.col("kind").is_in(list(NEGATIVE_KINDS))
    assert joined.filter(pl.col("kind") == Kind.LIKE).select(own.mean()).item() > 0.95
    assert joined.filter(negative).select(own.mean()).item() < 0.4


def test_all_themes_of_a_circle_go_together(joined: pl.DataFrame) -> None:
    steady = joined.filter(~pl.col("drifts"), kind=Kind.CLICK, circle=pl.col("home"))
    themes = steady.group_by("user_id").agg(pl.col("theme").n_unique(), pl.len()).filter(pl.col("len") >= 8)
    assert themes["theme"].mean() > 2.7


def test_a_theme_is_often_followed_by_the_next_of_its_circle(joined: pl.DataFrame) -> None:
    clicks = joined.filter(kind=Kind.CLICK).with_columns(
        pl.col("theme").shift(-1).over("user_id").alias("after"),
    )
    moved = clicks.filter(pl.col("after").is_not_null() & (pl.col("after") != pl.col("theme")))
    follows = (moved["after"].to_numpy() == next_theme(moved["theme"].to_numpy())).mean()
    assert follows > 0.5


def test_the_hidden_facet_draws_people(joined: pl.DataFrame) -> None:
    clicks = joined.filter(kind=Kind.CLICK)
    assert clicks.select((pl.col("item_facet") == pl.col("facet")).mean()).item() > 0.4


def test_drifting_people_end_in_another_circle(joined: pl.DataFrame) -> None:
    moving = joined.filter(pl.col("drifts") & (pl.col("home") != pl.col("later")), kind=Kind.CLICK)
    half = moving.with_columns((pl.int_range(pl.len()) * 2 >= pl.len()).over("user_id").alias("second"))
    late = half.group_by("second").agg((pl.col("circle") == pl.col("later")).mean().alias("share"))
    shares = dict(late.iter_rows())
    assert shares[True] > shares[False] + 0.3


def test_who_knows_the_planted_preferences_ranks_far_better_than_popularity(world: World, tmp_path: Path) -> None:
    write_world(tmp_path / "world", users=1000, items=600)
    split = leave_one_out(load_sequences(Dataset.open(tmp_path / "world")))
    items = world.items
    popularity = items.catalogue["popularity"].to_numpy().astype(np.float64)
    gains: dict[str, list[float]] = {"popularity": [], "planted": []}
    for user in range(split.sequences.users):
        found = split.until(user, test=False)
        if found is None:
            continue
        history, target = found
        seen = history.rows[history.rows < len(items)]
        circles = (world.tastes.home[user], world.tastes.later[user])
        inside = np.isin(items.themes // THEMES_PER_CIRCLE, circles)
        planted = items.affinity(int(world.tastes.facets[user]), world.config.facet) * np.where(inside, 1, 1e-3)
        gains["popularity"].append(ndcg_at_10(popularity, seen, target))
        gains["planted"].append(ndcg_at_10(planted, seen, target))
    assert np.mean(gains["planted"]) > 2 * np.mean(gains["popularity"])


def ndcg_at_10(scores: np.ndarray, seen: np.ndarray, target: int) -> float:
    kept = scores.copy()
    kept[seen] = -np.inf
    rank = int((kept > scores[target]).sum())
    return 1 / float(np.log2(rank + 2)) if rank < 10 else 0.0


@pytest.mark.parametrize("items", [6, 13, 50])
def test_small_worlds_work(items: int) -> None:
    small = generate_world(users=20, items=items)
    assert small.events["user_id"].n_unique() == 20
    assert small.items.theme_count * 2 <= items


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 6"):
        generate_world(users=1, items=5)
    with pytest.raises(ConfigError, match="0 people"):
        generate_world(users=0, items=6)
    with pytest.raises(ConfigError, match="no share"):
        WorldConfig(sequence=1.5)
    with pytest.raises(ConfigError, match="events_per_user"):
        WorldConfig(events_per_user=float("nan"))


_MEASURE = """
import resource, sys
from pathlib import Path
from fedrec.data.synthetic import write_world
peaks = []
def peak(*_):
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
write_world(Path(sys.argv[1]), users=4 * 32768, items=2000, progress=peak)
peak()
print((peaks[-1] - peaks[0]) // 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat_after_the_first_chunk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "world")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 400
