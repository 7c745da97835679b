"""What a device may agree to: a plan that came from outside, checked field by field before anybody says yes."""

import math
from collections.abc import Mapping
from typing import Any

from fedrec.errors import VerificationError
from fedrec.privacy.plan import PrivacyPlan

# Below it one participation gives away more than any sum of many could hide.
_LEAST_NOISE = 0.1
_MOST_DELTA = 1e-4
_MOST_ROUNDS = 1_000_000
_MOST_PARTICIPATIONS = 10_000
_MOST_CLIP = 1e6
_MOST_CLIENTS = 10_000
_MOST_FAILURE = 1e-9


def agreeable_plan(table: Mapping[str, Any]) -> PrivacyPlan:
    """The plan in a table; raises VerificationError for one that protects nobody, or is none."""
    try:
        plan = PrivacyPlan.from_table(table)
    except (KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"The release's privacy plan cannot be read ({type(error).__name__}).") from None
    for wrong in (_wrong_in_general(plan), _wrong_in_mode(plan)):
        if wrong:
            raise VerificationError(
                f"The release's privacy plan is not one to agree to: {wrong}. Tell who published it."
            )
    return plan


def _wrong_in_general(plan: PrivacyPlan) -> str:
    """What is wrong with what every plan has; empty where nothing is."""
    limits = plan.limits
    noises = [plan.noise_multiplier]
    if plan.metrics_noise is not None:
        noises.append(plan.metrics_noise)
    if plan.popularity is not None:
        noises.append(plan.popularity.noise_multiplier)
    checks = {
        "its mode or unit is unknown": plan.mode in ("central", "local", "distributed")
        and plan.unit in ("USER", "SEGMENT"),
        f"a noise_multiplier is under {_LEAST_NOISE:g}": all(_is_real(each, _LEAST_NOISE, 1e9) for each in noises),
        "its clip_norm is no bound": _is_real(plan.clip_norm, 1e-9, _MOST_CLIP),
        f"its delta is not between 0 and {_MOST_DELTA:g}": _is_real(plan.delta, 1e-30, _MOST_DELTA),
        "its cap is no number of rounds": _is_count(limits.cap, _MOST_PARTICIPATIONS),
        "its rounds are no number": _is_count(limits.rounds, _MOST_ROUNDS),
        "its separation is no number of rounds": _is_count(limits.separation, _MOST_ROUNDS),
        "its cohort_rate is no probability": plan.cohort_rate is None or _is_real(plan.cohort_rate, 1e-9, 1.0),
        "its noise reaches over more rounds than clients rest": _is_count(plan.bands, _MOST_ROUNDS)
        and plan.bands <= limits.separation,
        "its popularity release counts no items": plan.popularity is None or _is_count(plan.popularity.items, 10_000),
    }
    return next((wrong for wrong, right in checks.items() if not right), "")


def _wrong_in_mode(plan: PrivacyPlan) -> str:
    """What is wrong with what its mode asks for."""
    if plan.mode == "central":
        if plan.secure_sum is not None:
            return "central mode sees updates, which masks would hide"
        return "central mode protects a USER, in one step" if plan.unit != "USER" or plan.local is not None else ""
    masks = _wrong_masks(plan)
    if masks or plan.mode == "distributed":
        return masks or _wrong_in_distributed(plan)
    local = plan.local
    if local is None or plan.unit != "SEGMENT":
        return "local mode on a person's device protects a SEGMENT, in steps that it names"
    checks = {
        # Nobody would noise them: the server adds nothing in this mode.
        "local mode releases no popularity and no metrics": plan.popularity is None and plan.metrics_noise is None,
        "its steps are no number": _is_count(local.steps, 10_000),
        "its sampling_rate is no probability": _is_real(local.sampling_rate, 1e-9, 1.0),
        "its expected_batch is no size": _is_real(local.expected_batch, 1e-9, 1e9),
        "its segment_days are no number": _is_count(local.segment_days, 36_500),
    }
    return next((wrong for wrong, right in checks.items() if not right), "")


def _wrong_in_distributed(plan: PrivacyPlan) -> str:
    """What is wrong with a plan whose clients noise their sum together."""
    checks = {
        "distributed mode adds up under masks": plan.secure_sum is not None,
        "distributed mode protects a USER, in one step": plan.unit == "USER" and plan.local is None,
        "distributed mode releases no popularity and no metrics": plan.popularity is None
        and plan.metrics_noise is None,
        "noise of many clients is correlated over no rounds": plan.bands == 1,
    }
    return next((wrong for wrong, right in checks.items() if not right), "")


def _wrong_masks(plan: PrivacyPlan) -> str:
    """What is wrong with how updates are summed under masks, if they are; see `fedrec.secagg.planned` for the rest."""
    total = plan.secure_sum
    if total is None:
        return ""
    checks = {
        "its cohort is no number of clients": _is_count(total.clients, _MOST_CLIENTS),
        "its drop_out is no share": _is_real(total.drop_out, 0.0, 0.5),
        "its corruption is no share": _is_real(total.corruption, 0.0, 0.5),
        "its size is no number": _is_count(total.size, 2**24),
        "its norm is no bound": _is_real(total.norm, 1e-9, _MOST_CLIP),
        "its grid has no steps": _is_count(total.steps, 2**16),
        "its words have no bits": _is_count(total.bits, 32),
        "its least honest count is no number": _is_count(total.least_honest, _MOST_CLIENTS),
        "its failure is no small probability": _is_real(total.failure, 0.0, _MOST_FAILURE),
        "its total variation is no small probability": _is_real(total.total_variation, 0.0, _MOST_FAILURE),
    }
    return next((wrong for wrong, right in checks.items() if not right), "")


def _is_real(value: object, least: float, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and least <= value <= most


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
