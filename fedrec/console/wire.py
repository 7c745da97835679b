"""What the console answers, as plain dataclasses: counts only as `groups` lets them be shown, nothing of one device."""

from dataclasses import dataclass

from fedrec.console.budget import Budget
from fedrec.console.groups import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done, in words."""

    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The round under way. needed, cohort: from the settings. quiet: nothing was heard of it for long.

    title, detail: for people. since, updated_at: UTC seconds.
    """

    phase: str
    title: str
    detail: str
    round: int
    rounds: int
    needed: int
    connected: Count
    replies: Count
    since: int
    updated_at: int
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wished:
    """What the operator wishes of the rounds: run, pause or stop."""

    wish: str
    by: str
    at: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """What devices are told to use. serial: of the pointer that says so."""

    release: str
    manifest_hash: str
    round: int
    serial: int
    since: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One catalogue at a glance. mark: another one whenever there is more to read of it."""

    name: str
    now: Now | None
    wished: Wished
    in_use: InUse | None
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All catalogues of the service. smallest_group: counts below it are not shown."""

    version: str
    smallest_group: int
    promotion: str
    catalogues: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Devices whose replies did not count, for one reason."""

    code: str
    words: str
    devices: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """How long a part of a round took."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of quality. basis: `public` data, or `released` under the privacy plan.

    noise: standard deviation of the noise on it; None without any.
    """

    name: str
    value: float
    basis: str
    noise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRound:
    """A round that ended. failures: None where they would tell too much. bytes: None where they would, too."""

    run: str
    round: int
    finished_at: int
    asked: Count
    replies: Count
    failures: tuple[Failed, ...] | None
    faults: tuple[str, ...]
    seconds: tuple[Seconds, ...]
    bytes: int | None
    epsilon: float | None
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One thing that a release was made from."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A published release. new_bytes: what a device with the one before it fetches. back: a roll-back leads to it."""

    id: str
    manifest_hash: str
    run: str
    round: int
    published_at: int
    bytes: int
    new_bytes: int
    privacy: str
    figures: tuple[Figure, ...]
    lineage: tuple[Made, ...]
    in_use: bool
    back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that an operator did, and why. at: UTC seconds. release: its id, where it was about one."""

    at: int
    by: str
    what: str
    release: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything about one catalogue, the latest first. devices: enrolled now."""

    line: Line
    devices: Count
    budget: Budget
    rounds: tuple[FinishedRound, ...]
    releases: tuple[Release, ...]
    deeds: tuple[Deed, ...]
