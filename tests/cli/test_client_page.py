"""`fedrec client page`: the agent as its owner starts and stops it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fedrec.agent.client import AgentClient
from tests.ondevice.device_worlds import a_device, a_release, a_world

FEDREC = Path(sys.executable).with_name("fedrec")


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_served_until_it_is_stopped(tmp_path: Path, end: signal.Signals) -> None:
    device = a_device(tmp_path / "device", a_release(tmp_path / "published", a_world(60)))
    command = [FEDREC, "client", "page", device, "--no-browser", "--json"]
    environment = {**os.environ, "FEDREC_KEY_FILE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as agent:
        try:
            assert agent.stdout is not None
            address = json.loads(agent.stdout.readline())["address"]
            with urllib.request.urlopen(address.partition("#")[0], timeout=10) as page:  # noqa: S310
                assert b"<h1>For you</h1>" in page.read()
            client = AgentClient.of(device)
            assert len(client.recommend(5).items) == 5
            token = (device / "agent.token").read_text().strip()
            for name in ("agent.port", "agent.token"):
                assert (device / name).stat().st_mode & 0o077 == 0
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address.partition("#")[0] + "v1/export", timeout=10)  # noqa: S310
        finally:
            agent.send_signal(end)
        out, err = agent.communicate(timeout=20)
    assert agent.returncode == 0, err
    assert not list(device.glob("agent.*"))
    # Nothing of what was asked, and no secret, is written anywhere.
    assert out == ""
    assert err in ("", "The agent has stopped.\n")
    assert token not in address
