"""Ports of this machine, as they are seen before somebody listens on them."""

import socket

from fedrec.web.serve import LOOPBACK


def is_taken(port: int) -> bool:
    """Whether some program listens on this port of loopback."""
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((LOOPBACK, port))
        except OSError:
            return True
    return False
