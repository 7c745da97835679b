"""A service under faults drawn at random: it comes back by itself, and every draw of noise is paid for.

How many faults over how many rounds, from which seed, and in which modes, is in the environment; `make chaos` draws 50
over 20. Under masks a round is five exchanges with each device, and the hostile one takes the drop-out that it bears.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.ondevice.engine import Engine
from fedrec.privacy.accounting import spending_by_client, worst_epsilon
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.ledger import Ledger
from fedrec.release import public_key, verify_release
from tests.installed import needs
from tests.service.deployment import BIN, CATALOGUE, NGINX, Deployment, Plan, until
from tests.service.faults import Faults, Kept, clock_environment
from tests.service.wire import Wire

FAULTS = int(os.environ.get("FEDREC_CHAOS_FAULTS", "12"))
ROUNDS = int(os.environ.get("FEDREC_CHAOS_ROUNDS", "6"))
SEED = int(os.environ.get("FEDREC_CHAOS_SEED", str(time.time_ns() % 1_000_000)))
MODES = os.environ.get("FEDREC_CHAOS_MODES", "central distributed").split()
HONEST = 4
DISK = "400m"

pytestmark = [
    pytest.mark.chaos,
    needs(NGINX.exists(), "nginx"),
    pytest.mark.timeout(7200),
]


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own that can be filled, where this machine lets us mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "none", folder], check=False, capture_output=True
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=False)


@pytest.mark.parametrize("mode", MODES)
def test_a_service_under_faults_pays_for_every_release_and_comes_back_by_itself(tmp_path: Path, mode: str) -> None:
    rng = random.Random(SEED)  # noqa: S311
    # A client that answers is charged for every attempt that a fault undid.
    cap = ROUNDS + FAULTS + 10
    plan = Plan(devices=HONEST + 1, rounds=ROUNDS, cap=cap, noise=20.0, timeout=30.0, mode=mode)
    with ExitStack() as stack:
        mounted = stack.enter_context(small_disk(tmp_path / "disk"))
        deployment = Deployment(tmp_path, plan, service=tmp_path / "disk" / "service")
        deployment.prepare()
        clock = tmp_path / "clock"
        deployment.environment = clock_environment(clock)
        command = [BIN / "fedrec", "server", "run", deployment.service.path]
        service = Kept(command, tmp_path / "server.log", deployment.environment)
        stack.callback(service.close)
        proxy = [NGINX, "-p", deployment.service.path / "proxy", "-c", deployment.service.path / "deploy/nginx.conf"]
        stack.enter_context(deployment.running(list(proxy), "proxy.log"))
        wire = stack.enter_context(Wire(deployment.public_port))
        until(lambda: current(deployment), what="the first release is served")
        folders = [deployment.make_device(number) for number in range(HONEST + 1)]
        for folder in folders:
            deployment.enrol(folder)
        devices = [
            Kept(deployment.taking_part(folder, port=wire.port), tmp_path / f"{folder.name}.log")
            for folder in folders[:HONEST]
        ]
        address, authority = f"localhost:{wire.port}", deployment.service.ca_certificate
        hostile = [sys.executable, "-m", "tests.service.hostile_device", folders[HONEST], address, authority]
        devices.append(Kept(list(hostile), tmp_path / "hostile.log"))
        for device in devices:
            stack.callback(device.close)
        happened = let_happen(
            Faults(deployment, service, devices, wire, small_disk=mounted, clock=clock), rng, deployment
        )
        print(json.dumps({"seed": SEED, "mode": mode, "faults": happened, "starts": service.starts}))
        until(lambda: len(deployment.rounds()) == ROUNDS, within=900, what=f"{ROUNDS} rounds (seed {SEED})")
        until(lambda: newest_round(deployment) == ROUNDS, within=300, what=f"the last release is served (seed {SEED})")
        deployment.fedrec("client", "update", folders[0], *deployment.source)
        for device in devices:
            device.close()
        service.close()
        require_paid(deployment, folders[:HONEST])
    with Engine.open(folders[0]) as engine:
        assert engine.release.round == ROUNDS
        assert len(engine.recommend(5).items) == 5


def let_happen(faults: Faults, rng: random.Random, deployment: Deployment) -> list[str]:
    """The faults, spread over the rounds."""
    happened = []
    for number, name in enumerate(faults.draw(rng, FAULTS)):
        due = number * ROUNDS // FAULTS
        until(lambda due=due: len(deployment.rounds()) >= due, within=900, what=f"round {due} after {happened}, {SEED}")
        time.sleep(rng.uniform(0, 8))
        happened.append(name)
        print(len(deployment.rounds()), name, flush=True)
        faults.known[name](rng)
    return happened


def require_paid(deployment: Deployment, devices: list[Path]) -> None:
    """Every release is paid for, every draw once; both sides' ledgers agree; no budget is passed."""
    run = deployment.service.catalogue(CATALOGUE).run
    with Ledger(run / "ledger.jsonl") as ledger:
        entries, heads = ledger.entries, ledger.hashes
    updates = [entry for entry in entries if entry["kind"] == "update" and "attempt" not in entry]
    paid_rounds = {entry["round"] for entry in updates}
    key = public_key(deployment.service.signing_key.with_suffix(".pub"))
    before = None
    for folder in sorted((run / "releases").glob("0*")):
        manifest = verify_release(folder, key)
        adapter = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        assert manifest.lineage["ledger_head"] in heads
        # Under masks a round that loses everybody before they add noise costs nothing, and moves nothing.
        assert manifest.lineage["round"] in {0, *paid_rounds} or adapter == before
        before = adapter
    tokens = [entry["token"] for entry in updates]
    assert len(tokens) == len(set(tokens)), "an attempt was charged twice"
    require_agreement(entries, devices)
    spent = spending_by_client(entries)
    assert worst_epsilon(spent.values(), delta=1e-6) < 8.0


def require_agreement(entries: list[dict], devices: list[Path]) -> None:
    """What a device says that it spent, the server has charged it for; never less."""
    for number, device in enumerate(devices):
        with Store.open(device) as store:
            own = [event["token"] for event in read_device_events(store)]
        charged = [entry["token"] for entry in entries if number in entry["participants"]]
        for token in set(own):
            assert charged.count(token) >= own.count(token), f"client {number} spent what the server did not charge"


def current(deployment: Deployment) -> bool:
    """Whether a release is served."""
    with deployment.registry() as registry:
        return registry.current(CATALOGUE) is not None


def newest_round(deployment: Deployment) -> int:
    """The round of the release that devices are told to use."""
    with deployment.registry() as registry:
        pointer = registry.current(CATALOGUE)
        return -1 if pointer is None else pointer.round
