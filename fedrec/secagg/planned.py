"""From a scenario to the plan that everybody holds to, and from a plan back to what it must be made of.

A client takes no number of a sum under masks from its server: neighbours, thresholds, n_min, grid and noise follow
from the cohort, two rates, a size and a norm, and are worked out again here.
"""

import math
from dataclasses import replace

from fedrec.config import Scenario
from fedrec.errors import VerificationError
from fedrec.privacy.plan import Limits, LocalSteps, PopularityRelease, PrivacyPlan, SecureSum
from fedrec.privacy_config import PrivacyConfig
from fedrec.secagg.parameters import Parameters, parameters_for
from fedrec.secagg.ring import Ring, ring_for
from fedrec.secagg.skellam import total_variation


def plan_of(scenario: Scenario) -> PrivacyPlan | None:
    """The plan that a scenario asks for; None where it asks for no privacy."""
    privacy = scenario.privacy
    if privacy.mode == "none":
        return None
    correlated, popularity = scenario.correlated_noise, scenario.popularity
    return PrivacyPlan(
        mode=privacy.mode,
        unit=privacy.unit,
        clip_norm=privacy.clip_norm,
        noise_multiplier=privacy.noise_multiplier,
        delta=privacy.delta,
        limits=Limits(cap=privacy.participations, rounds=scenario.federation.rounds, separation=correlated.separation),
        local=_local_steps(privacy, scenario.training.steps) if privacy.mode == "local" else None,
        bands=correlated.bands,
        popularity=(
            PopularityRelease(items=popularity.items, noise_multiplier=popularity.noise_multiplier)
            if scenario.model.prior == "released"
            else None
        ),
        metrics_noise=scenario.released_metrics.noise_multiplier,
        secure_sum=_secure_sum(scenario) if scenario.is_masked else None,
        # Who is there may depend on what people do, and everybody may see it: then nothing is claimed for coins.
        cohort_rate=scenario.federation.sampling_rate if scenario.availability.pattern == "always" else None,
    )


def secure_sum_for(
    clients: int, *, drop_out: float, corruption: float, size: int, norm: float, noise_multiplier: float
) -> SecureSum:
    """How so many clients' updates are summed under masks; noise_multiplier: 0 where nothing is added on the grid.

    Raises ConfigError where no threshold serves both rates, or no grid holds the sum.
    """
    parameters = parameters_for(clients, drop_out=drop_out, corruption=corruption)
    ring = ring_for(
        clients, clip_norm=norm, size=size, noise_multiplier=noise_multiplier, least_honest=parameters.least_honest
    )
    planned = SecureSum(
        clients=clients,
        drop_out=drop_out,
        corruption=corruption,
        size=size,
        norm=norm,
        steps=ring.steps,
        bits=ring.bits,
        least_honest=parameters.least_honest,
        failure=parameters.failure,
        total_variation=0.0,
    )
    return replace(planned, total_variation=clients * size * total_variation(planned.share_variance(noise_multiplier)))


def require_recomputed(plan: PrivacyPlan) -> None:
    """Raise VerificationError unless the numbers of a plan's secure sum are those that its rates, size and norm give.

    Raises ConfigError where they give none.
    """
    told = plan.secure_sum
    if told is None:
        return
    found = secure_sum_for(
        told.clients,
        drop_out=told.drop_out,
        corruption=told.corruption,
        size=told.size,
        norm=told.norm if plan.mode == "local" else plan.clip_norm,
        noise_multiplier=plan.noise_multiplier if plan.mode == "distributed" else 0.0,
    )
    # Probabilities are sums of logarithms, whose last digits differ between machines.
    if not (
        replace(found, failure=told.failure, total_variation=told.total_variation) == told
        and math.isclose(told.failure, found.failure, rel_tol=1e-6)
        and math.isclose(told.total_variation, found.total_variation, rel_tol=1e-6)
    ):
        raise VerificationError(
            "The plan's n_min, grid or probabilities are not those that its cohort and rates give. Do not take part; "
            "tell who published it."
        )


def parameters_of(secure_sum: SecureSum) -> Parameters:
    """Neighbours and thresholds of a secure sum."""
    return parameters_for(secure_sum.clients, drop_out=secure_sum.drop_out, corruption=secure_sum.corruption)


def ring_of(secure_sum: SecureSum) -> Ring:
    """The grid of a secure sum."""
    return Ring(bits=secure_sum.bits, steps=secure_sum.steps, clip_norm=secure_sum.norm, size=secure_sum.size)


def _secure_sum(scenario: Scenario) -> SecureSum:
    privacy, settings = scenario.privacy, scenario.secure_aggregation
    shared = privacy.mode == "distributed"
    return secure_sum_for(
        scenario.federation.cohort,
        drop_out=settings.drop_out,
        corruption=settings.corruption,
        size=settings.size,
        norm=privacy.clip_norm if shared else scenario.federation.norm_bound or privacy.clip_norm,
        noise_multiplier=privacy.noise_multiplier if shared else 0.0,
    )


def _local_steps(privacy: PrivacyConfig, steps: int) -> LocalSteps:
    return LocalSteps(
        steps=steps,
        sampling_rate=privacy.sampling_rate,
        expected_batch=privacy.expected_batch,
        segment_days=privacy.segment_days,
    )
