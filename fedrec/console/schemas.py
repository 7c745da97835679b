"""What the console may be asked, field by field; anything else is refused before the registry sees it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Secret = Annotated[str, Field(min_length=1, max_length=200)]
# What is written down is read by people, in a terminal too.
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    Field(description="Why, in the operator's words; it is kept for good."),
]
ManifestHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Serial = Annotated[
    int,
    Field(
        ge=0,
        le=2**53 - 1,
        description="Of the pointer that the operator saw in use, 0 where there was none: "
        "if it is another one by now, nothing is done.",
    ),
]


class Asked(BaseModel):
    """A request: no field that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Entry(Asked):
    """What opens the console: a ticket, or the operator token; one of them."""

    ticket: Secret | None = None
    token: Secret | None = None

    @model_validator(mode="after")
    def _one(self) -> "Entry":
        if (self.ticket is None) == (self.token is None):
            raise ValueError("give a ticket or a token, not both")
        return self


class Wish(Asked):
    """Pausing or resuming, and why."""

    reason: Reason


class Stop(Asked):
    """Stopping needs the catalogue's name, so that nothing does it by accident."""

    reason: Reason
    confirm: Annotated[str, Field(max_length=63, description="The catalogue's name, once more.")]


class Promote(Asked):
    """Which release devices are told to use, and why."""

    release: ManifestHash
    serial: Serial
    reason: Reason


class RollBack(Asked):
    """Going back to what was in use before, and why."""

    serial: Serial
    reason: Reason
