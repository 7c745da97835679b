"""What is shown of small groups: not their size, and nothing that subtracting would tell it from."""

from collections.abc import Mapping
from itertools import product

from hypothesis import assume, given
from hypothesis import strategies as st

from fedrec.console.groups import Count, Shares, count, shares, so_far

CODES = ("timeout", "over_norm", "RefusedError", "crashed")
smallest_groups = st.integers(2, 12)
numbers = st.integers(0, 60)
flips = st.booleans()


@st.composite
def rounds(draw: st.DrawFn) -> tuple[int, dict[str, int], int]:
    """Replies, failures by code, and the smallest group."""
    failures = draw(st.dictionaries(st.sampled_from(CODES), numbers, max_size=len(CODES)))
    return draw(numbers), failures, draw(smallest_groups)


def told(replies: int, failures: Mapping[str, int], smallest: int) -> Shares:
    return shares(asked=replies + sum(failures.values()), replies=replies, failures=failures, smallest=smallest)


def every(found: Shares) -> list[Count]:
    return [found.asked, found.replies, *found.failures.values()]


@given(rounds())
def test_no_number_of_a_small_group_is_shown(given: tuple[int, dict[str, int], int]) -> None:
    replies, failures, smallest = given
    for shown in every(told(replies, failures, smallest)):
        assert shown.value is None or shown.value == 0 or shown.value >= smallest
        assert shown.at_least == 0 or shown.at_least >= smallest


@given(rounds())
def test_what_is_shown_is_true(given: tuple[int, dict[str, int], int]) -> None:
    replies, failures, smallest = given
    found = told(replies, failures, smallest)
    for shown, true in [
        (found.replies, replies),
        *((devices, failures[code]) for code, devices in found.failures.items()),
    ]:
        assert shown.value in (None, true)
        assert shown.at_least <= true


@given(st.integers(2, 8), st.sets(st.sampled_from(CODES), min_size=1), st.integers(30, 90), st.data())
def test_every_size_of_a_small_group_looks_the_same(
    smallest: int, small: set[str], replies: int, data: st.DataObject
) -> None:
    """Whoever sees what is shown, and knows who was asked and the rule, cannot tell one size from another."""
    large = {code: data.draw(st.integers(smallest, 60)) for code in CODES if code not in small and data.draw(flips)}
    asked = replies + sum(large.values()) + len(small) * smallest

    def world(sizes: tuple[int, ...]) -> Shares:
        failures = large | dict(zip(sorted(small), sizes, strict=True))
        return told(asked - sum(failures.values()), failures, smallest)

    assert len({repr(world(sizes)) for sizes in product(range(1, smallest), repeat=len(small))}) == 1


@given(rounds())
def test_a_round_of_which_nothing_is_hidden_adds_up(given: tuple[int, dict[str, int], int]) -> None:
    found = told(*given)
    if found.exact:
        assert found.replies.value is not None
        assert found.replies.value + sum(each.value or 0 for each in found.failures.values()) == found.asked.value


@given(numbers, st.integers(1, 200), smallest_groups)
def test_replies_that_come_in_never_tell_more_than_the_finished_round(come: int, of: int, smallest: int) -> None:
    assume(come <= of)
    shown = so_far(come, of=of, smallest=smallest)
    assert shown.at_least <= come
    assert shown.at_least == 0 or shown.at_least >= smallest
    for kinds in range(1, 5):
        lost = dict.fromkeys(CODES[:kinds], 1)
        if come == of - kinds:
            assert shown.at_least <= max(told(come, lost, smallest).replies.at_least, of - kinds * (smallest - 1))


@given(numbers, smallest_groups)
def test_a_single_count_is_exact_or_only_known_to_be_small(devices: int, smallest: int) -> None:
    shown = count(devices, smallest=smallest)
    assert shown.value == (None if 0 < devices < smallest else devices)


def test_devices_that_are_missing_from_a_record_are_unanswered() -> None:
    found = shares(asked=40, replies=30, failures={}, smallest=5)
    assert found.failures["unanswered"].value == 10


def test_what_is_no_device_is_said_in_words_only() -> None:
    found = shares(asked=40, replies=40, failures={"overflow": 1, "duplicate": 2}, smallest=5)
    assert found.faults == ("overflow",)
    assert (found.replies.value, found.failures["duplicate"].value) == (40, None)
