"""What a budget report says of sums under masks: what they rest on, and the rounds that paid and gave none."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fedrec.privacy.plan import PrivacyPlan, SecureSum
from fedrec.privacy.spends import SkellamSpend, spend_of
from fedrec.reporting.figures import number
from fedrec.reporting.privacy.evidence import Event, Evidence, part
from fedrec.secagg.planned import parameters_of

Facts = dict[str, Any]
# Failures of a round's record after which nothing of it was released, and what they say.
_WITHOUT_SUM = {
    "too_few": "too few clients were left, and no sum was used",
    "ruined": "what clients sent did not fit together, and nothing was unmasked",
    "implausible": "the sum was unmasked, no honest cohort gives such a one, and it was dropped",
}
ENROLMENT = (
    "The server is not trusted with updates. Whoever enrols devices is trusted with who they are: one that enrols "
    "devices of its own passes the share that may collude, and the guarantee with it. Whoever can read the directory "
    "can count the devices in it."
)
ONE_CLIENT = (
    "One client that sends nonsense ruins a round, and masks hide which; the round is charged and reported, and gives "
    "nothing. Within what an honest cohort could give, one client can move a sum unseen."
)


def masks_section(evidence: Evidence, plan: PrivacyPlan) -> Facts | None:
    """The cohort, the grid and the assumption that sums under masks rest on; None where there are no masks."""
    summed = plan.secure_sum
    if summed is None:
        return None
    agreed = parameters_of(summed)
    return {
        "clients": summed.clients,
        "neighbours": agreed.neighbours,
        "threshold": agreed.threshold,
        "drop_out": summed.drop_out,
        "dropouts": agreed.dropouts,
        "corruption": summed.corruption,
        "corrupt": agreed.corrupt,
        "least_honest": summed.least_honest,
        "least_survivors": max(agreed.least_survivors, evidence.scenario.federation.min_replies),
        "bits": summed.bits,
        "steps": summed.steps,
        "step": summed.norm / summed.steps,
        "size": summed.size,
        "norm": summed.norm,
        "share_variance": plan.share_variance,
        **_of_delta(evidence.events, summed),
        "rounds_without_sum": _rounds_without_sum(evidence),
        "enrolment": ENROLMENT,
        "one_client": ONE_CLIENT,
    }


def without_sum(evidence: Evidence) -> Mapping[int, str]:
    """The rounds on record that gave no sum, and why; a round that has none may have been paid for as if it had."""
    if evidence.plan is None or evidence.plan.secure_sum is None:
        return {}
    found: dict[int, str] = {}
    for record in evidence.rounds:
        failures = part(record, "failures")
        why = next((each for each in _WITHOUT_SUM if number(failures.get(each))), None)
        if why and isinstance(record.get("round"), int) and not number(record.get("update_norm")):
            found[record["round"]] = why
    return found


def realised_std(event: Event, plan: PrivacyPlan) -> float:
    """Standard deviation of an entry's noise on each coordinate of a sum, at least."""
    spend = spend_of(event)
    if isinstance(spend, SkellamSpend) and plan.secure_sum is not None:
        return math.sqrt(spend.variance) * plan.secure_sum.norm / plan.secure_sum.steps
    return spend.noise_multiplier * float(event["clip_norm"])


def _rounds_without_sum(evidence: Evidence) -> list[Facts]:
    found = without_sum(evidence)
    charged = dict.fromkeys(found, 0)
    for event in evidence.events:
        if event["round"] in found:
            charged[event["round"]] += len(event["participants"])
    return [{"round": each, "why": _WITHOUT_SUM[why], "charges": charged[each]} for each, why in found.items()]


def _of_delta(events: Iterable[Event], summed: SecureSum) -> Facts:
    """What of delta is kept back of whoever was charged most often: for small sums, and for the sampler's rounding."""
    times: dict[int, list[SkellamSpend]] = {}
    for event in events:
        spend = spend_of(event)
        if isinstance(spend, SkellamSpend):
            for client in event["participants"]:
                times.setdefault(client, []).append(spend)
    failures = [sum(each.failure for each in own) for own in times.values()]
    variations = [sum(each.total_variation for each in own) for own in times.values()]
    return {
        "failure": summed.failure,
        "total_variation": summed.total_variation,
        "failure_spent": max(failures, default=0.0),
        "total_variation_spent": max(variations, default=0.0),
    }
