"""Whether a run goes on from where it was: what its folder forgot, and the registry knows, was spent all the same.

A folder vouches for itself by its ledger, its seal and its records. One that was restored whole from an
older copy, removed, or copied, agrees with itself; the registry remembers what it has released since.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedrec.errors import VerificationError
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.registry.registry import Registry
from fedrec.registry.tables import StoredRelease, StoredRound
from fedrec.reporting.privacy.earlier import runs_before
from fedrec.training.run_folder import RunFolder

_HELP = "See `A run folder` in docs/runbook.md."


def require_latest(registry: Registry, run: RunFolder) -> None:
    """Raise VerificationError if the registry has a round of this run, or a release, that its folder does not have."""
    state = run.state()
    finished = state.round if state else 0
    told = _last_round(registry, run.id())
    if told > finished:
        raise VerificationError(
            f"{run.path} is at round {finished}, and the registry has round {told} of the same run: the folder was set "
            f"back, and its ledger lacks what was spent since. {_HELP}"
        )
    with Ledger(run.ledger) as ledger:
        known = ledger.hashes
    for number, head in _heads(registry, run.id()):
        if head not in known:
            raise VerificationError(
                f"{run.ledger} lacks what the release of round {number} in the registry paid: the folder was set back, "
                f"or goes on elsewhere. {_HELP}"
            )


def require_only_run(
    registry: Registry, run: RunFolder, *, catalogue: str, plan: PrivacyPlan | None, earlier: Sequence[str]
) -> None:
    """Raise VerificationError if this catalogue had another run that is not counted, or another one has this run.

    earlier: folders of runs on the same people whose spending is counted.
    """
    places = _places(registry, catalogue, run.id())
    if elsewhere := sorted({place for place, name in places if place != catalogue}):
        raise VerificationError(
            f"The run in {run.path} is that of the catalogue `{elsewhere[0]}`: two would draw noise for the same "
            f"rounds, and neither would know what the other has spent. {_HELP}"
        )
    others = {name for place, name in places if name != run.id()}
    if others and not others <= _named(plan, earlier, own=run.path):
        raise VerificationError(
            f"The registry has releases of another run of `{catalogue}`, whose ledger is not in {run.path}: what it "
            f"spent on the same people would be forgotten. Restore it, or name its folder in budget.earlier_runs of a "
            f"new catalogue. {_HELP}"
        )


def _last_round(registry: Registry, run: str) -> int:
    """The last finished round of a run that the registry was told of; 0 before the first."""
    query = select(func.max(StoredRound.round)).where(StoredRound.run == run)
    return registry.read(lambda session: session.scalar(query)) or 0


def _heads(registry: Registry, run: str) -> list[tuple[int, str]]:
    """Round and ledger head of every release of a run."""
    query = select(StoredRelease.round, StoredRelease.manifest).where(StoredRelease.run == run)
    found = registry.read(lambda session: [(number, manifest) for number, manifest in session.execute(query)])
    return [(number, str(json.loads(manifest)["lineage"]["ledger_head"])) for number, manifest in found]


def _places(registry: Registry, catalogue: str, run: str) -> set[tuple[str, str]]:
    """Catalogue and run of every release that is of this catalogue, or of this run."""

    def work(session: Session) -> set[tuple[str, str]]:
        of_either = (StoredRelease.catalogue == catalogue) | (StoredRelease.run == run)
        query = select(StoredRelease.catalogue, StoredRelease.run).where(of_either).distinct()
        return {(place, name) for place, name in session.execute(query)}

    return registry.read(work)


def _named(plan: PrivacyPlan | None, folders: Sequence[str], *, own: Path) -> set[str]:
    """The runs whose spending is counted before this one's."""
    before = runs_before(plan, map(Path, folders), own=own)
    return {str(release.lineage["run"]) for each in before for release in each.evidence.releases.values()}
