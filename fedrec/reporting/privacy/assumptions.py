"""What an epsilon rests on, one line each, with what the records of the run show for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import spend_of
from fedrec.privacy.statement import participations
from fedrec.reporting.figures import delta_text
from fedrec.reporting.privacy.evidence import Evidence
from fedrec.reporting.privacy.masks import ENROLMENT
from fedrec.secagg.planned import parameters_of

# met, not met: the records show it. by construction: the program does so, records cannot show it.
# assumed: only people can know it.
State = Literal["met", "not met", "by construction", "assumed"]
LARGEST_DELTA = 1e-6
NOTHING_OWED = "The server has no reply that is not charged"


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing that has to hold; `essential` where without it there is no guarantee at all."""

    assumption: str
    state: State
    evidence: str
    essential: bool = False

    def as_json(self) -> dict[str, Any]:
        """Its form in the report."""
        return asdict(self)


def assumptions(evidence: Evidence, plan: PrivacyPlan, *, cross_check: str) -> list[Assumption]:
    """Every assumption behind the epsilon of a run.

    cross_check: how the two accountants compare, in words; they agreed, or there were no report.
    """
    return [
        secret_noise(evidence),
        _as_planned(evidence.events, plan),
        _sensitivity(plan),
        *([_hold_out()] if plan.unit == "SEGMENT" and not evidence.served else []),
        _sampling(plan),
        *([_secret_coins()] if plan.cohort_rate is not None else []),
        *([_separation(plan)] if plan.bands > 1 else []),
        *([_answers_in_time()] if evidence.scenario.federation.over_selection and plan.mode == "central" else []),
        _cap(evidence, plan),
        _paid_first(evidence),
        _clients_agree(evidence),
        *([_under_way(evidence, plan)] if plan.mode != "central" else []),
        *_under_masks(plan),
        Assumption("Two independent accountants agree", "met", cross_check, essential=True),
        _small_delta(plan.delta, people(evidence)),
        Assumption(
            "One person is one client" if evidence.scenario.data.users_per_client == 1 else "One person is on one hub",
            "assumed",
            _ENROLLED if evidence.served else "the data set's user ids; whoever has two is two people here",
        ),
        Assumption(
            "No other run on the same people is left out",
            "assumed",
            "only runs that were named are added; trials with other settings count as runs"
            + (
                ", and so do other catalogues of the service that the same people take part in"
                if evidence.served
                else ""
            ),
        ),
        _exactness(plan),
    ]


_ENROLLED = (
    "an operator enrolled each device; a person with several devices, or one that was enrolled again as a new one, is "
    "several clients here, each of which spends by itself"
)


def secret_noise(evidence: Evidence) -> Assumption:
    """Whether every entry says that its noise came from the operating system."""
    entries = [*evidence.events, *(event for events in evidence.clients.values() for event in events)]
    seeded = sum(event.get("guarantee") is False for event in entries)
    asked = evidence.scenario.privacy.noise == "system"
    text = f"{len(entries) - seeded:,} of {len(entries):,} ledger entries, clients' included; the settings say "
    return Assumption(
        "The noise is secret: keyed by the operating system, never by a seed",
        "met" if asked and not seeded else "not met",
        text + f"noise = {evidence.scenario.privacy.noise}",
        essential=True,
    )


def _under_masks(plan: PrivacyPlan) -> list[Assumption]:
    """What the noise of `distributed` mode rests on: the parties of a cohort, and that sums are of enough of them."""
    summed = plan.secure_sum
    if summed is None or plan.mode != "distributed":
        return []
    agreed = parameters_of(summed)
    sure = (
        f"but with probability {summed.failure:.2g} for each attempt at a round that is charged, inside delta; a "
        "hostile server that gives attempts up and begins others has more"
        if summed.failure
        else "always"
    )
    # Whoever colludes is not counted; where nobody does, one that looks is not.
    besides = "" if agreed.corrupt else "; one that looks at a release and knows its own share is not counted"
    return [
        Assumption(
            f"At most {agreed.corrupt} of a cohort of {summed.clients} collude with the server "
            f"({100 * summed.corruption:g}%)",
            "assumed",
            "no record shows who colludes. With more, fewer honest shares of the noise may be in a sum than epsilon is "
            "computed for. The server draws the cohorts and may ask its friends: the number is one for all who are "
            f"enrolled. {ENROLMENT}",
        ),
        Assumption(
            f"Any sum that the server can learn has the noise of at least n_min = {summed.least_honest} honest clients",
            "by construction",
            f"{sure}: clients draw their neighbours, and reveal nothing before {agreed.threshold} of their own "
            f"{agreed.neighbours} have told them that they take them for survivors{besides}",
        ),
        Assumption(
            "Clients have the true identity keys of the enrolled devices",
            "assumed",
            "each pins the directory, and takes over a later one between rounds alone, under the signature of the "
            "releases' signer; it tells its owner how many keys of devices that it knew have changed in it. Whoever "
            "holds the signer's key can put keys of its own there",
        ),
        Assumption(
            "The bound on Skellam's divergences holds between whole orders",
            "by construction",
            "it is fedrec's own (fedrec/privacy/skellam.py has the derivation, its tests hold it against exact sums); "
            "epsilon by the published bound at whole orders stands beside it",
        ),
    ]


def _exactness(plan: PrivacyPlan) -> Assumption:
    if plan.mode == "distributed" and plan.secure_sum is not None:
        return Assumption(
            "The noise is exactly Skellam",
            "met",
            "it is drawn in whole numbers; all shares of a round are within "
            f"{plan.secure_sum.total_variation:.2g} of it in total variation, which is inside delta",
        )
    return Assumption(
        "The noise is exactly Gaussian",
        "not met",
        "it is drawn in float64 (Box-Muller): its grid is not hidden (Mironov 2012)",
    )


def _as_planned(events: Sequence[Mapping[str, Any]], plan: PrivacyPlan) -> Assumption:
    updates = [event for event in events if event["kind"] == "update"]
    planned = sum(spend_of(event) == plan.participation and event["clip_norm"] == plan.clip_norm for event in updates)
    return Assumption(
        "Every round used the mechanism that the settings name",
        "met" if planned == len(updates) else "not met",
        f"{planned:,} of {len(updates):,} entries; epsilon is computed from the entries, not from the settings",
    )


def _sensitivity(plan: PrivacyPlan) -> Assumption:
    what = "the gradient of one unit" if plan.local else "a client's whole update"
    if plan.mode == "distributed" and plan.secure_sum is not None:
        longer = math.sqrt(plan.secure_sum.norm_squared) / plan.secure_sum.steps
        return Assumption(
            f"One client's update moves a sum by at most {longer:.6g} C, C = {plan.clip_norm:g}",
            "by construction",
            f"{what} is clipped to C and rounded at random to a grid of {plan.secure_sum.steps:,} steps to C, again "
            "where it comes out longer; epsilon is computed from the rounded norm. An honest client does so itself: "
            "under masks nobody else can",
        )
    return Assumption(
        f"One unit of the training data moves a noised sum by at most C = {plan.clip_norm:g}",
        "by construction",
        f"{what} is clipped to C; weights are equal, and the divisor is a constant of the settings",
    )


def _hold_out() -> Assumption:
    """A simulation scores people on what it holds out; a device holds nothing out."""
    return Assumption(
        "What a simulation holds out is fixed before the intervals are looked at",
        "not met",
        "two items of each person are held out, chosen over the whole history: what one interval holds decides what "
        "another one trains on, and one interval moved the sum by 1.45 C in a trial. The guarantee is for the training "
        "data as they were split; a device holds nothing out",
    )


def _answers_in_time() -> Assumption:
    return Assumption(
        "When a device answers does not depend on what its owner did",
        "not met",
        "with over_selection a round closes at its cohort, and how long a device computes depends a little on how long "
        "its history is: an answer that comes sooner keeps one other out. Both together move a sum by 2 C at most: "
        "where an answer's time is held against epsilon, the replace-one figure bounds it",
    )


def _sampling(plan: PrivacyPlan) -> Assumption:
    if plan.participation.sampling_rate == 1:
        return Assumption(
            "Nothing is claimed for who was drawn",
            "met",
            "sampling rate 1 in the accounting: everybody may know who took part",
        )
    return Assumption(
        "Units enter a step by secret Poisson coins",
        "by construction",
        f"the client draws them with rate {plan.participation.sampling_rate:g} from the source of its noise; "
        "nothing is claimed for the server's draw of clients",
    )


def _secret_coins() -> Assumption:
    return Assumption(
        "For the figure beside the headline alone: nobody else learns who was drawn, or how many",
        "assumed",
        "the ledger, rounds.jsonl, pending.json, result.json and this report tell of it; so does a client that says "
        "when it was asked. The headline needs none of this",
    )


def _separation(plan: PrivacyPlan) -> Assumption:
    return Assumption(
        f"No client takes part twice within {plan.bands} rounds, over which the noise is correlated",
        "met",
        f"every client's rounds in the ledger are at least {plan.bands} apart",
        essential=True,
    )


def _cap(evidence: Evidence, plan: PrivacyPlan) -> Assumption:
    most = max(participations(evidence.events).values(), default=0)
    return Assumption(
        f"No client takes part more than k = {plan.limits.cap} times within this run",
        "met" if most <= plan.limits.cap else "not met",
        f"the client that took part most did so {most} times; clients refuse beyond k, the server does not draw them. "
        + (
            "A device counts all runs that it was in, as long as its store is not erased"
            if evidence.served
            else "A simulation's clients begin a new ledger with every run: earlier runs count in epsilon, not "
            "against k"
        ),
        essential=True,
    )


def _paid_first(evidence: Evidence) -> Assumption:
    return Assumption(
        "Every release was paid for before it was made",
        "met",
        f"the ledger heads of {len(evidence.rounds):,} rounds and {len(evidence.releases):,} signed releases are in "
        "the ledger",
    )


def _clients_agree(evidence: Evidence) -> Assumption:
    what = "No client has spent more than the server's ledger says"
    if not evidence.clients:
        where = "they are on the devices" if evidence.served else "no client's own ledger lies in the folder"
        return Assumption(what, "assumed", where)
    but = "" if evidence.asked is None else f", but for round {evidence.asked}, which is under way"
    held = f"{len(evidence.clients):,} client ledgers, each entry held against the server's{but}"
    return Assumption(what, "met", held, essential=True)


def _under_way(evidence: Evidence, plan: PrivacyPlan) -> Assumption:
    """In `local` mode the server has a reply before it is charged, which is when its round ends."""
    if evidence.asked is None:
        return Assumption(NOTHING_OWED, "met", "whoever was asked, in the last round too, is in the ledger")
    if plan.secure_sum is not None:
        return Assumption(
            NOTHING_OWED,
            "not met",
            f"round {evidence.asked} was asked and is not charged yet. The server charges before a mask comes off; "
            "until then it has words that look random, and whoever was in it may have paid one participation more than "
            "this report says. Let the round end, and report again",
        )
    return Assumption(
        NOTHING_OWED,
        "not met",
        f"round {evidence.asked} was asked and is not charged yet: against the server, whoever was in it may have "
        "spent one participation more than this report says. Let the round end, and report again",
    )


def _small_delta(delta: float, users: int | None) -> Assumption:
    most = largest_delta(users)
    known = "how many people n there are is not in the folder" if users is None else f"n = {users:,} people"
    return Assumption(
        "delta is at most 1e-6 and 1 / (10 n)",
        "met" if delta <= most else "not met",
        f"delta = {delta_text(delta)}; {known}; at most {delta_text(most)}",
    )


def largest_delta(users: int | None) -> float:
    """The largest delta that a report on so many people accepts."""
    return LARGEST_DELTA if users is None else min(LARGEST_DELTA, 1 / (10 * users))


def delta_reason(delta: float, users: int | None) -> str:
    """Why delta is what it is, in words."""
    people_ = "the people of the run" if users is None else f"{users:,} people"
    larger = "" if delta <= largest_delta(users) else ". THIS DELTA IS LARGER"
    return (
        f"the chance that epsilon fails to bound what is learned of one unit; for {people_} it is to be at most "
        f"{delta_text(largest_delta(users))} = min(1e-6, 1 / (10 n)), so that publishing somebody's data never fits "
        f"in it{larger}"
    )


def people(evidence: Evidence) -> int | None:
    """How many people the run was on, where its result says so."""
    users = (evidence.result or {}).get("users")
    return int(users) if isinstance(users, int | float) and math.isfinite(users) and users > 0 else None
