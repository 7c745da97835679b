"""What the person says: feedback and its undoing, interests, and how lists are made."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

from fastapi import APIRouter, Path

from fedrec.agent import wire
from fedrec.agent.routes.asking import REFUSALS, Device, row_of
from fedrec.agent.routes.lists import what
from fedrec.agent.schemas import ClusterChange, FeedbackGiven, LetIn, SettingsChange, Undo
from fedrec.errors import DataError
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.feedback import Action, Feedback
from fedrec.ondevice.vocabulary import shortened
from fedrec.web.documented import MISSING
from fedrec.web.refusals import NotHereError

router = APIRouter(prefix="/v1", tags=["taste"], responses=REFUSALS)

_EXAMPLES = 3
_SAID = {
    "like": "You liked {}.",
    "save": "You saved {}.",
    "share": "You shared {}.",
    "finish": "You finished {}.",
    "rate": "You rated {}.",
    "skip": "You skipped {}.",
    "hide": "You hid {}.",
    "block": "You blocked {} and where it comes from.",
    "not_this_topic": "No more of the topic of {}.",
    "view": "You looked at {}.",
    "click": "You opened {}.",
    "purchase": "You bought {}.",
}


@router.post("/feedback", status_code=201, responses=MISSING)
def give(given: FeedbackGiven, device: Device) -> wire.Feedback:
    """Say something about an item; it counts in the next list."""
    row_of(device, given.item_id)
    said = Feedback(action=Action(given.action), item_id=given.item_id, value=given.value, time=int(device.now()))
    return _told(device, device.feedback(said), said)


@router.post("/undo", responses=MISSING)
def undo(which: Undo, device: Device) -> wire.Feedback:
    """Take feedback back, with everything that it changed; the last one if none is named."""
    try:
        return _told(device, which.id or 0, device.undo(which.id))
    except DataError as error:
        raise NotHereError(str(error)) from None


@router.get("/profile")
def profile(device: Device) -> wire.Profile:
    """The interests that the device found."""
    return _profile(device)


@router.put("/profile/clusters/{cluster_id}", responses=MISSING)
def change_cluster(
    cluster_id: Annotated[int, Path(ge=0, le=2**31)], change: ClusterChange, device: Device
) -> wire.Profile:
    """Give an interest another name, or mute it: its items leave the lists."""
    if all(cluster.id != cluster_id for cluster in device.profile().clusters):
        raise NotHereError("There is no interest of this number.")
    if change.name is not None:
        device.rename_cluster(cluster_id, change.name)
    if change.muted is not None:
        device.mute_cluster(cluster_id, change.muted)
    return _profile(device)


@router.post("/profile/let-in")
def let_in(which: LetIn, device: Device) -> wire.Profile:
    """Let a topic or a provider be recommended again."""
    device.let_in(topic=which.topic, provider=which.provider)
    return _profile(device)


@router.get("/settings")
def settings(device: Device) -> wire.Settings:
    """How lists are made."""
    return _settings(device)


@router.put("/settings")
def change_settings(change: SettingsChange, device: Device) -> wire.Settings:
    """Change how lists are made; what is absent stays as it is."""
    asked = change.model_dump(exclude_none=True)
    own = asked.pop("personal_weights", None)
    if asked:
        device.steer(replace(device.steering, **asked))
    if own is not None and own != device.uses_personal_weights:
        device.use_personal_weights(own)
    return _settings(device)


def _settings(device: Engine) -> wire.Settings:
    return wire.Settings(**asdict(device.steering), personal_weights=device.uses_personal_weights)


def _told(device: Engine, feedback_id: int, given: Feedback) -> wire.Feedback:
    row = device.index.row_of(given.item_id)
    title = "" if row is None else device.catalogue.title(row)
    return wire.Feedback(
        id=feedback_id,
        action=given.action,
        item_id=given.item_id,
        title=title,
        value=given.value,
        time=given.time,
        said=_SAID[given.action].format(f"“{shortened(title)}”"),
    )


def _profile(device: Engine) -> wire.Profile:
    closed = device.closed
    return wire.Profile(
        muted_topics=tuple(sorted(closed.topics)),
        blocked_providers=tuple(sorted(closed.providers)),
        hidden_items=len(closed.items),
        clusters=tuple(
            wire.Cluster(
                id=cluster.id,
                name=cluster.name,
                share=cluster.share,
                named=cluster.named,
                muted=cluster.muted,
                entries=len(cluster.event_ids),
                examples=_examples(device, cluster.event_ids),
            )
            for cluster in device.profile().clusters
        ),
    )


def _examples(device: Engine, event_ids: Sequence[int]) -> tuple[str, ...]:
    """What an interest is made of, in words: the last things of it."""
    found = (device.store.event(number) for number in reversed(event_ids[-_EXAMPLES:]))
    return tuple(what(device, stored.event) for stored in found if stored is not None)
