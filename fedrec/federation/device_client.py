"""A person's own device as a client of a federation: its store, its release, its owner's word.

Everything is asked anew for every message, so that a switch which the person turned a
moment ago counts. Nothing here stops the agent from recommending: they share the store
and nothing else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fedrec.config import AdapterConfig
from fedrec.config_file import parse_table
from fedrec.data.store.store import ERASURES, Store
from fedrec.errors import RefusedError, UnknownClientError
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.item_index import ItemIndex
from fedrec.ondevice.device_state import DeviceState, current_state
from fedrec.ondevice.enrolment import keys_to_try, pinned_directory
from fedrec.ondevice.loaded import Released, load
from fedrec.ondevice.own_examples import own_history, shape_of
from fedrec.ondevice.participation import participation, require_allowed, training_of_release
from fedrec.ondevice.privacy_facts import epsilon_on_device
from fedrec.ondevice.releases import active
from fedrec.privacy.randomness import RandomSource, system_source
from fedrec.secagg.terms import Stage
from fedrec.training.client import Client, Instruction
from fedrec.training.client_records import StoredRecords
from fedrec.training.edge_step import EdgeLearner, HistoryReader
from fedrec.training.examples import Example, examples_of
from fedrec.training.learner import Learner
from fedrec.training.masking import MaskedReply
from fedrec.training.participant import Participant

# What a device calls itself: which client it is, is its server's business.
UNNUMBERED = -1


def device_client(
    device: Path,
    store: Store,
    *,
    number: int = UNNUMBERED,
    state: DeviceState | None = None,
    training: bool = True,
    now: Callable[[], float] = time.time,
) -> Client:
    """The client that this device is at this moment.

    number: the client's, where devices are simulated; elsewhere the server knows it by its key.
    state: asked of the device unless given. training: whether it still has to; otherwise it may do what it likes.
    Raises RefusedError where its owner, or what the device is doing, does not allow taking part.
    """
    released = load(device, active(device)).released
    manifest = released.installed.manifest
    doing = (state or current_state(store, now=now)) if training else None
    plan = require_allowed(store, manifest, doing, now=now())
    settings, model = training_of_release(manifest), released.model
    learner: Learner = _torch_learner(released) if plan.mode == "local" else EdgeLearner(model)
    erasures = store.value(ERASURES, 0)

    def source_for(_: int) -> RandomSource:
        return system_source()

    def examples() -> list[Example]:
        # Read only when a participation was paid for: what this does and how long it takes depends on the data.
        history, texts = own_history(store, released)
        shape = shape_of(model.config, settings, plan)
        return examples_of([history], HistoryReader(model, texts), shape, items=learner.catalogue_size)

    def require_still_wanted() -> None:
        """Raise RefusedError if the owner took the yes back, or erased, while this was computed."""
        decided = participation(store)
        if not decided.on or decided.plan != plan or store.value(ERASURES, 0) != erasures:
            raise RefusedError("Its owner took the yes back while this device was training. Nothing is sent.")

    return Client(
        id=number,
        learner=learner,
        training=settings,
        examples=examples,
        plan=plan,
        source_for=source_for,
        records=StoredRecords(store, before_keeping=require_still_wanted),
        epsilon_of=epsilon_on_device,
        budget=participation(store).limits(),
        now=now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInSums:
    """A device in sums under masks, whatever it was before a message.

    Its owner's conditions are for training: a device that has trained, and is in use again, or on battery, still
    says who of its neighbours is there, or what it paid for would be lost, and their round with it.
    """

    device: Path
    store: Store
    state: DeviceState | None = None

    def answer(self, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        """See `Participant.answer`."""
        trains = stage <= Stage.MASK
        participant = device_participant(self.device, self.store, state=self.state, training=trains)
        return participant.answer(instruction, stage, request)


def device_participant(
    device: Path,
    store: Store,
    *,
    state: DeviceState | None = None,
    training: bool = True,
    now: Callable[[], float] = time.time,
) -> Participant:
    """The same client with what it takes part in sums under masks with: its number and its peers' keys are pinned.

    Raises UnknownClientError where the pinned directory does not name this device, RefusedError as `device_client`.
    """
    directory = pinned_directory(store)
    clients = {key: client for client, key in directory.entries.items()} if directory else {}
    keys = next((each for each in keys_to_try(store) if each.identity_key in clients), None)
    if directory is None or keys is None:
        raise UnknownClientError(
            "The directory of identity keys that this device has does not name it. Fetch a later one, or enrol it."
        )
    number = clients[keys.identity_key]
    return Participant(
        client=device_client(device, store, number=number, state=state, training=training, now=now),
        number=number,
        identity=keys.identity,
        directory={client: bytes.fromhex(key) for client, key in directory.entries.items()},
    )


def _torch_learner(released: Released) -> Learner:
    """For `local` mode, whose steps Opacus clips and noises; histories are read in numpy all the same."""
    try:
        from fedrec.model.adapter import AdaptedModel
        from fedrec.model.build import build_recommender
        from fedrec.training.local import TorchLearner
    except ImportError:
        raise RefusedError("This release trains in local mode, which needs torch. Install fedrec[train].") from None
    folder, manifest = released.installed.folder, released.installed.manifest
    weighted = replace(released.model.config, prior_weight=1.0)  # a release holds the weighted prior
    base = build_recommender(weighted, ItemIndex.load(folder / DEVICE_INDEX), prior=released.model.prior)
    model = AdaptedModel(base, parse_table(AdapterConfig, manifest.lineage["adapter"]), base_hash="")
    # The base model is the release's, whose signed layout names it.
    model.layout = released.model.layout
    return TorchLearner(model)
