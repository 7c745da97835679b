"""Running the agent of a device folder, and finding one that runs."""

from collections.abc import Callable, Mapping
from pathlib import Path

from fedrec.agent.opening import close_way, open_page
from fedrec.agent.tokens import FILE, agent_token
from fedrec.files import write_atomically

PORT_FILE = "agent.port"


def running_agent(
    device: Path,
    *,
    port: int = 0,
    ready: Callable[[str], object] = lambda _: None,
    browse: Callable[[str], object] | None = None,
) -> None:
    """Serve the device until a signal says stop.

    ready: called with the page's address, good once, when requests are taken. browse: opens an
    address in the person's browser; None opens none. While the agent runs, DEVICE/agent.port
    names its port and DEVICE/agent.token holds its token, for products on the same device.
    """
    # Lazily: reading the token and the port of a running agent needs no web library.
    from fedrec.agent.app import create_app
    from fedrec.ondevice.engine import Engine
    from fedrec.web.serve import Running, listen, serve

    with Engine.open(device) as engine, listen(port) as listening:
        taken = int(listening.getsockname()[1])
        # Before the port is named: who finds the port finds the token of the same run.
        token = agent_token(device)
        app = create_app(engine, token=token, port=taken)
        close_way(device)

        def say() -> None:
            write_atomically(device / PORT_FILE, f"{taken}\n".encode(), mode=0o600)
            ticket = app.state.sessions.ticket()
            address = f"http://127.0.0.1:{taken}/#ticket={ticket}"
            ready(address)
            if browse is not None:
                open_page(device, address, waiting=lambda: app.state.sessions.awaits(ticket), browse=browse)

        try:
            serve(app, listening, running=Running(service="agent", ready=say))
        finally:
            close_way(device)
            _withdraw(device, {PORT_FILE: str(taken), FILE: token})


def _withdraw(device: Path, written: Mapping[str, str]) -> None:
    """Take back what names this run; another agent of the device, started since, keeps its own."""
    for name, content in written.items():
        path = device / name
        if path.exists() and path.read_text().strip() == content:
            path.unlink(missing_ok=True)
