"""What was turned down pushes like items away: at once, less and less, and not after a change of mind."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.events import NEGATIVE_KINDS
from fedrec.data.sequences import Floats
from fedrec.ondevice.turned_down import FADES, TURNED_DOWN, pushes

# Of each entry: its item, and whether it was turned down.
HISTORIES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30)


def pushed(history: list[tuple[int, bool]]) -> Floats:
    down = np.array([each for _, each in history], dtype=bool)
    rows = np.array([row for row, _ in history], dtype=np.int64)
    return pushes(down.astype(np.float32), rows, (~down).astype(np.float32))


def test_every_negative_kind_pushes() -> None:
    assert set(TURNED_DOWN) == NEGATIVE_KINDS
    assert min(TURNED_DOWN.values()) > 0


@given(HISTORIES)
def test_it_equals_a_loop_over_the_entries(history: list[tuple[int, bool]]) -> None:
    expected = []
    for place, (row, down) in enumerate(history):
        liked_later = [later for later, again in history[place + 1 :] if not again]
        expected.append(FADES ** len(liked_later) if down and row not in liked_later else 0.0)
    np.testing.assert_allclose(pushed(history), expected, rtol=1e-5)


@given(HISTORIES, st.integers(0, 5))
def test_turning_down_one_more_lowers_what_is_like_it_and_lets_nothing_else_off(
    history: list[tuple[int, bool]], row: int
) -> None:
    np.testing.assert_array_equal(pushed([*history, (row, True)]), [*pushed(history), 1])


def test_what_says_nothing_does_not_age_what_was_turned_down() -> None:
    strengths, rows = np.float32([1, 0, 0]), np.array([7, 8, 9])
    assert pushes(strengths, rows, np.float32([0, 0, 0])).tolist() == [1, 0, 0]
    assert pushes(strengths, rows, np.float32([0, 1, 0]))[0] == np.float32(FADES)
