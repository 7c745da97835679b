"""What the device is doing now: idle, charging, on a network that costs nothing?

An integrator who knows better than the files of Linux says so; what nobody knows counts as no.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fedrec.data.store.store import Store
from fedrec.errors import DataError

_NAME = "device_state"
# What an integrator said is believed for so many seconds.
_BELIEVED = 900
_SYS = Path("/sys/class")
_ETHERNET = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """Each is None where it is not known."""

    idle: bool | None = None
    charging: bool | None = None
    unmetered: bool | None = None


def tell(store: Store, state: DeviceState, *, now: float) -> None:
    """What the integrator knows is believed for a quarter of an hour."""
    store.set_value(_NAME, {**asdict(state), "time": int(now)})


def state_from(said: Mapping[str, Any]) -> DeviceState:
    """The state in a table; raises DataError for another key or a value that is not true, false or null."""
    known = {field.name for field in fields(DeviceState)}
    wrong = [name for name, value in said.items() if name not in known or not isinstance(value, bool | None)]
    if wrong:
        raise DataError(f"`{wrong[0]}` is no state of a device. Say true or false of {', '.join(sorted(known))}.")
    return DeviceState(**said)


def current_state(store: Store, *, now: Callable[[], float] = time.time, sys: Path = _SYS) -> DeviceState:
    """What the integrator said lately, and what Linux's files say of the rest."""
    said = store.value(_NAME) or {}
    fresh = said if 0 <= now() - said.get("time", -_BELIEVED - 1) <= _BELIEVED else {}
    probes: dict[str, Callable[[], bool | None]] = {
        "idle": _idle,
        "charging": lambda: _charging(sys / "power_supply"),
        "unmetered": lambda: _unmetered(sys / "net"),
    }
    return DeviceState(**{name: probe() if fresh.get(name) is None else fresh[name] for name, probe in probes.items()})


def _idle() -> bool | None:
    """Whether less than half of the cores had work in the last minute."""
    try:
        return os.getloadavg()[0] < (os.cpu_count() or 1) / 2
    except OSError:
        return None


def _charging(supplies: Path) -> bool | None:
    """Whether the mains answer; a machine without a battery hangs on them."""
    batteries = [supply for supply in _folders(supplies) if _read(supply / "type") == "Battery"]
    if not batteries:
        return True if supplies.is_dir() else None
    return any(_read(battery / "status") in ("Charging", "Full", "Not charging") for battery in batteries)


def _unmetered(networks: Path) -> bool | None:
    """True on a cable; a radio network may cost, so nobody knows."""
    up = [net for net in _folders(networks) if net.name != "lo" and _read(net / "operstate") == "up"]
    if not up:
        return None
    return True if all(_read(net / "type") == _ETHERNET and not (net / "wireless").exists() for net in up) else None


def _folders(parent: Path) -> list[Path]:
    return sorted(parent.iterdir()) if parent.is_dir() else []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
