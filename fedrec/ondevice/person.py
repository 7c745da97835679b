"""What the engine holds of one person, in memory and ready to be scored: their store, read under one release."""

import numpy as np

from fedrec.data.events import Event
from fedrec.data.sequences import Floats
from fedrec.data.store.store import Store
from fedrec.errors import ConfigError
from fedrec.ondevice import feedback as opinions
from fedrec.ondevice import personal
from fedrec.ondevice import profile as profiles
from fedrec.ondevice.allowed import allowed_now
from fedrec.ondevice.context import Context
from fedrec.ondevice.explain import Words
from fedrec.ondevice.interests import muted_items, told_now
from fedrec.ondevice.live import LiveHistory
from fedrec.ondevice.loaded import Loaded
from fedrec.ondevice.own_examples import own_history
from fedrec.ondevice.profile import Profile
from fedrec.ondevice.reading import Reader
from fedrec.ondevice.recommending import Wish
from fedrec.ondevice.rerank import Steering
from fedrec.ondevice.scoring import Question, question_of
from fedrec.ondevice.shown import Shown
from fedrec.ondevice.texts import TextVectors

STEERING = "steering"


class Person:
    """The store as it was when this was made, and what was added since through it.

    version: of the store then; another means that another process wrote.
    """

    def __init__(self, store: Store, loaded: Loaded, *, now: int) -> None:
        self.version = store.data_version()
        self.store = store
        self.loaded = loaded
        released = loaded.released
        self.history = LiveHistory(loaded.index.row_of, weights=released.weights, texts=released.encoder is not None)
        self.history.load(store.event_rows())
        texts = TextVectors(store, released.encoder, loaded.index.whitening)
        self._reader = Reader(loaded, texts, lambda number: self._text(number) or "")
        self.closed = opinions.closed(store)
        self.steering = stored_steering(store)
        self.shown = Shown(store, loaded, now=now)
        self._space = profiles.space_of(loaded.index.encoder_hash, loaded.index.whitening)
        self._muted = muted_items(self._known_profile(), loaded)
        self.personal = learned(store, loaded)
        self._unlearned = 0

    def add(self, number: int, event: Event) -> None:
        """An event that the store has now counts."""
        self._unlearned += self.history.add(number, event)

    @property
    def has_more_to_learn(self) -> bool:
        """Whether personal weights are worth being trained again; asked once for every batch of events."""
        due = self.personal is not None and self._unlearned >= personal.RETRAIN_AFTER
        self._unlearned = 0 if due else self._unlearned
        return due

    def question(self, context: Context) -> Question:
        """What the person and the moment ask of the index."""
        return question_of(self._reader.now(self.history, context), self.loaded.model, personal=self.personal)

    def wish(self, k: int, context: Context, steering: Steering, *, now: int) -> Wish:
        """The list that is asked for."""
        return Wish(
            k=k,
            steering=steering,
            allowed=allowed_now(
                self.loaded, self.history.table, self.closed, session=context.session, muted=self._muted, now=now
            ),
            shown=self.shown.items,
            provider_shown=self.shown.providers,
            now=now,
        )

    def words(self, context: Context) -> Words:
        """What explanations say of what the person did and asks."""
        return Words(title=self.loaded.catalogue.title, text=self._text, asked=context.text)

    def profile(self) -> Profile:
        """The interests of the history as it is now."""
        found = profiles.profile_now(self.store, told_now(self.history, self._reader), space=self._space)
        self.heed(found)
        return found

    def heed(self, profile: Profile) -> None:
        """Keep the items of its muted interests out of the lists."""
        self._muted = muted_items(profile, self.loaded)

    def _known_profile(self) -> Profile | None:
        """The profile of before; under another release, muted interests are found again by their entries."""
        kept = profiles.stored_profile(self.store)
        if kept is None or kept.space == self._space or not any(cluster.muted for cluster in kept.clusters):
            return kept
        return profiles.profile_now(self.store, told_now(self.history, self._reader), space=self._space)

    def _text(self, number: int) -> str | None:
        stored = self.store.event(number)
        return None if stored is None else stored.event.text


def stored_steering(store: Store) -> Steering:
    """How the person wants lists to be; as it is at first where what is stored makes no sense any more."""
    try:
        return Steering(**store.value(STEERING, {}))
    except (TypeError, ConfigError):
        return Steering()


def learned(store: Store, loaded: Loaded) -> Floats | None:
    """(d,) personal weights as fresh as they have to be; None where the person has them off."""
    if not personal.switched_on(store):
        return None
    released = loaded.released
    history, texts = own_history(store, released)
    found = personal.personal_weights(store, released.model, history, texts, release=released.installed.id)
    return found if found is not None and np.any(found) else None
