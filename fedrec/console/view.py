"""What the console knows of a service: read from its registry and its folders, asked by its routes and its metrics."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedrec import __version__
from fedrec.console import rows, wire
from fedrec.console.budget import Budgets
from fedrec.console.groups import Count, count
from fedrec.errors import RefusedError
from fedrec.pointer import Pointer
from fedrec.registry.actions import actions
from fedrec.registry.channel import release_before
from fedrec.registry.control import wished, wishes
from fedrec.registry.registry import Registry
from fedrec.registry.status import finished_rounds, round_status
from fedrec.registry.tables import StoredAction, StoredNode, StoredPromotion, StoredRelease, StoredRound, StoredWish
from fedrec.service.config import ServiceConfig
from fedrec.service.folder import ServiceFolder
from fedrec.web.refusals import NotHereError

_ROUNDS, _RELEASES, _DEEDS = 50, 50, 50
# They only grow, so that their lengths tell whether there is something new.
_GROWING = (StoredRound, StoredRelease, StoredPromotion, StoredWish, StoredAction)


@dataclass(slots=True, kw_only=True)
class View:
    """Reads only; safe among threads."""

    folder: ServiceFolder
    config: ServiceConfig
    registry: Registry
    clock: Callable[[], float] = time.time
    budgets: Budgets = field(default_factory=Budgets)
    _lineage: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def smallest(self) -> int:
        """The smallest group of devices that is counted."""
        return self.config.smallest_group

    def require(self, name: str) -> str:
        """The name of a catalogue that is served; raises NotHereError for any other."""
        if name not in self.folder.names():
            raise NotHereError("The service has no catalogue of this name.")
        return name

    def overview(self) -> wire.Overview:
        """All catalogues at a glance."""
        return wire.Overview(
            version=__version__,
            smallest_group=self.smallest,
            promotion=self.config.rounds.promotion,
            catalogues=tuple(self.line(name) for name in self.folder.names()),
        )

    def line(self, name: str) -> wire.Line:
        """One catalogue at a glance."""
        status, pointer = round_status(self.registry, name), self.registry.current(name)
        return wire.Line(
            name=name,
            now=rows.now(status, smallest=self.smallest, time=int(self.clock())) if status else None,
            wished=rows.wished(wished(self.registry, name)),
            in_use=rows.in_use(pointer) if pointer else None,
            mark=self._mark(name),
        )

    def catalogue(self, name: str) -> wire.Catalogue:
        """Everything about one catalogue."""
        channel = self.registry.channel(name)
        releases = self.registry.releases(name)
        deeds = rows.Deeds(wishes=wishes(self.registry, name), actions=actions(self.registry, name), channel=channel)
        used, back = (channel[-1].manifest_hash if channel else None), _before(channel)
        finished = finished_rounds(self.registry, name, last=_ROUNDS)
        begun_with = {(record.run, record.round - 1): record for record in finished}
        return wire.Catalogue(
            line=self.line(name),
            devices=self.devices(name),
            budget=self.budgets.of(self.folder.catalogue(name)),
            rounds=tuple(rows.finished(record, smallest=self.smallest) for record in reversed(finished)),
            releases=tuple(
                rows.release(
                    row,
                    measured=begun_with.get((row.run, row.round)),
                    lineage=self._made_from(name, row.manifest_hash),
                    used=used,
                    back=back,
                )
                for row in releases[:_RELEASES]
            ),
            deeds=deeds.latest(_DEEDS, names={row.manifest_hash: row.id for row in releases}),
        )

    def devices(self, name: str) -> Count:
        """How many devices are enrolled now."""
        enrolled = (StoredNode.catalogue == name, StoredNode.state == "enrolled")
        query = select(func.count()).select_from(StoredNode).where(*enrolled)
        return count(self.registry.read(lambda session: session.scalar(query) or 0), smallest=self.smallest)

    def _mark(self, name: str) -> str:
        def work(session: Session) -> str:
            lengths = (
                session.scalar(select(func.count()).select_from(table).where(table.catalogue == name))
                for table in _GROWING
            )
            return "-".join(map(str, lengths))

        return self.registry.read(work)

    def _made_from(self, name: str, manifest_hash: str) -> dict[str, Any]:
        """A release's lineage; it never changes, so it is read once."""
        with self._lock:
            if manifest_hash not in self._lineage:
                found = self.registry.manifest(name, manifest_hash)
                lineage = json.loads(found[0])["lineage"] if found else {}
                self._lineage[manifest_hash] = {made: lineage.get(made) for made in rows.MADE_FROM}
            return self._lineage[manifest_hash]


def _before(channel: list[Pointer]) -> str | None:
    """What a roll-back leads to; None where it leads nowhere."""
    try:
        return release_before(channel)
    except RefusedError:
        return None
