"""What the server has heard in a sum so far, and who is whose neighbour by it."""

from collections.abc import Collection
from dataclasses import dataclass, field

from fedrec.secagg.messages import AdvertAnswer, RevealAnswer, ShareAnswer
from fedrec.secagg.roster import Roster
from fedrec.secagg.terms import Stage
from fedrec.secagg.wire import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Of each stage what the clients answered, but for the masked words. included, acks: by sender, then receiver."""

    roster: Roster
    adverts: dict[int, AdvertAnswer] = field(default_factory=dict)
    shares: dict[int, ShareAnswer] = field(default_factory=dict)
    included: dict[int, Table] = field(default_factory=dict)
    acks: dict[int, Table] = field(default_factory=dict)
    reveals: dict[int, RevealAnswer] = field(default_factory=dict)
    _drawn_by: dict[int, list[int]] = field(default_factory=dict)

    def asked_at(self, stage: Stage) -> Collection[int]:
        """The clients that a request of this stage goes to: those that answered the one before."""
        return self.heard_at(Stage(stage - 1)) if stage else self.roster.clients

    def heard_at(self, stage: Stage) -> Collection[int]:
        """The clients that answered this stage."""
        return (self.adverts, self.shares, self.included, self.acks, self.reveals)[stage].keys()

    def draw(self) -> None:
        """Settle who drew whom among those that shared their secrets: call it once, when that stage is closed."""
        for sender in sorted(self.shares):
            for receiver in self.present(sender):
                self._drawn_by.setdefault(receiver, []).append(sender)

    def advertised(self, client: int) -> tuple[int, ...]:
        """The neighbours that the client drew whose keys came."""
        return tuple(other for other in self.adverts[client].drawn if other in self.adverts)

    def present(self, client: int) -> tuple[int, ...]:
        """The neighbours that the client drew that shared their secrets, too."""
        return tuple(other for other in self.adverts[client].drawn if other in self.shares)

    def drawn_by(self, client: int) -> list[int]:
        """The neighbours that drew the client."""
        return self._drawn_by.get(client, [])

    def neighbours(self, client: int) -> list[int]:
        """Those that the client masks with."""
        return sorted({*self.present(client), *self.drawn_by(client)})

    @property
    def survivors(self) -> list[int]:
        """The clients whose masked input is in the sum."""
        return sorted(self.included)

    @property
    def dropped(self) -> list[int]:
        """The clients whose masks may be in the sum though their input is not."""
        return sorted(self.shares.keys() - self.included.keys())
