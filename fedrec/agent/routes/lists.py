"""What happened, what to recommend now, and why."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from fedrec.agent import wire
from fedrec.agent.routes.asking import REFUSALS, Device, row_of
from fedrec.agent.schemas import AnyEvent, Events, ItemEvent, ItemId, Moment, NewItems, Wish, Words
from fedrec.agent.titles import titles_of
from fedrec.data.events import Event, Kind
from fedrec.data.store.store import OWNER
from fedrec.errors import DataError, RefusedError
from fedrec.ondevice.catalogue import Item
from fedrec.ondevice.context import Context
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.explain import Reason
from fedrec.ondevice.vocabulary import quoted, said, shortened
from fedrec.web.documented import MISSING

router = APIRouter(prefix="/v1", tags=["lists"], responses=REFUSALS)

_RECENT = 5


@router.post("/events", status_code=201)
def record(events: Events, device: Device) -> wire.Recorded:
    """Record what the person did: all of it or, where something is refused, none of it."""
    return wire.Recorded(ids=tuple(device.record_all([_event(given, now=device.now()) for given in events.events])))


@router.get("/recommendations")
def recommendations(wish: Annotated[Wish, Query()], device: Device) -> wire.Recommendations:
    """The best items for now, each with its reasons."""
    found = device.recommend(wish.k, context=_context(device, wish))
    return wire.Recommendations(
        items=tuple(
            wire.Recommended(
                item_id=item.item_id,
                title=item.title,
                category=item.category,
                provider=item.provider,
                score=item.score,
                placed=item.placed,
                reasons=reasons(item.reasons),
            )
            for item in found.items
        ),
        release=found.release,
        milliseconds=found.milliseconds,
        context=wire.Context(text=wish.context, session=tuple(wish.session), label=wish.label),
    )


@router.get("/explanations/{item_id:path}", responses=MISSING)
def explanation(
    # An address ends at a line break.
    item_id: Annotated[ItemId, Path(pattern=r"^[^\n]+$")],
    moment: Annotated[Moment, Query()],
    device: Device,
) -> wire.Explanation:
    """Every part of an item's score; the contributions add up to it."""
    row_of(device, item_id)
    why = device.explain(item_id, context=_context(device, moment))
    return wire.Explanation(item_id=why.item_id, title=why.title, score=why.score, parts=reasons(why.parts))


@router.get("/items")
def items(asked: Annotated[Words, Query()], device: Device) -> wire.Found:
    """Items of the public catalogue whose titles hold every word; the best matches first."""
    catalogue = device.catalogue
    found = [catalogue.item(row) for row in titles_of(catalogue).rows(asked.query, most=asked.limit)]
    return wire.Found(
        items=tuple(
            wire.FoundItem(item_id=item.item_id, title=item.title, category=item.category, provider=item.provider)
            for item in found
        )
    )


@router.post("/items", status_code=201)
def add_items(new: NewItems, device: Device) -> wire.Added:
    """Make new items of the product recommendable at once, by their texts."""
    if not device.reads_texts:
        raise RefusedError("The installed release cannot read texts, so no item can be added. Install another.")
    try:
        device.add_items([Item(**item.model_dump()) for item in new.items])
    except DataError as error:
        # Each is a sound item; they are refused for what is there already, or comes twice.
        raise RefusedError(str(error)) from None
    return wire.Added(items=len(device.catalogue))


@router.get("/context")
def context_now(device: Device) -> wire.LiveContext:
    """What lists take into account now: the last events, in words."""
    recent = tuple(
        wire.Recent(
            id=one.id,
            time=one.event.timestamp,
            kind=one.event.kind,
            said=said(one.event.kind, what(device, one.event)),
        )
        for one in device.store.latest_events(_RECENT)
    )
    return wire.LiveContext(recent=recent, events=device.store.counts()["events"])


def reasons(found: tuple[Reason, ...]) -> tuple[wire.Reason, ...]:
    """Reasons as the agent says them."""
    return tuple(
        wire.Reason(
            because=reason.because,
            share=reason.share,
            contribution=reason.contribution,
            source=reason.source,
            event_id=reason.event_id,
        )
        for reason in found
    )


def what(device: Engine, event: Event) -> str:
    """What an event is about: the person's own words, or the item's title."""
    if event.text is not None:
        return quoted(event.text)
    row = None if event.item_id is None else device.index.row_of(event.item_id)
    return "something" if row is None else shortened(device.catalogue.title(row))


def _context(device: Engine, moment: Moment) -> Context:
    if moment.context and not device.reads_texts:
        raise RefusedError("The installed release cannot read texts. Ask without `context`, or install another.")
    return Context(text=moment.context, session=tuple(moment.session), label=moment.label)


def _event(given: AnyEvent, *, now: float) -> Event:
    return Event(
        user_id=OWNER,
        item_id=given.item_id,
        timestamp=int(now) if given.timestamp is None else given.timestamp,
        kind=Kind(given.kind),
        value=given.value if isinstance(given, ItemEvent) else None,
        text=None if isinstance(given, ItemEvent) else given.text,
        context=given.context,
    )
