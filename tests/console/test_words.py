"""What the console says in words: the rounds' own lines, without the size of a small group."""

import pytest

from fedrec.console.groups import count, so_far
from fedrec.console.words import title, without_counts
from fedrec.registry.status import RoundStatus

# As the service writes them.
LINES = {
    "round 3 is waiting for 2 of 40 devices that it had asked, 3 min left; 41 devices are connected": (
        "round 3 is waiting for <5 of 40 devices that it had asked, 3 min left; 41 devices are connected"
    ),
    "Round 2 waited 1 h for 40 devices, and 1 of the 4 that are connected may take part.": (
        "Round 2 waited 1 h for 40 devices, and <5 of the <5 that are connected may take part."
    ),
    "round 4 begins at 2026-01-02 03:04 UTC, in 2 h": "round 4 begins at 2026-01-02 03:04 UTC, in 2 h",
    "Round 3 would spend epsilon 4.03, over the budget of 4. Stop at round 2.": (
        "Round 3 would spend epsilon 4.03, over the budget of 4. Stop at round 2."
    ),
}


def a_status(**changes: object) -> RoundStatus:
    table = {"catalogue": "films", "phase": "waiting", "round": 3, "rounds": 20, "needed": 40, "connected": 27}
    more = {"replies": 0, "message": "", "since": 0, "updated_at": 0}
    return RoundStatus(**{**table, **more, **changes})  # type: ignore[arg-type]


def the_title(**changes: object) -> str:
    status = a_status(**changes)
    replies = so_far(status.replies, of=status.needed, smallest=5)
    return title(status, connected=count(status.connected, smallest=5), replies=replies)


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_rounds_keeps_everything_but_small_groups(line: str) -> None:
    assert without_counts(line, smallest=5) == LINES[line]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Waiting for devices: 27 of 40"),
        ({"connected": 3}, "Waiting for 40 devices: fewer than 5 are there"),
        ({"connected": 0}, "Waiting for devices: 0 of 40"),
        ({"connected": 41}, "Round 3 has not begun"),
        ({"needed": 0, "connected": 0}, "Starting"),
        ({"phase": "asking", "replies": 0}, "Round 3 is under way: answers come in"),
        ({"phase": "asking", "replies": 17}, "Round 3 is under way: 15 or more of 40 answers"),
        ({"phase": "done"}, "All 20 rounds are done"),
    ],
)
def test_the_state_of_a_round_is_one_line(changes: dict[str, object], said: str) -> None:
    assert the_title(**changes) == said
