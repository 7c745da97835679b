"""Filters: what was acted upon, hidden, blocked or muted is not recommended, and nothing else is missing."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.entries import PositiveRule
from fedrec.data.events import NEGATIVE_KINDS, TEXT_KINDS, Kind
from fedrec.ondevice.filters import REFUSED_KINDS, SEEN_KINDS, close, open_items, removed_codes


def test_what_training_counts_as_a_positive_is_seen() -> None:
    assert set(PositiveRule().kinds) == SEEN_KINDS


def test_nothing_that_says_no_is_seen_and_what_is_only_looked_at_is_neither() -> None:
    assert REFUSED_KINDS | {Kind.SKIP} == NEGATIVE_KINDS
    assert not SEEN_KINDS & NEGATIVE_KINDS
    assert set(Kind) - SEEN_KINDS - NEGATIVE_KINDS == {Kind.VIEW, *TEXT_KINDS}


@given(
    st.integers(1, 30).flatmap(
        lambda items: st.tuples(
            st.just(items),
            st.lists(st.integers(0, items - 1)),
            st.lists(st.integers(-1, 3), min_size=items, max_size=items),
            st.lists(st.integers(-1, 3), min_size=items, max_size=items),
            st.sets(st.integers(0, 3)),
            st.sets(st.integers(0, 3)),
            st.lists(st.booleans(), min_size=items, max_size=items),
        )
    )
)
def test_the_mask_equals_a_loop_over_the_items(
    world: tuple[int, list[int], list[int], list[int], set[int], set[int], list[bool]],
) -> None:
    items, closed, categories, providers, topics, blocked, muted = world
    names = ("0", "1", "2", "3")
    mask = open_items(
        items,
        closed=closed,
        categories=np.array(categories),
        muted_topics=removed_codes(names, {str(each) for each in topics}),
        providers=np.array(providers, dtype=np.int32),
        blocked_providers=removed_codes(names, {str(each) for each in blocked}),
        muted=np.array(muted),
    )
    expected = [
        row not in closed and categories[row] not in topics and providers[row] not in blocked and not muted[row]
        for row in range(items)
    ]
    assert mask.tolist() == expected


def test_an_item_without_a_topic_stays_when_every_topic_is_muted() -> None:
    muted = removed_codes(("a", "b"), {"a", "b", "gone with the last release"})
    assert open_items(3, categories=np.array([0, -1, 1]), muted_topics=muted).tolist() == [False, True, False]


def test_rows_closed_one_by_one_make_the_mask_made_anew() -> None:
    mask = open_items(5)
    for row in (1, 3, 3):
        close(mask, [row])
    assert mask.tolist() == open_items(5, closed=np.array([3, 1])).tolist()


def test_a_mask_over_a_hundred_thousand_items_takes_milliseconds() -> None:
    # Measured: .3 ms on one core; the bound leaves room for a busy machine.
    generator = np.random.default_rng(0)
    codes = generator.integers(-1, 20, 100_000).astype(np.int32)
    muted = removed_codes([str(code) for code in range(20)], {"3"})
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        open_items(100_000, closed=np.arange(300), categories=codes, muted_topics=muted)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.005
