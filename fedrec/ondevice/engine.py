"""The recommender on a person's device: what is recorded counts in the next list, and nothing leaves it.

One lock: calls from several threads follow each other, and a release is switched between
two of them. What another process does to the store or to the installed release is noticed
at the next call.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from fedrec.data.events import Event
from fedrec.data.store.keys import KeySource
from fedrec.data.store.retention import DAY_SECONDS, RETENTION, Retention, retention_of
from fedrec.data.store.store import Store
from fedrec.errors import FedrecError
from fedrec.model.device_index import DeviceIndex
from fedrec.model.linear import LinearModel
from fedrec.ondevice import feedback as opinions
from fedrec.ondevice import personal, releases, rights
from fedrec.ondevice import profile as profiles
from fedrec.ondevice.additions import ADDITIONS, FILE
from fedrec.ondevice.beside import Beside
from fedrec.ondevice.catalogue import DeviceCatalogue, Item
from fedrec.ondevice.context import NO_CONTEXT, Context
from fedrec.ondevice.explain import Explanation, reasons_of
from fedrec.ondevice.feedback import Feedback
from fedrec.ondevice.installed import Installed
from fedrec.ondevice.loaded import Loaded, load, with_items, without_additions
from fedrec.ondevice.parts import parts_of
from fedrec.ondevice.person import STEERING, Person, learned
from fedrec.ondevice.profile import Profile
from fedrec.ondevice.recommending import Recommendations, recommended
from fedrec.ondevice.release_choice import CURRENT
from fedrec.ondevice.rerank import Steering

# When the choice of a release and the items added here were last written.
Stamp = tuple[tuple[int, int] | None, tuple[int, int] | None]


class Engine:
    """An open device folder. now: seconds since 1970."""

    def __init__(self, device: Path, store: Store, *, now: Callable[[], float]) -> None:
        self.device = device
        self.store = store
        self.now = now
        self._lock = RLock()
        self._learning = Beside(self._lock, self._learn, name="personal weights")
        self._forget_old()
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
            engine = cls(device, undo.enter_context(Store.open(device, keys=keys)), now=now)
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
        with self._learning.settled():
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
            return self._person.steering

    def steer(self, steering: Steering) -> None:
        """Keep how the person wants lists to be."""
        with self._lock:
            self.store.set_value(STEERING, asdict(steering))
            self._person.steering = steering

    def record(self, event: Event) -> int:
        """Keep an event, which counts from now on; returns its number.

        An event of an item that the catalogue lacks is kept, and counts once the item is there.
        """
        return self.record_all([event])[0]

    def record_all(self, events: Sequence[Event]) -> list[int]:
        """Keep events, all of them or, where one is refused, none; returns their numbers."""
        with self._lock:
            self._notice()
            with self.store.transaction():
                numbers = [self.store.add_event(event) for event in events]
            for number, event in zip(numbers, events, strict=True):
                self._person.add(number, event)
            self._learn_on()
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
            person, now = self._person, int(self.now())
            chosen = person.steering if steering is None else steering
            wish = person.wish(k, context, chosen, now=now)
            rows, items = recommended(self._loaded, person.question(context), wish, person.words(context))
            person.shown.add(rows, [item.item_id for item in items], chosen, now=now)
            took = (time.perf_counter() - started) * 1000
            return Recommendations(items=items, release=self.release.id, milliseconds=took, context=context)

    def explain(self, item_id: str, *, context: Context = NO_CONTEXT) -> Explanation:
        """Every part of an item's score; raises DataError if the catalogue lacks it."""
        with self._lock:
            self._notice()
            row = self._loaded.row_of(item_id)
            question = self._person.question(context)
            parts = parts_of(question, self.model, np.array([row]))
            return Explanation(
                item_id=item_id,
                title=self.catalogue.title(row),
                score=float(parts.scores[0]),
                parts=reasons_of(parts, 0, question, self._person.words(context)),
            )

    def feedback(self, given: Feedback) -> int:
        """Keep what the person said of an item, with all that follows from it; returns its number."""
        with self._lock:
            self._notice()
            number = opinions.give(self.store, given, self.catalogue.item(self._loaded.row_of(given.item_id)))
            stored = self.store.event(number)
            # Said twice it counts once.
            self._person.history.remove(number)
            if stored is not None:
                self._person.add(number, stored.event)
            self._person.closed = opinions.closed(self.store)
            self._learn_on()
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
            return self._person.profile()

    def rename_cluster(self, cluster_id: int, name: str) -> Profile:
        """The profile after an interest got the person's own name, or "" for an automatic one."""
        with self._lock:
            profiles.rename(self.store, cluster_id, name)
            return self.profile()

    def mute_cluster(self, cluster_id: int, muted: bool) -> Profile:
        """The profile after an interest's items left the lists, or came back."""
        with self._lock:
            profile = profiles.mute(self.store, cluster_id, muted=muted)
            self._person.heed(profile)
            return profile

    @property
    def closed(self) -> opinions.Closed:
        """What the person closed for good."""
        with self._lock:
            self._notice()
            return self._person.closed

    def let_in(self, *, topic: str | None = None, provider: str | None = None) -> None:
        """A topic or a provider may be recommended again, whatever it was closed by."""
        with self._lock:
            if topic is not None:
                opinions.switch(self.store, "topic", topic, off=False)
            if provider is not None:
                opinions.switch(self.store, "provider", provider, off=False)
            self._person.closed = opinions.closed(self.store)

    @property
    def uses_personal_weights(self) -> bool:
        """Whether personal weights are trained and used on this device."""
        return personal.switched_on(self.store)

    def use_personal_weights(self, on: bool) -> None:
        """Train personal weights on this device and use them from now on; or forget them."""
        with self._lock:
            personal.switch(self.store, on=on)
            self._person.personal = learned(self.store, self._loaded)

    def add_items(self, items: Sequence[Item]) -> None:
        """Make new items recommendable at once, by their texts; they outlast restarts and releases.

        Raises DataError for an item that the release holds itself.
        """
        with self._lock:
            self._notice()
            more = with_items(self.device, self._loaded, items)
            self._use(more, (self._stamp[0], _changed_at(self.device / ADDITIONS / FILE)))

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

    @property
    def retention(self) -> Retention:
        """How long events are kept."""
        return retention_of(self.store.value(RETENTION))

    def keep_for(self, retention: Retention) -> int:
        """Keep events so long from now on; returns how many were too old and are gone."""
        with self._learning.settled():
            self.store.set_value(RETENTION, retention.as_setting())
            gone = self._forget_old()
            self._read_store()
            return gone

    def export(self) -> dict[str, Any]:
        """Everything that the device holds about the person, the items that were added here included."""
        with self._lock:
            return rights.exported(self.device, self.store)

    def erase(self) -> str:
        """Nothing of the person is left on this device; returns what to tell them."""
        with self._learning.settled():
            told = rights.erase(self.device, self.store)
            self._use(without_additions(self._loaded), (self._stamp[0], None))
            return told

    def _forget_old(self) -> int:
        """Delete what is past its retention; at the start, and once a day while the engine stays open."""
        self._forgotten_at = self.now()
        gone = self.store.apply_retention(self._forgotten_at)
        if gone:
            opinions.forget_gone(self.store)
        return gone

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
        self._read_store()

    def _read_store(self) -> None:
        """Hold what the store holds now."""
        self._person = Person(self.store, self._loaded, now=int(self.now()))

    def _notice(self) -> None:
        """Follow what another process did to the store or to the installed release."""
        if _stamp(self.device) != self._stamp:
            self._switch()
        elif self.store.data_version() != self._person.version or (self._day_is_over() and self._forget_old()):
            self._read_store()

    def _day_is_over(self) -> bool:
        return abs(self.now() - self._forgotten_at) >= DAY_SECONDS

    def _learn_on(self) -> None:
        if self._person.has_more_to_learn and not self._learning.under_way:
            self._learning.start()

    def _learn(self) -> None:
        person = self._person
        # A store that was closed meanwhile has nothing to learn from.
        with suppress(FedrecError):
            vector = learned(self.store, person.loaded)
            with self._lock:
                if self._person is person and self.store.data_version() == person.version:
                    person.personal = vector
                else:
                    # Learned of what may have been taken back or erased since.
                    self.store.delete_blob(personal.PERSONAL)


def _stamp(device: Path) -> Stamp:
    """Changes when another release was chosen, or other items were added or erased, by whichever process."""
    return _changed_at(device / CURRENT), _changed_at(device / ADDITIONS / FILE)


def _changed_at(path: Path) -> tuple[int, int] | None:
    """Differs after every change of a file that is replaced and never written to; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
