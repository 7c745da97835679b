"""What a program left behind when it ended: taken in by the service, ended, and laid to rest."""

import ctypes
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

# Marks what a service started, for the service that starts after a kill.
MARK = "FEDREC_SERVICE"
_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.05


def take_in_orphans() -> None:
    """From now on, whoever this process's children leave behind becomes a child of this process.

    So that an end is seen at once, also in a container that has nobody to do this. Elsewhere than
    on Linux nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def lay_to_rest(*, but: Collection[int]) -> None:
    """No orphan that has ended is left in the system's table. but: children whose end somebody waits for."""
    with suppress(ChildProcessError):
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid in but:
                return
            os.waitpid(found.si_pid, 0)


def end_group(group: int, *, grace: float) -> None:
    """No process of this group is left: a program's own children may outlive it. Its leader has ended already.

    grace: seconds in which they may end by themselves.
    """
    until = time.monotonic() + grace
    while _has_members(group) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_leftovers(mark: str) -> int:
    """No process that an earlier service of this folder started is left; how many there were.

    Where the system has no /proc, a service that was killed leaves its processes to the operator.
    """
    found = [pid for pid in _processes() if pid != os.getpid() and _is_marked(pid, mark)]
    for pid in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for pid in found:
        while _is_marked(pid, mark):
            time.sleep(_POLL_SECONDS)
    return len(found)


def _has_members(group: int) -> bool:
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _processes() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []


def _is_marked(pid: int, mark: str) -> bool:
    """Whether a process of this user carries the mark of a service; one that has ended does not."""
    try:
        return f"{MARK}={mark}".encode() in (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
