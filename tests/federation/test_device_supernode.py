"""People's devices as SuperNodes of a deployed SuperLink: encrypted stores, central mode, the owner's switch."""

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.events import Event, Kind
from fedrec.data.store.store import Store
from fedrec.data.synthetic import write_world
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.participation import Conditions, opt_in
from fedrec.ondevice.privacy_facts import privacy_facts
from fedrec.ondevice.releases import active, install, pin_signer
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.ledger import read_events
from tests.federation.superlinks import BIN, free_port, running, superlink

REPOSITORY = Path(__file__).parents[2]
SCENARIO = """name = "devices"
seed = 5
[adapter]
ranks = { history_proj = 8 }
[federation]
rounds = 2
cohort = 6
min_replies = 1
server_optimizer = "fedavg"
server_rate = 1.0
[privacy]
mode = "central"
unit = "USER"
clip_norm = 0.5
noise_multiplier = 2.0
delta = 1e-6
participations = 2
[evaluation]
baselines = []
non_private_twin = false
"""

pytestmark = [pytest.mark.deploy, pytest.mark.flower, pytest.mark.slow]


def a_device(folder: Path, release: Path, dataset: Dataset, user: str, *, willing: bool) -> Path:
    """The device of one person of the world, with all that the person did in its store."""
    folder.mkdir()
    pin_signer(folder, release.parents[1] / "signing.pub")
    install(folder, release)
    with Store.create(folder, keys="file") as store:
        for row in dataset.user_events([user]).iter_rows(named=True):
            given = {name: row[name] for name in ("item_id", "timestamp", "value", "text", "context")}
            store.add_event(Event(user_id="me", kind=Kind(row["kind"]), **given))
        if willing:
            always = Conditions(idle=False, charging=False, unmetered=False)
            opt_in(store, active(folder).manifest, now=time.time(), conditions=always)
    return folder


def test_devices_take_part_pay_from_their_stores_and_go_on_recommending(tmp_path: Path) -> None:
    world, scenario = tmp_path / "world", tmp_path / "scenario.toml"
    write_world(world, users=6, items=60, seed=3)
    scenario.write_text(SCENARIO)
    first = tmp_path / "first"
    subprocess.run(
        [BIN / "fedrec", "simulate", scenario, "--data", world, "--out", first, "--json"],
        check=True,
        capture_output=True,
    )
    (start,) = (path for path in (first / "releases").iterdir() if path.name.startswith("00000"))
    dataset = Dataset.open(world)
    users = dataset.user_ids()
    devices = [
        a_device(tmp_path / f"device-{number}", start, dataset, users[number], willing=number < 2)
        for number in range(3)
    ]
    out = tmp_path / "deployed"
    with ExitStack() as stack:
        environment, port = stack.enter_context(superlink(tmp_path, simulation=False))
        for number, device in enumerate(devices):
            node = ["--insecure", "--superlink", f"127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(free_port())]
            config = ["--node-config", f'device="{device}" partition-id={number}']
            command = [BIN / "flower-supernode", *node, *config]
            stack.enter_context(running(command, environment, tmp_path / f"node-{number}.log"))
        time.sleep(8)  # the nodes connect; a run does not wait for one that comes later
        run = f'scenario="{scenario}" data="{world}" out="{out}"'
        log = stack.enter_context((tmp_path / "run.log").open("w"))
        subprocess.run(
            [BIN / "flwr", "run", ".", "own", "--stream", "--run-config", run],
            cwd=REPOSITORY,
            env=environment,
            check=True,
            timeout=400,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    updates = [event for event in read_events(out / "ledger.jsonl") if event["kind"] == "update"]
    assert [sorted(event["replies"]) for event in updates] == [["0", "1"], ["0", "1"]]
    assert json.loads((out / "result.json").read_text())["privacy"]["guarantee"]
    for number, device in enumerate(devices):
        with Store.open(device) as store:
            assert len(read_device_events(store)) == (2 if number < 2 else 0)
            assert privacy_facts(store).participations == (2 if number < 2 else 0)
        assert not list(device.glob("*.jsonl"))
        with Engine.open(device) as engine:
            assert len(engine.recommend(5).items) == 5
    norms = [json.loads(line)["update_norm"] for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert np.isfinite(norms).all()
    assert min(norms) > 0
