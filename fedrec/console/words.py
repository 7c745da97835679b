"""What the console says of a round in plain words; numbers of devices only as `groups` lets them be shown."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from fedrec.console.groups import Count
from fedrec.registry.status import RoundStatus

OTHER = "other"
# Codes of failed replies; any other one is counted under `other`, so that no client invents labels.
FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "timeout": "no answer in time",
        "unanswered": "no answer",
        "not_needed": "not waited for: enough others had answered",
        "unreachable": "out of reach",
        "client_error": "the program failed",
        "crashed": "the program failed",
        "malformed": "unreadable",
        "empty": "without an update",
        "contradictory": "an update and a refusal in one",
        "unsound": "not finite, or of the wrong size",
        "over_norm": "over the norm bound",
        "duplicate": "a second answer",
        "not_asked": "was not asked",
        "BudgetError": "its own budget is used up",
        "RefusedError": "said no",
        "VerificationError": "could not verify the round",
        "LayoutError": "has another model",
        "DataError": "has data that cannot be used",
        "ConfigError": "does not accept the settings",
        "UnsafeUpdateError": "made no sound update",
        OTHER: "other reasons",
    }
)
FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "overflow": "the mean was not finite: the round moved nothing",
        "empty_group": "a group of the median had no sound reply",
    }
)
PHASES = ("waiting", "asking", "noising", "publishing", "paused", "stopped", "done", "failed")
# What of a round's own line is about devices; the rest of its numbers are rounds, hours and settings.
_DEVICES = r"(?:of|that|nodes?|clients?|devices?|repl(?:y|ies)|answers?|sound)\b"


def title(status: RoundStatus, *, connected: Count, replies: Count) -> str:
    """The state of a round in one line."""
    of = f"{status.needed:,}"
    titles = {
        "waiting": _waiting(status, connected),
        "asking": f"Round {status.round} is under way: {_answered(replies, of)}",
        "noising": f"Round {status.round}: adding up",
        "publishing": f"Round {status.round}: publishing",
        "paused": "Paused",
        "stopped": "Stopped",
        "done": f"All {status.rounds} rounds are done",
        "failed": "Failed",
    }
    return titles.get(status.phase, "Unknown")


def without_counts(message: str, *, smallest: int) -> str:
    """A line of the rounds, in which a number of devices below the smallest group only says so.

    >>> without_counts("waiting for 3 of 40 nodes in round 2", smallest=5)
    'waiting for <5 of 40 nodes in round 2'
    """

    def blurred(found: re.Match[str]) -> str:
        return f"<{smallest}" if 0 < int(found[1]) < smallest else found[1]

    return re.sub(rf"(?<![\w.,<])(\d{{1,9}})(?=\s+{_DEVICES})", blurred, message)


def failure_code(code: str) -> str:
    """A code of ours, or `other`."""
    return code if code in FAILURES else OTHER


def _waiting(status: RoundStatus, connected: Count) -> str:
    """What is waited for: the service's own start, devices, or the hour that the detail names."""
    if not status.needed:
        return "Starting"
    if connected.at_least >= status.needed:
        return f"Round {status.round} has not begun"
    if connected.value is None:
        return f"Waiting for {status.needed:,} devices: fewer than {connected.words[1:]} are there"
    return f"Waiting for devices: {connected.words} of {status.needed:,}"


def _answered(replies: Count, of: str) -> str:
    """The number of replies as far as it may be said."""
    return f"{replies.words} of {of} answers" if replies.at_least else "answers come in"
