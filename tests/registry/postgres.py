"""A PostgreSQL of the tests' own: in a temporary folder, on a socket that nobody else knows, gone afterwards."""

import grp
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

_USERS = ("postgres", "nobody")
_START_SECONDS = 60
# Durable enough for a kill of the processes, and fast: only a power cut would lose what is not synced.
_SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "max_connections=40",
    "shared_buffers=16MB",
    "dynamic_shared_memory_type=mmap",
)


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, of the newest version that is here."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    return max(found, default=Path(on_path).parent if on_path else None, key=lambda path: path.parts)


@dataclass
class Postgres:
    """A server and its databases. It refuses to run as root, so root lends it another user."""

    folder: Path
    programs: Path
    _server: "subprocess.Popen[bytes] | None" = None
    _numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Connections are taken."""
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        command = [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **_as_somebody_else())
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                self.ask("postgres", "SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """The server ends as in a power cut: all of its processes at once."""
        assert self._server is not None
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        for process in (self._server.pid, *map(int, children)):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._server.wait()
        self._server = None

    def stop(self) -> None:
        """The server has ended, with all of its processes."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(_START_SECONDS)
            self._server = None

    def new_database(self) -> str:
        """The SQLAlchemy URL of an empty database."""
        name = f"registry_{next(self._numbers)}"
        self.ask("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://fedrec@/{name}?host={self.folder}"

    def ask(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """What one statement answers, outside of any transaction."""
        with psycopg.connect(host=str(self.folder), user="fedrec", dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def private_postgres(found: Path) -> Iterator[Postgres]:
    """A server with these programs, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="fedrec-pg."))
    lent = _as_somebody_else()
    if lent:
        shutil.chown(folder, user=lent["user"], group=lent["group"])
    command = [found / "initdb", "-D", folder / "data", "-U", "fedrec", "-A", "trust", "--no-sync", "-E", "UTF8"]
    server = Postgres(folder=folder, programs=found)
    try:
        subprocess.run([*command, "--locale=C"], check=True, capture_output=True, **lent)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as_somebody_else() -> dict[str, Any]:
    """How a process is started as a user who is not root; nothing where we are none ourselves."""
    if os.getuid():
        return {}
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next(users[name] for name in _USERS if name in users)
    return {"user": user.pw_name, "group": grp.getgrgid(user.pw_gid).gr_name, "extra_groups": []}
