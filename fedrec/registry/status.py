"""How a catalogue's rounds stand and went: counts and sums only, for the operator's page and metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedrec.registry.registry import Registry
from fedrec.registry.tables import StoredRound, StoredStatus

Phase = Literal["waiting", "asking", "noising", "publishing", "paused", "stopped", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatus:
    """The round under way. needed: nodes that it waits for; since: when the phase began; both times UTC seconds.

    message: one line for people, with nothing of a device in it.
    """

    catalogue: str
    phase: Phase
    round: int
    rounds: int
    needed: int
    connected: int
    replies: int
    message: str
    since: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRound:
    """A round that ended. failures: how many by code. seconds: by phase. epsilon: spent until now, None without noise.

    released_metrics: only what is public, or was released under the privacy plan.
    """

    catalogue: str
    run: str
    round: int
    finished_at: int
    asked: int
    replies: int
    failures: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0
    epsilon: float | None = None
    released_metrics: Mapping[str, float] = field(default_factory=dict)


def tell(registry: Registry, status: RoundStatus) -> None:
    """This is how the catalogue's round stands."""

    def work(session: Session) -> None:
        session.merge(StoredStatus(**asdict(status)))

    registry.write(work)


def round_status(registry: Registry, catalogue: str) -> RoundStatus | None:
    """How the round stands; None before the first one."""
    stored = registry.read(lambda session: session.get(StoredStatus, catalogue))
    if stored is None:
        return None
    return RoundStatus(
        catalogue=stored.catalogue,
        phase=cast(Phase, stored.phase),
        round=stored.round,
        rounds=stored.rounds,
        needed=stored.needed,
        connected=stored.connected,
        replies=stored.replies,
        message=stored.message,
        since=stored.since,
        updated_at=stored.updated_at,
    )


def finish(registry: Registry, finished: FinishedRound) -> None:
    """A round's figures are kept for good; a round that is there already stays as it is.

    Call it after the round counts, and again for rounds that counted before a kill.
    """
    facts = asdict(finished)
    keys = {name: facts.pop(name) for name in ("catalogue", "run", "round", "finished_at")}

    def work(session: Session) -> None:
        if session.get(StoredRound, (finished.catalogue, finished.run, finished.round)) is None:
            session.add(StoredRound(**keys, facts=facts))

    registry.write(work)


def finished_rounds(registry: Registry, catalogue: str, *, last: int = 1000) -> list[FinishedRound]:
    """The last rounds of a catalogue, the oldest of them first."""
    newest = (
        select(StoredRound)
        .where(StoredRound.catalogue == catalogue)
        .order_by(StoredRound.finished_at.desc(), StoredRound.round.desc())
        .limit(last)
    )
    return registry.read(lambda session: [_finished(stored) for stored in session.scalars(newest)][::-1])


def shown(counts: Mapping[str, int], *, smallest_group: int) -> dict[str, int | str]:
    """Counts as they may be shown: one below the smallest group only says so.

    >>> shown({"timeout": 12, "over_norm": 1, "refused": 0}, smallest_group=5)
    {'timeout': 12, 'over_norm': '<5', 'refused': 0}
    """
    return {name: f"<{smallest_group}" if 0 < count < smallest_group else count for name, count in counts.items()}


def _finished(stored: StoredRound) -> FinishedRound:
    return FinishedRound(
        catalogue=stored.catalogue, run=stored.run, round=stored.round, finished_at=stored.finished_at, **stored.facts
    )
