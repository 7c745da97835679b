"""Running the agent of a device folder, and finding one that runs."""

from collections.abc import Callable
from pathlib import Path

from fedrec.agent.tokens import agent_token
from fedrec.files import write_atomically

PORT_FILE = "agent.port"


def running_agent(device: Path, *, port: int = 0, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve the device until a signal says stop.

    ready: called with the page's address, good once, when requests are taken. While the agent
    runs, DEVICE/agent.port names its port, for products on the same device.
    """
    # Lazily: reading the token and the port of a running agent needs no web library.
    from fedrec.agent.app import create_app
    from fedrec.agent.serve import listen, serve
    from fedrec.ondevice.engine import Engine

    with Engine.open(device) as engine, listen(port) as listening:
        taken = int(listening.getsockname()[1])
        app = create_app(engine, token=agent_token(device), port=taken)
        port_file = device / PORT_FILE

        def say() -> None:
            write_atomically(port_file, f"{taken}\n".encode(), mode=0o600)
            ready(f"http://127.0.0.1:{taken}/#ticket={app.state.sessions.ticket()}")

        try:
            serve(app, listening, ready=say)
        finally:
            port_file.unlink(missing_ok=True)
