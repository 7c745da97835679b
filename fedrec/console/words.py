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
        "timeout": "no answer before the deadline",
        "unanswered": "no answer",
        "not_needed": "not waited for: enough others had answered",
        "unreachable": "could not be reached",
        "client_error": "the device's program failed",
        "crashed": "the device's program failed",
        "malformed": "an answer that cannot be read",
        "empty": "an answer without an update",
        "contradictory": "an update and a refusal in one answer",
        "unsound": "an update that is not finite or has the wrong size",
        "over_norm": "an update over the norm bound",
        "duplicate": "a second answer of the same device",
        "not_asked": "an answer of a device that was not asked",
        "BudgetError": "the device's own privacy budget is used up",
        "RefusedError": "the device or its owner said no",
        "VerificationError": "the device could not verify what it was sent",
        "LayoutError": "another model on the device",
        "DataError": "data on the device that cannot be used",
        "ConfigError": "settings that the device does not accept",
        "UnsafeUpdateError": "the device made no sound update",
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
_DEVICES = r"(?:of|nodes?|clients?|devices?|repl(?:y|ies)|answers?|sound|more|are|is|have|has)\b"


def title(status: RoundStatus, *, connected: Count, replies: Count) -> str:
    """The state of a round in one line."""
    of = f"{status.needed:,}"
    titles = {
        "waiting": f"Waiting for devices: {_there(connected)} of {of}",
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


def _there(connected: Count) -> str:
    return connected.words.replace("<", "fewer than ")


def _answered(replies: Count, of: str) -> str:
    """The number of replies as far as it may be said."""
    return f"{replies.words} of {of} answers" if replies.at_least else "answers come in"
