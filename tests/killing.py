"""Work in a process of its own that is killed with SIGKILL, as a power cut would end it."""

import os
import signal
import sys
import time
from collections.abc import Callable


def attempt(work: Callable[[], object], *, kill_after: float | None) -> bool:
    """Do some work in a forked child, kill it after some seconds if it still runs; whether it finished."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # a child must never return into the parent's loop
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("The work failed in its own process.")
    return os.WIFEXITED(status)
