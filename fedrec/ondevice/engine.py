"""The recommender on a person's device: what is recorded counts in the next list, and nothing leaves it.

One lock: calls from several threads follow each other, and a release is switched between
two of them. What another process does to the store or to the installed release is noticed
at the next call.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from fedrec.data.events import Event
from fedrec.data.store.keys import KeySource
from fedrec.data.store.store import Store
from fedrec.model.device_index import DeviceIndex
from fedrec.model.linear import LinearModel
from fedrec.ondevice import feedback as opinions
from fedrec.ondevice import profile as profiles
from fedrec.ondevice import releases
from fedrec.ondevice.allowed import allowed_now
from fedrec.ondevice.catalogue import DeviceCatalogue, Item
from fedrec.ondevice.context import NO_CONTEXT, Context
from fedrec.ondevice.explain import Explanation, Words, parts_of, reasons_of
from fedrec.ondevice.feedback import Feedback
from fedrec.ondevice.interests import muted_items, told_now
from fedrec.ondevice.live import LiveHistory
from fedrec.ondevice.loaded import Loaded, load, with_items
from fedrec.ondevice.profile import Profile
from fedrec.ondevice.reading import Reader
from fedrec.ondevice.recommending import Recommendations, Wish, recommended
from fedrec.ondevice.releases import CURRENT, Installed
from fedrec.ondevice.rerank import Steering
from fedrec.ondevice.scoring import Question, question_of
from fedrec.ondevice.shown import Shown
from fedrec.ondevice.texts import TextVectors

STEERING = "steering"
Stamp = tuple[int, int] | None


class Engine:
    """An open device folder. now: seconds since 1970."""

    def __init__(self, device: Path, store: Store, *, now: Callable[[], float]) -> None:
        self.device = device
        self.store = store
        self.now = now
        self._lock = RLock()
        self._switch()

    @classmethod
    def open(
        cls,
        device: Path,
        *,
        keys: KeySource | Literal["file", "keyring"] | None = None,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """The engine over a device folder; events past their retention are gone.

        Raises DataError where no store or no release is there, VerificationError for one that was changed.
        """
        with ExitStack() as undo:
            store = undo.enter_context(Store.open(device, keys=keys))
            if store.apply_retention(now()):
                opinions.forget_gone(store)
            engine = cls(device, store, now=now)
            undo.pop_all()
            return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store; a second call does nothing."""
        with self._lock:
            self.store.close()

    @property
    def release(self) -> Installed:
        """The release in use."""
        return self._loaded.released.installed

    @property
    def catalogue(self) -> DeviceCatalogue:
        """What can be recommended."""
        return self._loaded.catalogue

    @property
    def index(self) -> DeviceIndex:
        """The vectors of what can be recommended, in the catalogue's order."""
        return self._loaded.index

    @property
    def model(self) -> LinearModel:
        """What scores it."""
        return self._loaded.model

    @property
    def reads_texts(self) -> bool:
        """Whether the release in use can read what the person writes."""
        return self._loaded.released.encoder is not None

    @property
    def steering(self) -> Steering:
        """How the person wants lists to be."""
        with self._lock:
            self._notice()
            return self._steering

    def steer(self, steering: Steering) -> None:
        """Keep how the person wants lists to be."""
        with self._lock:
            self.store.set_value(STEERING, asdict(steering))
            self._steering = steering

    def record(self, event: Event) -> int:
        """Keep an event, which counts from now on; returns its number.

        An event of an item that the catalogue lacks is kept, and counts once the item is there.
        """
        with self._lock:
            self._notice()
            number = self.store.add_event(event)
            self._history.add(number, event)
            return number

    def record_all(self, events: Sequence[Event]) -> list[int]:
        """Keep events, all of them or, where one is refused, none; returns their numbers."""
        with self._lock:
            self._notice()
            with self.store.transaction():
                numbers = [self.store.add_event(event) for event in events]
            for number, event in zip(numbers, events, strict=True):
                self._history.add(number, event)
            return numbers

    def recommend(
        self, k: int = 10, *, context: Context = NO_CONTEXT, steering: Steering | None = None
    ) -> Recommendations:
        """A list of at most `k` items for this moment; fewer, or none, where fewer are left.

        steering: the person's own settings unless given. Raises ConfigError for a k below 1.
        """
        started = time.perf_counter()
        with self._lock:
            self._notice()
            chosen = self._steering if steering is None else steering
            wish = self._wish(k, context, chosen)
            rows, items = recommended(self._loaded, self._question(context), wish, self._words(context))
            self._shown.add(rows, [item.item_id for item in items], chosen, now=int(self.now()))
            took = (time.perf_counter() - started) * 1000
            return Recommendations(items=items, release=self.release.id, milliseconds=took, context=context)

    def explain(self, item_id: str, *, context: Context = NO_CONTEXT) -> Explanation:
        """Every part of an item's score; raises DataError if the catalogue lacks it."""
        with self._lock:
            self._notice()
            row = self._loaded.row_of(item_id)
            question = self._question(context)
            parts = parts_of(question, self.model, np.array([row]))
            return Explanation(
                item_id=item_id,
                title=self.catalogue.title(row),
                score=float(parts.scores[0]),
                parts=reasons_of(parts, 0, question, self._words(context)),
            )

    def feedback(self, given: Feedback) -> int:
        """Keep what the person said of an item, with all that follows from it; returns its number."""
        with self._lock:
            self._notice()
            number = opinions.give(self.store, given, self.catalogue.item(self._loaded.row_of(given.item_id)))
            stored = self.store.event(number)
            self._history.remove(number)
            if stored is not None:
                self._history.add(number, stored.event)
            self._closed = opinions.closed(self.store)
            return number

    def undo(self, feedback_id: int | None = None) -> Feedback:
        """Take a feedback back, the last one unless named; nothing that it changed remains."""
        with self._lock:
            taken = opinions.undo(self.store, feedback_id)
            self._read_store()
            return taken

    def profile(self) -> Profile:
        """The person's interests as clusters of their history."""
        with self._lock:
            self._notice()
            return self._profile_now()

    def rename_cluster(self, cluster_id: int, name: str) -> Profile:
        """The profile after an interest got the person's own name, or "" for an automatic one."""
        with self._lock:
            profiles.rename(self.store, cluster_id, name)
            return self.profile()

    def mute_cluster(self, cluster_id: int, muted: bool) -> Profile:
        """The profile after an interest's items left the lists, or came back."""
        with self._lock:
            profile = profiles.mute(self.store, cluster_id, muted=muted)
            self._muted = muted_items(profile, self._loaded)
            return profile

    def add_items(self, items: Sequence[Item]) -> None:
        """Make new items recommendable at once, by their texts; they outlast restarts and releases.

        Raises DataError for an item that the release holds itself.
        """
        with self._lock:
            self._notice()
            self._use(with_items(self.device, self._loaded, items), self._stamp)

    def install_release(self, source: Path, *, by_person: bool = False) -> Installed:
        """Verify and install a release, and recommend with it from now on; see `releases.install`."""
        installed = releases.install(self.device, source, by_person=by_person)
        self._switch()
        return installed

    def roll_back(self) -> Installed:
        """Go back to the release before this one; see `releases.roll_back`."""
        installed = releases.roll_back(self.device)
        self._switch()
        return installed

    def export(self) -> dict[str, Any]:
        """Everything that the device holds about the person."""
        return self.store.export()

    def erase(self, *, forget_ledger: bool = False) -> str:
        """Nothing of the person is left on this device; returns what to tell them."""
        with self._lock:
            told = self.store.erase(forget_ledger=forget_ledger)
            self._read_store()
            return told

    def _switch(self) -> None:
        """Recommend with the active release; it is opened before the lock is taken, so that nobody waits for that."""
        stamp = _stamp(self.device)
        loaded = load(self.device, releases.active(self.device))
        with self._lock:
            # Where another was chosen meanwhile, the stamp tells the next call.
            self._use(loaded, stamp)

    def _use(self, loaded: Loaded, stamp: Stamp) -> None:
        self._stamp = stamp
        self._loaded = loaded
        self._history = LiveHistory(
            loaded.index.row_of, weights=loaded.released.weights, texts=loaded.released.encoder is not None
        )
        self._read_store()

    def _read_store(self) -> None:
        """Hold what the store holds now."""
        loaded = self._loaded
        self._version = self.store.data_version()
        self._history.load((stored.id, stored.event) for stored in self.store.events())
        texts = TextVectors(self.store, loaded.released.encoder, loaded.index.whitening)
        self._reader = Reader(loaded, texts, lambda number: self._text(number) or "")
        profile = profiles.stored_profile(self.store)
        self._muted = None
        if profile is not None and any(cluster.muted for cluster in profile.clusters):
            # Under another release the muted interests are found again by their entries.
            known = profile.space == _space(loaded)
            self._muted = muted_items(profile if known else self._profile_now(), loaded)
        self._closed = opinions.closed(self.store)
        self._steering = Steering(**self.store.value(STEERING, {}))
        self._shown = Shown(self.store, loaded, now=int(self.now()))

    def _notice(self) -> None:
        """Follow what another process did to the store or to the installed release."""
        if _stamp(self.device) != self._stamp:
            self._switch()
        elif self.store.data_version() != self._version:
            self._read_store()

    def _question(self, context: Context) -> Question:
        return question_of(self._reader.now(self._history, context), self.model)

    def _wish(self, k: int, context: Context, steering: Steering) -> Wish:
        now = int(self.now())
        allowed = allowed_now(
            self._loaded, self._history.table, self._closed, session=context.session, muted=self._muted, now=now
        )
        return Wish(
            k=k,
            steering=steering,
            allowed=allowed,
            fresh=self._loaded.fresh(now),
            shown=self._shown.items,
            provider_shown=self._shown.providers,
        )

    def _words(self, context: Context) -> Words:
        return Words(title=self.catalogue.title, text=self._text, asked=context.text)

    def _profile_now(self) -> Profile:
        told = told_now(self._history, self._reader)
        profile = profiles.profile_now(self.store, told, space=_space(self._loaded))
        self._muted = muted_items(profile, self._loaded)
        return profile

    def _text(self, number: int) -> str | None:
        stored = self.store.event(number)
        return None if stored is None else stored.event.text


def _space(loaded: Loaded) -> str:
    return profiles.space_of(loaded.index.encoder_hash, loaded.index.whitening)


def _stamp(device: Path) -> Stamp:
    """Changes when another release was chosen; the file is replaced, never written to. None where there is none."""
    try:
        found = (device / CURRENT).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
