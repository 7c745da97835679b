"""`fedrec client keep` and `rotate-key`: for how long, and under which key, a device keeps what a person did."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.cli.client_device import AsJson, Device
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.data.events import Kind
    from fedrec.data.store.retention import Retention


def keep(
    device: Device,
    days: Annotated[int | None, typer.Option(help="Delete events that are older; without it they are kept.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND=DAYS", help="Other days for one kind, such as search=30.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say for how long events are kept; what is older is deleted now, and from now on."""
    from fedrec.data.store.retention import RETENTION, Retention
    from fedrec.data.store.store import Store
    from fedrec.ondevice.feedback import forget_gone

    retention = Retention(days=days, kinds=dict(_kind_days(each) for each in kind or []))
    with Store.open(device) as store:
        store.set_value(RETENTION, retention.as_setting())
        gone = store.apply_retention(time.time())
        if gone:
            forget_gone(store)
    typer.echo(json.dumps({**retention.as_setting(), "deleted": gone}) if as_json else _said(retention, gone))


def rotate_key(device: Device, as_json: AsJson = False) -> None:
    """Encrypt the store under a new key and destroy the old one."""
    from fedrec.data.store.store import Store

    with Store.open(device) as store:
        store.rotate_key()
    typer.echo(json.dumps({"rotated": True}) if as_json else "The store lies under a new key; the old one is gone.")


def _kind_days(given: str) -> tuple["Kind", int]:
    from fedrec.data.events import Kind

    name, _, days = given.partition("=")
    try:
        return Kind(name), int(days)
    except ValueError:
        kinds = ", ".join(kind.value for kind in Kind)
        raise ConfigError(f"--kind {given} is not KIND=DAYS, such as search=30. Kinds: {kinds}.") from None


def _said(retention: "Retention", gone: int) -> str:
    usual = "for ever" if retention.days is None else f"for {retention.days} days"
    own = "".join(f", {kind.value} for {days} days" for kind, days in retention.kinds.items())
    return f"Events are kept {usual}{own}. {gone} were older and are deleted."
