"""How long events are kept: a number of days for all, and others for some kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedrec.data.events import Kind
from fedrec.errors import DataError

# The name of the setting in the store: {"days": 365, "kinds": {"search": 30}}.
RETENTION = "retention"
DAY_SECONDS = 86_400
# What was shown only serves to not show it again and again.
SHOWN_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """days: for every kind that has no days of its own in `kinds`; None keeps for ever."""

    days: int | None = None
    kinds: Mapping[Kind, int | None] = field(default_factory=dict)

    def oldest_kept(self, kind: Kind, *, now: int) -> int | None:
        """The first second whose events of this kind are kept; None where all are."""
        days = self.kinds.get(kind, self.days)
        return None if days is None else now - days * DAY_SECONDS

    def as_setting(self) -> dict[str, Any]:
        """The form in which the store keeps it; raises DataError for days that are none."""
        setting = {"days": self.days, "kinds": {kind.value: days for kind, days in self.kinds.items()}}
        retention_of(setting)
        return setting


def retention_of(setting: Any) -> Retention:
    """The retention that a setting asks for; DataError names what is wrong with it.

    >>> retention_of({"days": 365, "kinds": {"search": 30}}).oldest_kept(Kind.SEARCH, now=2_592_000)
    0
    """
    if setting is None:
        return Retention()
    try:
        kinds = {Kind(kind): _days(days) for kind, days in setting.get("kinds", {}).items()}
        unknown = setting.keys() - {"days", "kinds"}
        if unknown:
            raise ValueError(sorted(unknown)[0])
        return Retention(days=_days(setting.get("days")), kinds=kinds)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f'The setting {RETENTION} is wrong ({error}). Use {{"days": 365, "kinds": {{"search": 30}}}}; null keeps.'
        ) from None


def _days(days: object) -> int | None:
    if days is not None and (isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 36_500):
        raise ValueError(f"{days!r} is not a number of days from 1 to 36500")
    return days
