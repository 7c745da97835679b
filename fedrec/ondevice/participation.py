"""Taking part in training: a switch of the person's, apart from recommending, off until turned on.

Turning it on agrees to ONE privacy plan, that of the signed release: a server that asks
for another is refused until the person agrees again.
"""

from dataclasses import asdict, dataclass, field, replace

from fedrec.config import TrainingConfig
from fedrec.config_file import parse_table
from fedrec.data.store.store import SPENDING, Store
from fedrec.errors import ConfigError, FedrecError, RefusedError, VerificationError
from fedrec.ondevice.device_state import DeviceState
from fedrec.privacy.agreeable import agreeable_plan
from fedrec.privacy.budget import Budget
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy_config import BudgetConfig
from fedrec.release import Manifest
from fedrec.secagg.planned import require_recomputed

_NAME = "participation"
# They outlast an erasure, as the ledger does: the person's own lifetime epsilon, and the least
# delta that was ever agreed to, at which the whole ledger is held against the budget.
LIMIT, DELTA = f"{SPENDING}limit", f"{SPENDING}delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """When the device may train: only if all that are asked for hold."""

    idle: bool = True
    charging: bool = True
    unmetered: bool = True

    def unmet(self, state: DeviceState) -> list[str]:
        """The conditions that do not hold; what nobody knows does not hold."""
        asked = asdict(self)
        return [name for name, asked_for in asked.items() if asked_for and getattr(state, name) is not True]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """What the person decided.

    plan: agreed to; None before the first yes. budget: held by this device, whatever a
    server asks. limit: the person's own lifetime epsilon, which the budget is never over.
    delta: the least that was ever agreed to, so that a laxer plan makes nothing look unspent.
    paused_until: UTC seconds; None runs on.
    """

    on: bool = False
    paused_until: float | None = None
    conditions: Conditions = Conditions()
    plan: PrivacyPlan | None = None
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    limit: float | None = None
    delta: float | None = None
    since: float | None = None

    def paused(self, now: float) -> bool:
        """Whether a pause holds."""
        return self.paused_until is not None and now < self.paused_until

    def limits(self) -> Budget | None:
        """The budget that this device holds itself to; None before the first yes."""
        return Budget.of(self.budget, delta=self.delta or self.plan.delta) if self.plan else None


def participation(store: Store) -> Participation:
    """What the person decided so far; off on a new device."""
    kept = store.value(_NAME)
    guards = {"limit": store.value(LIMIT), "delta": store.value(DELTA)}
    if kept is None:
        return Participation(**guards)
    try:
        return Participation(
            **{name: kept[name] for name in ("on", "paused_until", "since")},
            **guards,
            conditions=Conditions(**kept["conditions"]),
            plan=PrivacyPlan.from_table(kept["plan"]) if kept["plan"] else None,
            budget=parse_table(BudgetConfig, kept["budget"]),
        )
    except (KeyError, TypeError, AttributeError, FedrecError) as error:
        kind = type(error).__name__
        raise VerificationError(f"What was decided about taking part cannot be read ({kind}). Decide again.") from None


def decided_before(store: Store) -> Participation:
    """What was decided; where that cannot be read, a new decision starts from off."""
    try:
        return participation(store)
    except VerificationError:
        return Participation(limit=store.value(LIMIT), delta=store.value(DELTA))


def opt_in(
    store: Store, manifest: Manifest, *, now: float, conditions: Conditions | None = None, epsilon: float | None = None
) -> Participation:
    """The person agrees to take part under the plan of a verified release.

    epsilon: the person's own lifetime limit, which can lower the release's and never raise it;
    without one, the limit of an earlier yes goes on.
    Raises RefusedError for a release without a private plan, VerificationError for a plan that
    protects nobody, ConfigError for a limit that is none.
    """
    plan = plan_of_release(manifest)
    if plan is None:
        raise RefusedError("This release was trained WITHOUT privacy. A device takes part in private rounds only.")
    if epsilon is not None and not epsilon > 0:
        raise ConfigError(f"A limit of epsilon {epsilon} allows nothing. Opt out instead, or choose one over 0.")
    before, budget = decided_before(store), _budget_of_release(manifest)
    limit = before.limit if epsilon is None else epsilon
    both = [each for each in (limit, budget.epsilon) if each is not None]
    decided = Participation(
        on=True,
        conditions=conditions or before.conditions,
        plan=plan,
        budget=replace(budget, epsilon=min(both, default=None), earlier_runs=()),
        limit=limit,
        delta=min(plan.delta, before.delta or plan.delta),
        since=now,
    )
    return _keep(store, decided)


def opt_out(store: Store) -> Participation:
    """Nothing is sent any more; recommending goes on, and what was agreed and spent stays on record."""
    return _keep(store, replace(decided_before(store), on=False, paused_until=None))


def pause(store: Store, *, until: float | None) -> Participation:
    """Nothing is sent until then; None ends a pause."""
    return _keep(store, replace(participation(store), paused_until=until))


def set_conditions(store: Store, conditions: Conditions) -> Participation:
    """Train under these conditions from now on."""
    return _keep(store, replace(participation(store), conditions=conditions))


def require_allowed(store: Store, manifest: Manifest, state: DeviceState | None, *, now: float) -> PrivacyPlan:
    """The plan that was agreed to, which is that of the active release; raises RefusedError unless it may train now.

    state: what the device is doing; None where it does not train any more, and answers for what it has done.
    """
    decided = participation(store)
    if not decided.on or decided.plan is None:
        raise RefusedError("This device does not take part. Its owner can turn that on: `fedrec client opt-in`.")
    if plan_of_release(manifest) != decided.plan:
        raise RefusedError("The active release has another privacy plan than its owner agreed to. Ask the owner again.")
    if decided.paused(now):
        raise RefusedError("Its owner has paused this device's taking part.")
    if state is not None and (unmet := decided.conditions.unmet(state)):
        raise RefusedError(f"This device does not train now: not {', not '.join(unmet)}, or not known to be.")
    return decided.plan


def plan_of_release(manifest: Manifest) -> PrivacyPlan | None:
    """The plan that a release's run was trained under; None where it had no privacy.

    Raises VerificationError for one that protects nobody, or whose sums are not what this device makes of its rates.
    """
    table = manifest.lineage.get("plan")
    if table is None:
        return None
    plan = agreeable_plan(table)
    try:
        require_recomputed(plan)
    except ConfigError as error:
        raise VerificationError(f"The release's privacy plan cannot be: {error}") from None
    return plan


def training_of_release(manifest: Manifest) -> TrainingConfig:
    """What one participation computes, as the signed release says."""
    try:
        return parse_table(TrainingConfig, manifest.lineage["training"])
    except (KeyError, TypeError, AttributeError, FedrecError):
        raise VerificationError("The release does not say, or not soundly, how it is trained.") from None


def _budget_of_release(manifest: Manifest) -> BudgetConfig:
    try:
        return parse_table(BudgetConfig, manifest.lineage["budget"])
    except (KeyError, TypeError, AttributeError, FedrecError):
        raise VerificationError("The release does not say, or not soundly, what its budget is.") from None


def _keep(store: Store, decided: Participation) -> Participation:
    table = {
        "on": decided.on,
        "paused_until": decided.paused_until,
        "since": decided.since,
        "conditions": asdict(decided.conditions),
        "plan": decided.plan.as_table() if decided.plan else None,
        "budget": asdict(decided.budget),
    }
    with store.transaction():
        store.set_value(_NAME, table)
        store.set_value(LIMIT, decided.limit)
        store.set_value(DELTA, decided.delta)
    return decided
