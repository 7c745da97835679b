"""`fedrec client record`, `recommend`, `explain`, `feedback` and `undo`."""

import json
import time as clock
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.cli.client_device import AsJson, Device
from fedrec.data.events import TEXT_KINDS, Event, Kind
from fedrec.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from fedrec.ondevice.context import Context
    from fedrec.ondevice.explain import Reason
    from fedrec.ondevice.recommending import Recommended

ItemId = Annotated[str, typer.Option("--item", help="The item's id.", show_default=False)]
Words = Annotated[str, typer.Option(help="What the person would like right now; not stored.")]
Session = Annotated[list[str] | None, typer.Option(help="An item being looked at; not stored. Repeat, newest last.")]
Label = Annotated[str, typer.Option(help="Such as `evening`: what was recorded under it counts more.")]


def record(
    device: Device,
    kind: Annotated[Kind, typer.Option(help="What was done.", show_default=False)],
    item: Annotated[str | None, typer.Option(help="The item's id.")] = None,
    value: Annotated[float | None, typer.Option(help="The rating of a `rate`, the share finished of a `play`.")] = None,
    text: Annotated[str | None, typer.Option(help="What was searched for or written.")] = None,
    label: Annotated[str | None, typer.Option(help="The moment, such as `evening`.")] = None,
    time: Annotated[str | None, typer.Option(help="UTC seconds or an ISO date; now if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record one thing that the person did; it counts in the next list."""
    if kind in TEXT_KINDS and not text:
        raise DataError(f"A `{kind}` needs the words: --text.")
    if kind not in TEXT_KINDS and not item:
        raise DataError(f"A `{kind}` needs an item: --item.")
    from fedrec.data.store.store import OWNER
    from fedrec.ondevice.engine import Engine

    at = _seconds(time) if time else int(clock.time())
    with Engine.open(device) as engine:
        event = Event(user_id=OWNER, item_id=item, timestamp=at, kind=kind, value=value, text=text, context=label)
        number = engine.record(event)
        known = item is None or engine.index.row_of(item) is not None
    if as_json:
        typer.echo(json.dumps({"id": number, "known": known}))
        return
    typer.echo(f"Recorded as event {number}.")
    if not known:
        typer.echo("The catalogue has no item of this id. The event counts once it has one.", err=True)


def recommend(
    device: Device,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many items.")] = 10,
    context: Words = "",
    session: Session = None,
    label: Label = "",
    as_json: AsJson = False,
) -> None:
    """The best items for now, each with its reasons."""
    from fedrec.ondevice.engine import Engine

    with Engine.open(device) as engine:
        found = engine.recommend(k, context=_context(context, session, label))
    if as_json:
        items = [asdict(item) for item in found.items]
        typer.echo(json.dumps({"items": items, "release": found.release, "milliseconds": found.milliseconds}))
        return
    _print(_list_table(found.items))
    typer.echo(f"Made on this device in {found.milliseconds:.1f} ms, with release {found.release}.")


def explain(
    device: Device,
    item: ItemId,
    context: Words = "",
    session: Session = None,
    label: Label = "",
    as_json: AsJson = False,
) -> None:
    """Every part of one item's score; the parts add up to it."""
    from fedrec.ondevice.engine import Engine

    with Engine.open(device) as engine:
        why = engine.explain(item, context=_context(context, session, label))
    if as_json:
        typer.echo(json.dumps(asdict(why)))
    else:
        _print(_parts_table(why.title, why.parts, why.score))


def feedback(
    device: Device,
    item: ItemId,
    action: Annotated[str, typer.Option(help="like, save, share, finish, rate, skip, hide, block, not_this_topic ...")],
    value: Annotated[float | None, typer.Option(help="The rating of a `rate`, 0 to 5.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say something about an item; it counts in the next list, and can be undone."""
    from fedrec.ondevice.engine import Engine
    from fedrec.ondevice.feedback import Action, Feedback

    if action not in list(Action):
        raise DataError(f"`{action}` is no feedback. Give one of {', '.join(Action)}.")
    given = Feedback(action=Action(action), item_id=item, value=value, time=int(clock.time()))
    with Engine.open(device) as engine:
        number = engine.feedback(given)
    if as_json:
        typer.echo(json.dumps({"id": number, **asdict(given)}))
    else:
        typer.echo(f"Noted as {number}: {given.action}. Take it back with `fedrec client undo {device} --id {number}`.")


def undo(
    device: Device,
    number: Annotated[int | None, typer.Option("--id", help="Which feedback; the last if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take feedback back, with everything that it changed."""
    from fedrec.ondevice.engine import Engine

    with Engine.open(device) as engine:
        taken = engine.undo(number)
    if as_json:
        typer.echo(json.dumps({"undone": asdict(taken)}))
    else:
        typer.echo(f"Taken back: {taken.action} of {taken.item_id}.")


def _context(text: str, session: list[str] | None, label: str) -> "Context":
    from fedrec.ondevice.context import Context

    return Context(text=text, session=tuple(session or ()), label=label)


def _seconds(time: str) -> int:
    """Seconds since 1970 of a number or an ISO date, which is in UTC unless it says otherwise."""
    if time.isascii() and time.isdigit() and len(time) < 15:
        return int(time)
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise DataError(f"{time!r} is no time. Give UTC seconds, or a date such as 2026-01-31T18:00.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _list_table(items: "tuple[Recommended, ...]") -> "Table":
    table = _table("Item", "Title", "Because", "Place")
    for item in items:
        first = item.reasons[0] if item.reasons else None
        because = f"{first.because} ({first.share:.0%})" if first else ""
        _row(table, item.item_id, item.title, because, item.placed)
    return table


def _parts_table(title: str, parts: "tuple[Reason, ...]", score: float) -> "Table":
    table = _table(f"Why {title}", "Share", "Adds")
    for part in parts:
        _row(table, part.because, f"{part.share:.1%}", f"{part.contribution:+.4f}")
    table.add_section()
    _row(table, "Score", "", f"{score:.4f}")
    return table


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(_plain(column))
    return table


def _row(table: "Table", *cells: str) -> None:
    table.add_row(*(_plain(cell) for cell in cells))


def _plain(text: str) -> "Text":
    """A title as it is: square brackets are no markup, and nothing in it speaks to the terminal."""
    from rich.text import Text

    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def _print(table: "Table") -> None:
    from rich.console import Console

    Console().print(table)
