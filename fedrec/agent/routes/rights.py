"""What belongs to the person: what was spent, whether to take part, taking everything along, erasing it."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from fedrec.agent import wire
from fedrec.agent.routes.asking import REFUSALS, Device
from fedrec.agent.schemas import Erase, ParticipationChange, Pause, RetentionChange, StateTold
from fedrec.data.store.retention import Retention
from fedrec.ondevice import participation as taking_part
from fedrec.ondevice.device_state import DeviceState, tell
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.privacy_facts import offer_of, privacy_facts
from fedrec.ondevice.releases import installed
from fedrec.privacy.plan import PrivacyPlan

router = APIRouter(prefix="/v1", tags=["rights"], responses=REFUSALS)
_HOUR = 3600
# What leaves the device in each mode, and who has to be trusted with it.
_LEAVES = {
    "central": (
        "A clipped change of the shared model leaves the device; the server, which has to be trusted, adds the noise."
    ),
    "distributed": (
        "A clipped change of the shared model leaves the device under a mask, with its share of the noise: the server "
        "learns the sum of many devices alone, as long as enough of them are honest."
    ),
    "local": "A change of the shared model leaves the device with all of its noise on it; nobody has to be trusted.",
}


@router.get("/privacy")
def privacy(device: Device) -> wire.Privacy:
    """What taking part has spent, in words and numbers, and what was uploaded last."""
    facts = privacy_facts(device.store)
    uploads = tuple(
        wire.Upload(time=one.time, round=one.round, bytes=one.bytes, kind=one.kind) for one in facts.uploads
    )
    return wire.Privacy(
        words=facts.words,
        epsilon=facts.epsilon,
        exact=facts.exact,
        delta=facts.delta,
        budget=facts.budget,
        participations=facts.participations,
        cap=facts.cap,
        unit=facts.unit,
        uploads=uploads,
    )


@router.get("/participation")
def participation(device: Device) -> wire.Participation:
    """Whether the device takes part in training; off until the person turns it on."""
    return _decided(device)


@router.put("/participation")
def change_participation(change: ParticipationChange, device: Device) -> wire.Participation:
    """Opt in, under the plan of the installed release and these conditions; or opt out."""
    conditions = taking_part.Conditions(idle=change.idle, charging=change.charging, unmetered=change.unmetered)
    if not change.on:
        taking_part.opt_out(device.store)
        taking_part.set_conditions(device.store, conditions)
    elif change.epsilon is None and not change.agree and taking_part.participation(device.store).on:
        taking_part.set_conditions(device.store, conditions)
    else:
        taking_part.opt_in(
            device.store,
            device.release.manifest,
            now=device.now(),
            conditions=conditions,
            epsilon=change.epsilon,
        )
    return _decided(device)


@router.post("/participation/pause")
def pause(pause: Pause, device: Device) -> wire.Participation:
    """Take no part for some hours; 0 ends a pause."""
    taking_part.pause(device.store, until=device.now() + pause.hours * _HOUR if pause.hours else None)
    return _decided(device)


@router.put("/device")
def device_state(state: StateTold, device: Device) -> wire.Participation:
    """Say what the product knows of the device; it is believed for a quarter of an hour."""
    tell(device.store, DeviceState(**state.model_dump()), now=device.now())
    return _decided(device)


@router.get("/retention")
def retention(device: Device) -> wire.Retention:
    """How long events are kept."""
    return _kept(device, deleted=0)


@router.put("/retention")
def change_retention(change: RetentionChange, device: Device) -> wire.Retention:
    """Keep events for so many days from now on; what is older is deleted at once."""
    return _kept(device, deleted=device.keep_for(Retention(days=change.days, kinds=change.kinds)))


@router.get("/export")
def export(device: Device) -> dict[str, Any]:
    """Everything that the device keeps of the person, in words that a person can read; never a key."""
    return device.export()


@router.post("/erase")
def erase(_: Erase, device: Device) -> wire.Erased:
    """Erase everything of the person; what was released before cannot be called back."""
    return wire.Erased(said=device.erase())


@router.get("/release")
def release(device: Device) -> wire.Release:
    """The release that recommends now."""
    return _release(device)


@router.post("/release/rollback")
def roll_back(device: Device) -> wire.Release:
    """Go back to the release before this one."""
    device.roll_back()
    return _release(device)


def _decided(device: Engine) -> wire.Participation:
    decided = taking_part.participation(device.store)
    paused = decided.paused_until if decided.paused(device.now()) else None
    offered = taking_part.plan_of_release(device.release.manifest)
    plan = decided.plan if decided.on else offered
    return wire.Participation(
        on=decided.on,
        paused_until=None if paused is None else int(paused),
        **asdict(decided.conditions),
        possible=offered is not None,
        changed=decided.on and offered != decided.plan,
        words=f"{_LEAVES[plan.mode]} {_at_most(plan)}" if plan else "",
    )


def _kept(device: Engine, *, deleted: int) -> wire.Retention:
    kept = device.retention
    return wire.Retention(
        days=kept.days, kinds={kind.value: days for kind, days in kept.kinds.items()}, deleted=deleted
    )


def _at_most(plan: PrivacyPlan) -> str:
    offer = offer_of(plan)
    times = "one contribution" if offer.participations == 1 else f"{offer.participations} contributions"
    return f"At most {times}: epsilon {offer.epsilon:.2f} at delta {offer.delta:g}, per {offer.unit}."


def _release(device: Engine) -> wire.Release:
    now = device.release
    earlier = tuple(one.id for one in installed(device.store.folder) if one.id != now.id)
    return wire.Release(
        id=now.id, round=now.round, items=len(device.catalogue), reads_texts=device.reads_texts, earlier=earlier
    )
