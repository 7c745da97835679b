"""A SuperNode as a child: its secrets are on no disk and in no command line, and it ends with whoever started it."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.clientapp import ClientApp

from fedrec.errors import DataError
from fedrec.federation.supernode import supernode
from fedrec.federation.task_runner import answer_tasks
from fedrec.ondevice.enrolment import DeviceKeys
from fedrec.ondevice.loopback import loopback_identity
from tests.federation.runtimes import files_below
from tests.federation.superlinks import free_port

pytestmark = [
    pytest.mark.flower,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at as Linux shows them"),
]
_PARENT = """
import sys, time
from pathlib import Path
from fedrec.federation.supernode import supernode
with supernode(sys.argv[1], authority=Path(sys.argv[2]), node_secret=Path(sys.argv[3]).read_bytes()):
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(loopback_identity().certificate)
    return path


def a_node_secret() -> bytes:
    return DeviceKeys(ec.generate_private_key(ec.SECP384R1()), None).node_secret()  # type: ignore[arg-type]


def supernodes() -> dict[int, str]:
    """The command lines of the SuperNodes that run for this user, by process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended
        if "fedrec.federation.supernode_process" in words:
            found[int(path.parent.name)] = words
    return found


def test_its_secrets_are_in_no_file_no_command_line_and_no_environment(tmp_path, authority, monkeypatch) -> None:
    for name in ("TMPDIR", "FLWR_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    before, secret = files_below(tmp_path), a_node_secret()
    line = secret.splitlines()[2]
    address = f"127.0.0.1:{free_port()}"
    with supernode(address, authority=authority, node_secret=secret) as tasks:
        (process,) = [number for number, words in supernodes().items() if address in words]
        for name in ("cmdline", "environ"):
            held = Path(f"/proc/{process}/{name}").read_bytes()
            assert line not in held
            assert tasks.secret not in held
        assert files_below(tmp_path) == before
    assert process not in supernodes()


def test_it_hands_no_task_to_who_lacks_its_secret_and_waits_for_its_server(authority) -> None:
    with supernode(f"127.0.0.1:{free_port()}", authority=authority, node_secret=a_node_secret()) as tasks:
        stop = threading.Event()
        timer = threading.Timer(1.5, stop.set)
        timer.start()
        answer_tasks(ClientApp(), tasks, stop=stop)
        timer.join()


def test_one_that_cannot_read_its_key_does_not_start(authority) -> None:
    with (
        pytest.raises(DataError, match="does not start"),
        supernode(f"127.0.0.1:{free_port()}", authority=authority, node_secret=b"no key"),
    ):
        pytest.fail("it started")


def test_it_ends_when_its_parent_is_killed(tmp_path, authority) -> None:
    key = tmp_path / "key"
    key.write_bytes(a_node_secret())
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", _PARENT, address, authority, key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        (child,) = [number for number, words in supernodes().items() if address in words]
        parent.send_signal(signal.SIGKILL)
    for _ in range(200):
        if child not in supernodes():
            return
        time.sleep(0.1)
    pytest.fail("the SuperNode goes on without its parent")
