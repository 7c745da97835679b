"""What everybody agrees on before the first message of a sum, and the stages that the messages belong to."""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from fedrec.errors import ConfigError
from fedrec.secagg.framing import framed
from fedrec.secagg.keys import Session
from fedrec.secagg.masks import word_type
from fedrec.secagg.parameters import Parameters


class Stage(IntEnum):
    """The five exchanges of a sum, in their order: one request to each client, one answer from it."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    ACKNOWLEDGE = 3
    REVEAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """size: words of the vector that is summed. bits: the sum is modulo 2^bits.

    A client works the parameters out itself, from rates that its plan holds and from the size of the cohort.
    """

    session: Session
    parameters: Parameters
    size: int
    bits: int

    def __post_init__(self) -> None:
        word_type(self.bits)
        if self.size < 1:
            raise ValueError(f"A vector of {self.size} words cannot be summed.")
        threshold, neighbours = self.parameters.threshold, self.parameters.neighbours
        if not neighbours < 2 * threshold <= 2 * neighbours:
            raise ConfigError(
                f"A threshold of {threshold} among {neighbours} neighbours would let both secrets of a client be "
                "known, or none. Take the parameters that the rates give."
            )

    @property
    def digest(self) -> bytes:
        """32 bytes that no other terms have."""
        numbers = (self.parameters.clients, self.parameters.neighbours, self.parameters.threshold, self.size, self.bits)
        return hashlib.sha256(framed("terms", self.session.id, *numbers)).digest()
