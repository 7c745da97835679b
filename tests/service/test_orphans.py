import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fedrec.service.orphans import MARK, end_leftovers

_WAIT = 30.0


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_an_earlier_service_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    sleeping = (sys.executable, "-c", "import time; time.sleep(600)")
    marked, other, unmarked = (
        subprocess.Popen(sleeping, env={**os.environ, **mark}, start_new_session=True)
        for mark in ({MARK: str(tmp_path)}, {MARK: f"{tmp_path}2"}, {})
    )
    try:
        _until(lambda: MARK.encode() in (Path("/proc") / str(other.pid) / "environ").read_bytes())
        _until(lambda: end_leftovers(str(tmp_path)) == 1)
        assert marked.wait(_WAIT) == -signal.SIGKILL
        assert other.poll() is None
        assert unmarked.poll() is None
        assert end_leftovers(str(tmp_path)) == 0
    finally:
        for process in (marked, other, unmarked):
            process.kill()
            process.wait()


def test_an_orphan_is_taken_in_and_laid_to_rest(tmp_path: Path) -> None:
    """In a process of its own: who takes orphans in does so for good."""
    script = f"""
import os, subprocess, time
from pathlib import Path
from fedrec.service.orphans import lay_to_rest, take_in_orphans

take_in_orphans()
subprocess.run(["sh", "-c", "sleep 0.2 & echo $! > {tmp_path}/orphan"], check=True)
orphan, mine = int(Path("{tmp_path}/orphan").read_text()), subprocess.Popen(["true"])
status = Path(f"/proc/{{orphan}}/status")
assert f"PPid:\\t{{os.getpid()}}\\n" in status.read_text()
while status.exists():
    lay_to_rest(but=[])
    time.sleep(0.02)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=_WAIT)


def test_a_child_whose_end_somebody_waits_for_is_left_to_them() -> None:
    script = """
import subprocess, time
from fedrec.service.orphans import lay_to_rest

mine = subprocess.Popen(["sh", "-c", "exit 5"])
time.sleep(0.2)
lay_to_rest(but=[mine.pid])
assert mine.wait() == 5
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=_WAIT)
