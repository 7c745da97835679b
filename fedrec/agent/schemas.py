"""What the agent may be asked, field by field; anything else is refused before the engine sees it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fedrec.data.events import Kind

# The last second of the year 9999: what an ISO date can still say.
_LAST_SECOND = 253_402_300_799


def _whole(number: object) -> object:
    """25.0 is a whole number to JSON, as 25 is."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)
# Beyond it, not every JSON reader tells whole numbers apart.
_LARGEST = 2**53 - 1
ItemId = Annotated[str, Field(min_length=1, max_length=512)]
Text = Annotated[str, Field(max_length=2000)]
Label = Annotated[str, Field(max_length=100)]
Time = Annotated[int, Field(ge=0, le=_LAST_SECOND), WHOLE]
Days = Annotated[int, Field(ge=1, le=36_500), WHOLE]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Value = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class Asked(BaseModel):
    """A request: no field that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Moment(BaseModel):
    """What is going on right now; nothing of it is stored."""

    model_config = ConfigDict(extra="forbid")

    context: Text = Field(default="", description="What the person would like, in words.")
    session: list[ItemId] = Field(default=[], max_length=50, description="Items being looked at, newest last.")
    label: Label = Field(default="", description="Such as `evening`: what was recorded under it counts more.")


class Wish(Moment):
    """The list that is asked for."""

    k: int = Field(default=10, ge=1, le=100, description="How many items.")


class Words(BaseModel):
    """What a title is looked for by."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="Words of a title.")
    limit: int = Field(default=10, ge=1, le=50, description="How many items.")


class ItemEvent(Asked):
    """Something done to an item. value: the rating of a `rate`, the share finished of a `play`."""

    kind: Literal["view", "click", "like", "save", "share", "purchase", "rate", "play", "skip", "hide", "block"]
    item_id: ItemId
    timestamp: Time | None = Field(default=None, description="Seconds since 1970 in UTC; now if absent.")
    value: Value | None = None
    context: Label | None = None


class TextEvent(Asked):
    """Words of the person: a search, or a comment (on an item)."""

    kind: Literal["search", "comment"]
    text: Annotated[str, Field(min_length=1, max_length=2000)]
    item_id: ItemId | None = None
    timestamp: Time | None = Field(default=None, description="Seconds since 1970 in UTC; now if absent.")
    context: Label | None = None


AnyEvent = Annotated[ItemEvent | TextEvent, Field(discriminator="kind")]


class Events(Asked):
    """Events, all of which are recorded or none."""

    events: Annotated[list[AnyEvent], Field(min_length=1, max_length=1000)]


class NewItem(Asked):
    """What people may read of an item; its title and text are what it is recommended by."""

    item_id: ItemId
    title: Annotated[str, Field(min_length=1, max_length=500)]
    text: Annotated[str, Field(max_length=10_000)] | None = None
    category: Label | None = None
    provider: Label | None = None
    published: Time | None = Field(default=None, description="Seconds since 1970 in UTC.")


class NewItems(Asked):
    """Items that the installed release does not hold; all of them are added or none."""

    items: Annotated[list[NewItem], Field(min_length=1, max_length=100)]


class Rating(Asked):
    """How good an item was, from 0 to 5."""

    action: Literal["rate"]
    item_id: ItemId
    value: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)]


class Opinion(Asked):
    """What the person says about an item; it counts at once and can be undone."""

    action: Literal[
        "like", "save", "share", "finish", "skip", "hide", "block", "not_this_topic", "view", "click", "purchase"
    ]
    item_id: ItemId
    value: None = None


FeedbackGiven = Annotated[Rating | Opinion, Field(discriminator="action")]


class Undo(Asked):
    """Which feedback to take back; the last one if absent."""

    id: Annotated[int, Field(ge=0, le=_LARGEST), WHOLE] | None = None


class ClusterChange(Asked):
    """A new name for an interest, or whether it is muted."""

    name: Annotated[str, Field(max_length=60)] | None = Field(
        default=None, description="The person's own name for it; an empty one brings the automatic name back."
    )
    muted: bool | None = None


class SettingsChange(Asked):
    """How lists are made; what is absent stays as it is."""

    diversity: Share | None = Field(default=None, description="0: the best first; 1: as varied as can be.")
    long_tail_share: Share | None = Field(default=None, description="At least this share of less known items.")
    fresh_share: Share | None = Field(default=None, description="At least this share of new items.")
    provider_share: Share | None = Field(default=None, description="One provider takes at most this share; 1: off.")
    topic_share: Share | None = Field(default=None, description="One topic takes at most this share; 1: off.")
    max_shown: Annotated[int, Field(ge=0, le=10_000), WHOLE] | None = Field(
        default=None, description="An item rests when it was shown this often without an answer; 0: never."
    )
    personal_weights: bool | None = Field(
        default=None, description="Learn habits on this device, in weights that never leave it; off forgets them."
    )


class LetIn(Asked):
    """A topic or a provider that was turned away, and may come again."""

    topic: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    provider: Annotated[str, Field(min_length=1, max_length=512)] | None = None


class ParticipationChange(Asked):
    """Whether the device may take part in training, and under which conditions."""

    on: bool
    idle: bool = Field(default=True, description="Only while nobody uses the device.")
    charging: bool = Field(default=True, description="Only while it charges.")
    unmetered: bool = Field(default=True, description="Only on a network that does not cost by the byte.")
    agree: bool = Field(default=False, description="Agree to the plan of the installed release, though it changed.")
    epsilon: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = Field(
        default=None, description="The person's own limit for a lifetime; it can lower the release's, never raise it."
    )


class StateTold(Asked):
    """What the product knows of the device; null where it does not know."""

    idle: bool | None = None
    charging: bool | None = None
    unmetered: bool | None = None


class Pause(Asked):
    """For how long the device takes no part; 0 ends a pause."""

    hours: Annotated[int, Field(ge=0, le=24 * 366), WHOLE]


class RetentionChange(Asked):
    """For how many days events are kept from now on; what is older is deleted at once."""

    days: Days | None = Field(default=None, description="Of every kind without days of its own; null keeps for ever.")
    kinds: dict[Annotated[Kind, Field(strict=False)], Days | None] = Field(default={}, description="Of single kinds.")


class Erase(Asked):
    """Erasing needs the word, so that nothing does it by accident."""

    confirm: Literal["erase"]


class Ticket(Asked):
    """What the page's address held."""

    ticket: Annotated[str, Field(min_length=1, max_length=200)]
