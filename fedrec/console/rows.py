"""From the registry's rows to what the console answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedrec.console import wire
from fedrec.console.groups import count, shares, so_far
from fedrec.console.words import FAILURES, FAULTS, failure_code, title, without_counts
from fedrec.pointer import Pointer
from fedrec.registry.actions import Action
from fedrec.registry.control import Control
from fedrec.registry.publishing import ReleaseRow
from fedrec.registry.status import FinishedRound, RoundStatus

# Phases in which the rounds say something at least every so often.
_LIVE = ("waiting", "asking", "noising", "publishing")
_COUNTING = ("asking", "noising", "publishing")
_QUIET_SECONDS = 300
# As the service's records name the noise on a metric.
_NOISE = "_noise_std"
MADE_FROM = ("ledger_head", "base_model", "encoder", "index", "layout")
_WISHES = {"run": "Resumed", "pause": "Paused", "stop": "Stopped"}
_ACTS = {"promote": "Put into use", "roll back": "Rolled back to"}


def now(status: RoundStatus, *, smallest: int, time: int) -> wire.Now:
    """The round under way, as far as it may be shown."""
    connected = count(status.connected, smallest=smallest)
    replies = so_far(status.replies, of=status.needed, smallest=smallest)
    return wire.Now(
        phase=status.phase,
        title=title(status, connected=connected, replies=replies),
        # While answers come in, the rounds' own line counts them one by one.
        detail="" if status.phase in _COUNTING else without_counts(status.message, smallest=smallest),
        round=status.round,
        rounds=status.rounds,
        needed=status.needed,
        connected=connected,
        replies=replies,
        since=status.since,
        updated_at=status.updated_at,
        quiet=status.phase in _LIVE and time - status.updated_at > _QUIET_SECONDS,
    )


def wished(control: Control) -> wire.Wished:
    """What is wished of the rounds."""
    return wire.Wished(wish=control.wish, by=control.by, at=control.at, reason=control.reason)


def in_use(pointer: Pointer) -> wire.InUse:
    """What devices are told to use."""
    return wire.InUse(
        release=pointer.release,
        manifest_hash=pointer.manifest_hash,
        round=pointer.round,
        serial=pointer.serial,
        since=pointer.issued_at,
        reason=pointer.reason,
    )


def finished(record: FinishedRound, *, smallest: int) -> wire.FinishedRound:
    """A round that ended, as far as it may be shown."""
    failures: dict[str, int] = {}
    for code, times in record.failures.items():
        known = code if code in FAULTS else failure_code(code)
        failures[known] = failures.get(known, 0) + times
    found = shares(asked=record.asked, replies=record.replies, failures=failures, smallest=smallest)
    failed = [wire.Failed(code=code, words=FAILURES[code], devices=devices) for code, devices in found.failures.items()]
    return wire.FinishedRound(
        run=record.run,
        round=record.round,
        finished_at=record.finished_at,
        asked=found.asked,
        replies=found.replies,
        failures=tuple(failed) if found.told else None,
        faults=tuple(FAULTS[code] for code in found.faults),
        seconds=tuple(wire.Seconds(phase=phase, seconds=seconds) for phase, seconds in record.seconds.items()),
        # Bytes over the size of a reply are the number of replies.
        bytes=record.bytes if found.exact else None,
        epsilon=record.epsilon,
        figures=tuple(_figures(record.released_metrics)),
    )


def _figures(metrics: Mapping[str, float]) -> Iterator[wire.Figure]:
    """Each released metric with the noise on it, which is kept beside it."""
    for name, value in metrics.items():
        if not name.endswith(_NOISE):
            yield wire.Figure(name=name, value=value, basis="released", noise=metrics.get(f"{name}{_NOISE}"))


def release(
    row: ReleaseRow,
    *,
    measured: FinishedRound | None,
    lineage: Mapping[str, Any],
    used: str | None,
    back: str | None,
) -> wire.Release:
    """A published release. used, back: hashes of the manifests in use, and of what a roll-back leads to.

    measured: the round that began with this release; what it released of quality is of this adapter.
    """
    return wire.Release(
        id=row.id,
        manifest_hash=row.manifest_hash,
        run=row.run,
        round=row.round,
        published_at=row.published_at,
        bytes=row.bytes,
        new_bytes=row.new_bytes,
        privacy=str(row.privacy.get("statement", "")),
        figures=(
            *(wire.Figure(name=name, value=metric.value, basis=metric.basis) for name, metric in row.metrics.items()),
            *_figures(measured.released_metrics if measured else {}),
        ),
        lineage=tuple(wire.Made(name=name, value=str(lineage[name])) for name in MADE_FROM if lineage.get(name)),
        in_use=row.manifest_hash == used,
        back=row.manifest_hash == back,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """All that was ever done to a catalogue."""

    wishes: Sequence[Control]
    actions: Sequence[Action]
    channel: Sequence[Pointer]

    def latest(self, most: int, *, names: Mapping[str, str]) -> tuple[wire.Deed, ...]:
        """What operators did, and what the rounds promoted by themselves; names: ids by manifest hash."""
        # An action names a release by its id or by its manifest.
        asked = {(action.release, action.at) for action in self.actions}
        deeds = [
            *(
                wire.Deed(at=wish.at, by=wish.by, what=_WISHES[wish.wish], release="", reason=wish.reason)
                for wish in self.wishes
            ),
            *(
                wire.Deed(
                    at=action.at,
                    by=action.by,
                    what=_ACTS[action.act],
                    release=names.get(action.release, action.release[:16]),
                    reason=action.reason,
                )
                for action in self.actions
            ),
            *(
                wire.Deed(
                    at=pointer.issued_at, by="", what=_OTHERWISE[pointer.reason], release=pointer.release, reason=""
                )
                for pointer in self.channel
                if not asked & {(pointer.manifest_hash, pointer.issued_at), (pointer.release, pointer.issued_at)}
            ),
        ]
        return tuple(sorted(deeds, key=lambda deed: -deed.at)[:most])


_OTHERWISE = {"promoted": "Put into use", "rolled back": "Rolled back to"}
