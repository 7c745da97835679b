"""`fedrec client privacy`, `opt-in`, `opt-out`, `pause`, `export` and `erase`: what belongs to the person."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.cli.client_device import AsJson, Device
from fedrec.errors import RefusedError

if TYPE_CHECKING:
    from fedrec.ondevice.participation import Participation
    from fedrec.ondevice.privacy_facts import PrivacyFacts

_HOUR = 3600
_RECALL = "What was released with this device's help before cannot be called back."


def privacy(device: Device, as_json: AsJson = False) -> None:
    """What was spent of the budget, what was uploaded last, and whether the device takes part."""
    from fedrec.data.store.store import Store
    from fedrec.ondevice.participation import participation
    from fedrec.ondevice.privacy_facts import privacy_facts

    with Store.open(device) as store:
        facts, decided = privacy_facts(store), participation(store)
    if as_json:
        typer.echo(json.dumps({**asdict(facts), "participation": _told(decided)}))
        return
    typer.echo(facts.words)
    typer.echo(_spent(facts))
    for upload in facts.uploads:
        typer.echo(f"  {_moment(upload.time)}  round {upload.round}, {upload.kind}, {upload.bytes:,} bytes")
    typer.echo(_said(decided))


def opt_in(
    device: Device,
    epsilon: Annotated[
        float | None, typer.Option(help="A limit of your own for a lifetime; it can only lower the release's.")
    ] = None,
    idle: Annotated[bool, typer.Option("--idle/--not-only-idle", help="Only while nobody uses it.")] = True,
    charging: Annotated[bool, typer.Option("--charging/--not-only-charging", help="Only while it charges.")] = True,
    unmetered: Annotated[
        bool, typer.Option("--unmetered/--not-only-unmetered", help="Only where the network is free.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Take part in training from now on, under the privacy plan of the installed release."""
    from fedrec.data.store.store import Store
    from fedrec.ondevice import participation as taking_part
    from fedrec.ondevice.releases import active

    conditions = taking_part.Conditions(idle=idle, charging=charging, unmetered=unmetered)
    manifest = active(device).manifest
    with Store.open(device) as store:
        decided = taking_part.opt_in(store, manifest, now=time.time(), conditions=conditions, epsilon=epsilon)
    _tell(decided, as_json=as_json)


def opt_out(device: Device, as_json: AsJson = False) -> None:
    """Take no part any more; recommendations go on."""
    from fedrec.data.store.store import Store
    from fedrec.ondevice.participation import opt_out as decide

    with Store.open(device) as store:
        decided = decide(store)
    _tell(decided, as_json=as_json)


def pause(
    device: Device,
    hours: Annotated[float, typer.Option(min=0, max=24 * 366, help="For how long; 0 ends a pause.")] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Take no part for some hours."""
    from fedrec.data.store.store import Store
    from fedrec.ondevice.participation import pause as decide

    with Store.open(device) as store:
        decided = decide(store, until=time.time() + hours * _HOUR if hours else None)
    _tell(decided, as_json=as_json)


def export(
    device: Device,
    out: Annotated[Path | None, typer.Option(help="A file to write (readable by you alone); else printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Everything that the device keeps of the person, in words that a person can read; never a key."""
    from fedrec.data.store.store import Store
    from fedrec.files import write_atomically
    from fedrec.ondevice.rights import exported

    with Store.open(device) as store:
        content = json.dumps(exported(device, store), indent=2)
    if out is None:
        typer.echo(content)
        return
    write_atomically(out, f"{content}\n".encode(), mode=0o600)
    typer.echo(json.dumps({"path": str(out)}) if as_json else f"{out}: not encrypted. Keep it where only you read it.")


def erase(
    device: Device,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase everything of the person from this device."""
    from fedrec.data.store.store import Store
    from fedrec.ondevice.rights import erase as erase_device

    if not yes and not typer.confirm(f"Erase everything of the person in {device}? {_RECALL} Go on?", err=True):
        raise RefusedError("Nothing was erased. Answer y, or give --yes.")
    with Store.open(device) as store:
        said = erase_device(device, store)
    typer.echo(json.dumps({"said": said}) if as_json else said)


def _told(decided: "Participation") -> dict[str, Any]:
    return {"on": decided.on, "paused_until": decided.paused_until, "conditions": asdict(decided.conditions)}


def _tell(decided: "Participation", *, as_json: bool) -> None:
    typer.echo(json.dumps(_told(decided)) if as_json else _said(decided))


def _said(decided: "Participation") -> str:
    from fedrec.ondevice.privacy_facts import offer_of

    if not decided.on or decided.plan is None:
        return "This device takes no part in training."
    offer = offer_of(decided.plan)
    words = {"idle": "nobody uses it", "charging": "it charges", "unmetered": "the network is free"}
    asked = [words[name] for name, one in asdict(decided.conditions).items() if one]
    only = f", only while {' and '.join(asked)}" if asked else ""
    paused = f" It is paused until {_moment(decided.paused_until)}." if decided.paused_until else ""
    most = (
        f"{offer.participations} times at most, epsilon {offer.epsilon:.2f} at delta {offer.delta:g} per {offer.unit}"
    )
    return f"This device takes part in training{only}: {most}.{paused}"


def _spent(facts: "PrivacyFacts") -> str:
    budget = f" of {facts.budget:g}" if facts.budget is not None else ""
    cap = f" of at most {facts.cap}" if facts.cap is not None else ""
    bound = "" if facts.exact else "at most "
    times = f"in {facts.participations}{cap} contributions"
    return f"Epsilon spent: {bound}{facts.epsilon:.2f}{budget} (delta {facts.delta:g}), {times}."


def _moment(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%d %H:%M UTC")
