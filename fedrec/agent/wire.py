"""What the agent answers, as plain dataclasses: the service fills them, the client reads them.

No web library is needed to read this module, so that a product that only asks stays small.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAddress:
    """An address that opens the page once, within five minutes."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The events' numbers in the store, in the order in which they came."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A part of a score. share: of all parts' absolute sizes, 0 to 1. contribution: to the score itself."""

    because: str
    share: float
    contribution: float
    source: str
    event_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """An item, why it is here, and why in this place."""

    item_id: str
    title: str
    category: str | None
    provider: str | None
    score: float
    placed: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What counted for one list only, and was not stored."""

    text: str
    session: tuple[str, ...]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations:
    """A list, the release that made it, and how long it took."""

    items: tuple[Recommended, ...]
    release: str
    milliseconds: float
    context: Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Every part of an item's score; the contributions add up to it."""

    item_id: str
    title: str
    score: float
    parts: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What was said about an item; `id` takes it back, `said` puts it in words."""

    id: int
    action: str
    item_id: str
    title: str
    value: float | None
    time: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An interest that the device found. share: of the history's weight; examples: what it is made of."""

    id: int
    name: str
    share: float
    named: bool
    muted: bool
    entries: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The interests, largest first, and what the person turned away for good."""

    clusters: tuple[Cluster, ...]
    muted_topics: tuple[str, ...]
    blocked_providers: tuple[str, ...]
    hidden_items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How lists are made; see the request of the same name."""

    diversity: float
    long_tail_share: float
    fresh_share: float
    provider_share: float
    topic_share: float
    max_shown: int
    personal_weights: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many days events are kept, None for ever; `kinds` have days of their own.

    deleted: how many events the last change deleted.
    """

    days: int | None
    kinds: dict[str, int | None]
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One thing that left the device. time: seconds since 1970 in UTC."""

    time: int
    round: int
    bytes: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What taking part has spent so far, the latest uploads first.

    exact: False where epsilon is an upper bound. budget, cap: None where nothing was agreed yet.
    unit: whose participation epsilon bounds.
    """

    words: str
    epsilon: float
    exact: bool
    delta: float
    budget: float | None
    participations: int
    cap: int | None
    unit: str
    uploads: tuple[Upload, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """Whether the device takes part in training, and only while what.

    paused_until: UTC seconds. possible: whether the installed release was trained with privacy;
    a device takes part in no other training. changed: the installed release has another plan than
    the one that was agreed to, so that nothing is sent until the person agrees again. words: what
    leaves the device, whom to trust, and what a yes can come to at most.
    """

    on: bool
    paused_until: int | None
    idle: bool
    charging: bool
    unmetered: bool
    possible: bool
    changed: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The release that recommends now, and those one could go back to.

    reads_texts: whether it understands words of the person.
    """

    id: str
    round: int
    items: int
    reads_texts: bool
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundItem:
    """An item of the public catalogue."""

    item_id: str
    title: str
    category: str | None
    provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Items whose title holds the words that were looked for."""

    items: tuple[FoundItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """How many items can be recommended now."""

    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """Something the person did, in words."""

    id: int
    time: int
    kind: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveContext:
    """What the list takes into account now: the last events of so many, newest first."""

    recent: tuple[Recent, ...]
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was erased, and what no erasing can recall."""

    said: str
