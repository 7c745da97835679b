"""What the privacy of a run cost in quality, where its result measured that."""

from typing import Any

from fedrec.reporting.figures import METRICS, Interval, number
from fedrec.reporting.privacy.evidence import Evidence, part
from fedrec.reporting.summary import TWIN

# Figures of fewer people say more about them than about the model.
SMALLEST_GROUP = 20
_GROUPS = {"hot": "held-out item is popular", "cold": "held-out item is rare"}
NOTE = (
    "Computed by the simulator from raw data, without noise. No epsilon covers these figures: they may not be "
    "published where the data may not."
)


def utility(evidence: Evidence) -> dict[str, Any] | None:
    """The run beside its non-private twin, and by group of at least 20 people; None if nothing was measured."""
    result = evidence.result
    item = next((name for name in ("test", "validation") if part(result, name)), None)
    if item is None:
        return None
    own, twin = part(result, item), part(result, "baselines", TWIN, item)
    groups = {name: part(result, "groups", name) for name in part(result, "groups")}
    shown = {name: group for name, group in groups.items() if (number(group.get("users")) or 0) >= SMALLEST_GROUP}
    return {
        "item": item,
        "note": NOTE,
        "twin_measured": bool(twin),
        "metrics": [
            {"metric": name, "run": _interval(own.get(metric)), "twin": _interval(twin.get(metric))}
            for metric, name in METRICS.items()
            if Interval.parse(own.get(metric))
        ],
        "groups": [
            {
                "group": _GROUPS.get(name, name.replace("_", " ")),
                "people": int(group["users"]),
                "ndcg@10": _interval(group.get("ndcg@10")),
            }
            for name, group in shown.items()
        ],
        "groups_item": "validation",
        "smallest_group": SMALLEST_GROUP,
    }


def _interval(metric: object) -> dict[str, float] | None:
    found = Interval.parse(metric)
    return {"value": found.value, "low": found.low, "high": found.high} if found else None
