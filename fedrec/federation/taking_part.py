"""A device in a federation for as long as its owner lets it run: connected, answering, and connecting again."""

import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fedrec.data.store.locks import held
from fedrec.data.store.store import Store
from fedrec.errors import ConfigError, DataError, FedrecError, ProtocolError, RefusedError, UnknownClientError
from fedrec.federation.device_client import DeviceInSums, device_client
from fedrec.federation.handlers import build_client_app
from fedrec.federation.knocking import knock
from fedrec.federation.supernode import supernode
from fedrec.federation.task_runner import Answered, answer_tasks
from fedrec.ondevice.directory import LaterDirectory
from fedrec.ondevice.enrolment import DeviceKeys, keys_accepted, keys_to_try, last_node, pinned_directory
from fedrec.secagg.terms import Stage
from fedrec.training.client import Instruction
from fedrec.training.masking import MaskedReply

_LOCK = "fleet.lock"
_STDERR = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 120.0
# A connection that lasted so long was a good one: the next pause is a short one again.
_LASTED = 300.0

# What happens, and facts about it; nothing of the person.
Told = Callable[[str, dict[str, object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """address: HOST:PORT. authority: the certificate that vouches for it."""

    address: str
    authority: Path

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            raise ConfigError(f"`{self.address[:100]}` is no HOST:PORT, such as recommend.example.org:443.")


def take_part(store: Store, server: Server, *, stop: threading.Event, told: Told, verbose: bool = False) -> None:
    """Answer the rounds of a server until `stop` is set, over restarts of the server and lost connections.

    Raises RefusedError where the server does not admit this device, now or no longer, or another
    process takes part for it already; VerificationError where it is not the server that was meant.
    """
    adding_up = AddingUp(store, LaterDirectory(store, f"https://{server.address}", ca=server.authority), told)
    app = build_client_app(lambda _: device_client(store.folder, store), lambda _: adding_up)
    log = _STDERR if verbose else subprocess.DEVNULL
    with held(store.folder / _LOCK, wait=0.0):
        pauses = _pauses()
        while not stop.is_set():
            began = time.monotonic()
            try:
                keys = _admitted(store, server)
                with supernode(
                    server.address, authority=server.authority, node_secret=keys.node_secret(), log=log
                ) as tasks:
                    told("connected", {"server": server.address})
                    answer_tasks(app, tasks, stop=stop, told=lambda answered: _tell(told, answered))
            except DataError as error:
                if time.monotonic() - began > _LASTED:
                    pauses = _pauses()
                pause = next(pauses)
                told("waiting", {"seconds": round(pause, 1), "because": str(error)})
                stop.wait(pause)
    told("stopped", {})


class AddingUp:
    """This device in sums under masks: a directory that does not know whom it is asked with is looked for anew.

    Devices that enrolled meanwhile, or changed their keys, are in it; a server that has none keeps this device out.
    It is looked for at the first stage alone: who the others are does not change while it adds up with them.
    """

    def __init__(self, store: Store, later: LaterDirectory, told: Told) -> None:
        self._device = DeviceInSums(device=store.folder, store=store)
        self._later, self._told = later, told

    def answer(self, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        """See `Participant.answer`."""
        try:
            return self._device.answer(instruction, stage, request)
        except (ProtocolError, UnknownClientError):
            if stage is not Stage.ADVERTISE or not self._renewed():
                raise
        return self._device.answer(instruction, stage, request)

    def _renewed(self) -> bool:
        before = pinned_directory(self._device.store)
        try:
            found = self._later.pinned()
        except FedrecError as error:
            self._told("directory", {"because": str(error)})
            return False
        if found:
            changed = found.changed_since(before) if before else 0
            # Devices change their keys; a server that changes many at once may be putting its own in their place.
            self._told("directory", {"serial": found.serial, **({"changed_keys": changed} if changed else {})})
        return found is not None


def _admitted(store: Store, server: Server) -> DeviceKeys:
    """The keys that the server admits this device by; older ones are destroyed."""
    waiting = keys_to_try(store)
    if not waiting:
        raise RefusedError(f"This device has no keys yet. Enrol it first: `fedrec client enrol {store.folder}`.")
    for keys in waiting:
        node = knock(server.address, authority=server.authority, keys=keys, node=last_node(store, keys))
        if node is not None:
            keys_accepted(store, keys, node=node)
            return keys
    raise RefusedError(
        f"{server.address} does not admit this device: it is not enrolled there yet, or not any more. Give the "
        f"operator what `fedrec client enrol {store.folder}` writes; one that was revoked asks with --new."
    )


def _tell(told: Told, answered: Answered) -> None:
    told("answered", {name: round(seconds, 4) for name, seconds in asdict(answered).items()})


def _pauses() -> Iterator[float]:
    """Twice as long each time, and not the same for all devices: a server that comes back is not overrun."""
    pause = _FIRST_PAUSE
    while True:
        yield pause * (0.5 + secrets.randbelow(1000) / 1000)
        pause = min(2 * pause, _LONGEST_PAUSE)
