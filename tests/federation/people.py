"""Devices whose owners agreed to sums under masks, and the server that asks them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedrec.data.store.store import Store
from fedrec.federation.device_client import DeviceInSums
from fedrec.identities import Directory, signed_directory
from fedrec.model.linear import released_layout
from fedrec.ondevice.device_state import DeviceState
from fedrec.ondevice.enrolment import enrolment_request, keys_to_try, pin_directory
from fedrec.ondevice.participation import Conditions, opt_in
from fedrec.ondevice.releases import active
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.plan import Limits, PrivacyPlan
from fedrec.registry.registry import Registry
from fedrec.secagg.planned import secure_sum_for
from fedrec.secagg.roster import Roster
from fedrec.secagg.server import SecureServer
from fedrec.secagg.terms import Stage
from fedrec.training.client import Instruction
from fedrec.training.masking import MaskedReply, Masking, masking_of
from tests.private_devices import a_device, a_release, a_signer, an_event
from tests.registry.serving import listening, releases_app

ALWAYS = Conditions(idle=False, charging=False, unmetered=False)
READY = DeviceState(idle=True, charging=True, unmetered=True)
CLIENTS = 3
PLAN = PrivacyPlan(
    mode="distributed",
    unit="USER",
    clip_norm=0.5,
    noise_multiplier=2.0,
    delta=1e-6,
    limits=Limits(cap=3, rounds=3),
    secure_sum=secure_sum_for(CLIENTS, drop_out=0.0, corruption=0.0, size=2**14, norm=0.5, noise_multiplier=2.0),
)


class People:
    """Devices whose owners agreed to sums under masks, of one catalogue that one signer vouches for."""

    def __init__(self, path: Path, *, plan: PrivacyPlan = PLAN) -> None:
        self.signer = a_signer(path)
        release = a_release(path, plan=plan)
        self.devices: list[Path] = []
        for number in range(CLIENTS):
            home = path / f"home-{number}"
            home.mkdir()
            device = a_device(home, release)
            with Store.open(device) as store:
                for day in range(6):
                    store.add_event(an_event(number + day * 3, time=1_700_000_000 + day * 86_400))
                opt_in(store, active(device).manifest, now=0.0, conditions=ALWAYS)
                enrolment_request(store, now=0.0)
            self.devices.append(device)

    def document(self, *, serial: int = 1, known: int = CLIENTS) -> bytes:
        """The signed directory of the first devices."""
        directory = Directory(catalogue="films", serial=serial, entries=self._entries(known))
        return signed_directory(directory, self.signer)

    def pin(self, document: bytes) -> None:
        """Everybody has this directory."""
        for device in self.devices:
            with Store.open(device) as store:
                pin_directory(store, document)

    def instruction(self) -> Instruction:
        """What a server asks of all of them."""
        layout = released_layout(active(self.devices[0]).manifest)
        return Instruction(
            run="run",
            round=1,
            token="token",  # noqa: S106
            adapter=np.zeros(layout.size, np.float32),
            layout=layout.hash,
            plan=PLAN,
            negatives_seed=0,
        )

    def masking(self) -> Masking:
        """As the server has it."""
        found = masking_of(PLAN, self._keys)
        assert found is not None
        return found

    def server(self) -> SecureServer:
        """A server that asks them all."""
        instruction, masking = self.instruction(), self.masking()
        terms = masking.terms(instruction, size=len(instruction.adapter))
        return SecureServer(terms, roster=Roster((10, 11, 12)), directory=self._keys())

    def answer(
        self,
        client: int,
        stage: Stage,
        request: bytes,
        *,
        instruction: Instruction | None = None,
        state: DeviceState = READY,
    ) -> MaskedReply:
        """What a device answers that was just started."""
        device = self.devices[client - 10]
        with Store.open(device) as store:
            answering = DeviceInSums(device=device, store=store, state=state)
            return answering.answer(instruction or self.instruction(), stage, request)

    def spent(self, client: int) -> list[str]:
        """The tokens of the attempts that a device paid for."""
        with Store.open(self.devices[client - 10]) as store:
            return [event["token"] for event in read_device_events(store)]

    def asked(self, stage: Stage) -> tuple[SecureServer, dict[int, bytes]]:
        """A server that came up to a stage, and what it asks there."""
        server = self.server()
        for earlier in list(Stage)[:stage]:
            for client, request in server.requests().items():
                server.accept(client, self.answer(client, earlier, request).answer)
            server.close()
        return server, server.requests()

    def first_request(self) -> bytes:
        """What client 10 is asked first."""
        return self.server().requests()[10]

    def _keys(self) -> dict[int, bytes]:
        return {client: bytes.fromhex(key) for client, key in self._entries(CLIENTS).items()}

    def _entries(self, known: int) -> dict[int, str]:
        entries = {}
        for number, device in enumerate(self.devices[:known]):
            with Store.open(device) as store:
                entries[10 + number] = keys_to_try(store)[0].identity_key
        return entries


@contextmanager
def a_server_of_releases(folder: Path) -> Iterator[tuple[Registry, str]]:
    """Where devices fetch their directory."""
    url = f"sqlite:///{folder / 'registry.db'}"
    with Registry.open(url, artifacts=str(folder / "artifacts")) as registry, listening(releases_app(registry)) as port:
        yield registry, f"http://127.0.0.1:{port}"
