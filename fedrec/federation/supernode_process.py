"""Flower's SuperNode in a process that ends when its loop ends, and when the one that started it ends."""

import os
import signal
import sys
import threading
import time

from flwr.supernode.cli.flower_supernode import flower_supernode

_SECONDS_TO_LEAVE = 5.0
# Many times what it needs. It keeps whatever a server sends: without a bound that would end the whole computer.
_MOST_MEMORY = 2 << 30


def main() -> None:
    """Run `flower-supernode` with this process's arguments, until standard input is closed at its other end."""
    os.umask(0o077)
    _bound_memory()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    flower_supernode()
    # Flower logs what its loop cannot go on after, and returns: its local server would go on for ever.
    os._exit(1)


def _bound_memory() -> None:
    """More memory than that is not given to this process, where the system can refuse it."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        mine = _MOST_MEMORY if most == resource.RLIM_INFINITY else min(_MOST_MEMORY, most)
        resource.setrlimit(resource.RLIMIT_DATA, (mine, mine))


def _leave_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_LEAVE)
    os._exit(1)


if __name__ == "__main__":
    main()
