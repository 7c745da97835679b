"""The profile: interests are found, keep who they are, bear the person's names, and can be muted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.sequences import Floats
from fedrec.data.store.store import Store
from fedrec.errors import DataError
from fedrec.ondevice.profile import (
    MOST,
    Profile,
    Told,
    mute,
    profile_now,
    rename,
    renewed,
    space_of,
    stored_profile,
)
from tests.ondevice.device_worlds import a_world

TOPICS = ("Sea", "Sky", "Woods", "Town")
CENTRES = np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32)
EMPTY = Profile(space="here")


def vectors_of(topics: Sequence[int], *, seed: int = 0, spread: float = 0.3) -> Floats:
    noise = np.random.default_rng(seed).normal(size=(len(topics), 16))
    return (CENTRES[list(topics)] + spread * noise).astype(np.float32)


def told(topics: Sequence[int], *, seed: int = 0, first: int = 1) -> Told:
    """Entries of these topics, in this order."""
    return Told(
        event_ids=np.arange(first, first + len(topics)),
        vectors=vectors_of(topics, seed=seed),
        weights=np.ones(len(topics), np.float32),
        categories=[TOPICS[topic] for topic in topics],
        words=[f"Story {TOPICS[topic].lower()}" for topic in topics],
    )


def head(entries: Told, length: int) -> Told:
    return Told(
        event_ids=entries.event_ids[:length],
        vectors=entries.vectors[:length],
        weights=entries.weights[:length],
        categories=entries.categories[:length],
        words=entries.words[:length],
    )


def grown(entries: Told, lengths: Sequence[int], *, before: Profile = EMPTY) -> Profile:
    """The profile after a history grew to each of these lengths."""
    for length in lengths:
        before = renewed(before, head(entries, length), space="here")
    return before


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "device", keys="file") as made:
        yield made


MIXED = [0, 1, 2, 3] * 8


def test_interests_are_those_that_the_history_was_made_of() -> None:
    profile = renewed(EMPTY, told(MIXED), space="here")
    assert sorted(cluster.name for cluster in profile.clusters) == sorted(TOPICS)
    assert [cluster.share for cluster in profile.clusters] == [0.25] * 4


def test_the_largest_interest_comes_first() -> None:
    profile = renewed(EMPTY, told([0] * 12 + [1] * 8 + [2] * 6), space="here")
    shares = [cluster.share for cluster in profile.clusters]
    assert shares == sorted(shares, reverse=True)


def test_a_person_without_history_has_no_interests() -> None:
    profile = renewed(EMPTY, told([]), space="here")
    assert profile.clusters == ()
    assert profile.of(CENTRES).tolist() == [0] * 4
    assert not profile.muted(CENTRES).any()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 50))
def test_every_entry_is_in_exactly_one_interest_and_shares_add_up(topics: list[int], seed: int) -> None:
    profile = renewed(EMPTY, told(topics, seed=seed), space="here")
    numbers = sorted(number for cluster in profile.clusters for number in cluster.event_ids)
    assert numbers == list(range(1, len(topics) + 1))
    assert sum(cluster.share for cluster in profile.clusters) == pytest.approx(1, abs=1e-3)
    assert len(profile.clusters) <= MOST
    names = [cluster.name for cluster in profile.clusters]
    assert len(set(names)) == len(names)
    assert all(names)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 50))
def test_the_same_history_has_the_same_interests(topics: list[int], seed: int) -> None:
    one, other = (renewed(EMPTY, told(topics, seed=seed), space="here") for _ in range(2))
    assert one == other
    assert one.centroids.tobytes() == other.centroids.tobytes()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 50))
def test_a_profile_of_an_unchanged_history_does_not_change(topics: list[int], seed: int) -> None:
    once = renewed(EMPTY, told(topics, seed=seed), space="here")
    again = once
    for _ in range(3):
        again = renewed(again, told(topics, seed=seed), space="here")
    assert {cluster.id for cluster in again.clusters} >= {cluster.id for cluster in once.clusters}
    assert renewed(again, told(topics, seed=seed), space="here") == again


def test_an_interest_keeps_its_identity_while_the_history_grows() -> None:
    entries = told(MIXED * 3)
    before = grown(entries, [32])
    after = grown(entries, range(33, 97), before=before)
    # Every interest of before still holds what it held, under its id.
    for cluster in before.clusters:
        (same,) = (each for each in after.clusters if each.id == cluster.id)
        kept = set(cluster.event_ids) & set(same.event_ids)
        others = [set(cluster.event_ids) & set(each.event_ids) for each in after.clusters if each.id != cluster.id]
        assert len(kept) >= max(len(other) for other in others)
        assert same.name == cluster.name


def test_an_id_is_never_given_twice() -> None:
    entries = told([0] * 20 + [1] * 20)
    both = grown(entries, [20, 40])
    shrunk = renewed(both, head(entries, 2), space="here")
    again = renewed(shrunk, entries, space="here")
    gone = {cluster.id for cluster in both.clusters} - {cluster.id for cluster in shrunk.clusters}
    assert gone
    assert not gone & {cluster.id for cluster in again.clusters}


def test_interests_are_found_again_in_another_space() -> None:
    entries = told(MIXED)
    before = renewed(EMPTY, entries, space="here")
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))[0].astype(np.float32)
    after = renewed(before, replace(entries, vectors=entries.vectors @ turn), space="there")
    assert after.space == "there"
    assert {(cluster.id, cluster.name, cluster.event_ids) for cluster in after.clusters} == {
        (cluster.id, cluster.name, cluster.event_ids) for cluster in before.clusters
    }


def test_the_space_is_that_of_the_encoder_and_the_whitening() -> None:
    small, same_encoder = a_world(20).index, a_world(20, seed=4).index
    assert space_of("encoder", small.whitening) == space_of("encoder", small.whitening)
    assert space_of("encoder", small.whitening) != space_of("another", small.whitening)
    assert space_of("encoder", small.whitening) != space_of("encoder", same_encoder.whitening)


def test_two_interests_of_one_category_get_words_of_their_own() -> None:
    topics = [0] * 8 + [1] * 8
    words = ["Ships"] * 8 + ["Planes"] * 8
    entries = replace(told(topics), categories=["Comedy"] * 16, words=words)
    names = {cluster.name for cluster in renewed(EMPTY, entries, space="here").clusters}
    assert "Comedy" in names
    assert names & {"Comedy: ships", "Comedy: planes"}


def test_without_categories_words_name_an_interest() -> None:
    entries = replace(told([0] * 3), categories=[None] * 3, words=["calm boats", "boats ahoy", "fast boats"])
    assert [cluster.name for cluster in renewed(EMPTY, entries, space="here").clusters] == ["Boats"]
    nameless = replace(entries, words=["", "1984", "12"])
    assert [cluster.name for cluster in renewed(EMPTY, nameless, space="here").clusters] == ["Interest 1"]


def test_a_profile_survives_a_restart_and_a_computation(tmp_path: Path) -> None:
    with Store.create(tmp_path / "device", keys="file") as store:
        made = profile_now(store, told(MIXED), space="here")
        rename(store, made.clusters[1].id, "  By   the shore ")
        mute(store, made.clusters[0].id, muted=True)
    with Store.open(tmp_path / "device", keys="file") as store:
        again = profile_now(store, told(MIXED), space="here")
        by_id = {cluster.id: cluster for cluster in again.clusters}
        assert by_id[made.clusters[1].id].name == "By the shore"
        assert by_id[made.clusters[0].id].muted
        assert stored_profile(store) == again


def test_an_unchanged_profile_is_not_written_again(store: Store) -> None:
    profile_now(store, told(MIXED), space="here")
    with Store.open(store.folder, keys="file") as other:
        version = other.data_version()
        profile_now(store, told(MIXED), space="here")
        assert other.data_version() == version


def test_an_empty_name_brings_the_automatic_one_back(store: Store) -> None:
    made = profile_now(store, told(MIXED), space="here")
    first = made.clusters[0]
    rename(store, first.id, "Mine")
    rename(store, first.id, "")
    again = profile_now(store, told(MIXED), space="here")
    assert next(cluster for cluster in again.clusters if cluster.id == first.id).name == first.name


@pytest.mark.parametrize("name", ["x" * 61, "bell\x07", "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused(store: Store, name: str) -> None:
    made = profile_now(store, told(MIXED), space="here")
    with pytest.raises(DataError, match="printed"):
        rename(store, made.clusters[0].id, name)


def test_an_interest_that_is_not_there_cannot_be_named_or_muted(store: Store) -> None:
    with pytest.raises(DataError, match="no such interest"):
        rename(store, 1, "Mine")
    profile_now(store, told(MIXED), space="here")
    with pytest.raises(DataError, match="no such interest"):
        mute(store, 99, muted=True)


def test_muting_an_interest_takes_out_its_items_and_no_others(store: Store) -> None:
    made = profile_now(store, told(MIXED), space="here")
    sea = next(cluster for cluster in made.clusters if cluster.name == "Sea")
    profile = mute(store, sea.id, muted=True)
    items = vectors_of(MIXED * 3, seed=9)
    assert profile.muted(items).tolist() == [topic == 0 for topic in MIXED * 3]
    assert not mute(store, sea.id, muted=False).muted(items).any()


def test_what_is_far_from_everything_belongs_to_no_interest(store: Store) -> None:
    made = profile_now(store, told([0] * 6), space="here")
    profile = mute(store, made.clusters[0].id, muted=True)
    away = np.array([-CENTRES[0], np.zeros(16)], dtype=np.float32)
    assert profile.of(away).tolist() == [0, 0]
    assert not profile.muted(away).any()


def test_a_muted_interest_neither_moves_nor_vanishes() -> None:
    entries = told([0] * 10 + [1] * 30)
    made = grown(entries, [10])
    silent = replace(made, clusters=tuple(replace(cluster, muted=True) for cluster in made.clusters))
    after = grown(entries, range(11, 41), before=silent)
    for cluster in silent.clusters:
        (same,) = (each for each in after.clusters if each.id == cluster.id)
        np.testing.assert_array_equal(same.centroid, cluster.centroid)
    emptied = renewed(after, replace(told([1] * 5), event_ids=np.arange(900, 905)), space="here")
    assert {cluster.id for cluster in silent.clusters} <= {cluster.id for cluster in emptied.clusters}
