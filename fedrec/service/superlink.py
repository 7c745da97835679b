"""What a service tells its SuperLink and asks of it: calls of the `flwr` command, whose faults are one line here.

The command shows the service's secret, which it reads from the file that its environment names. It answers in JSON,
with exit code 0 also where it was refused: what counts is what it says.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrec.errors import DataError, RefusedError
from fedrec.service.folder import ServiceFolder

CONNECTION = "service"
_SECONDS = 60
_REFUSAL = re.compile(r"\[code: (\d+)\] *(.*)")
_RUN_FINISHED = 18


class SuperLinkRefusedError(RefusedError):
    """The SuperLink answers, and says no."""

    def __init__(self, message: str, refusal: int) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRun:
    """A run of the SuperLink. status: Flower's word, such as `running` or `finished:failed`; details: its reason."""

    id: int
    status: str
    details: str

    @property
    def finished(self) -> bool:
        """Whether nothing comes of it any more."""
        return self.status.startswith("finished")


def connection(folder: ServiceFolder) -> tuple[str, Path]:
    """Where the SuperLink listens, HOST:PORT, and the authority that vouches for it."""
    path = folder.flower_home / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["superlink"][CONNECTION]
        return str(table["address"]), Path(table["root-certificates"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not say where the SuperLink is ({type(error).__name__}). Make it again: `fedrec server init`."
        ) from None


def start_run(folder: ServiceFolder, catalogue: str) -> int:
    """The rounds of a catalogue run under the SuperLink; returns the run's id."""
    path = folder.path.resolve()
    settings = f"service={json.dumps(str(path))} catalogue={json.dumps(catalogue)}"
    return int(_ask(folder, "run", str(folder.app.resolve()), CONNECTION, "--run-config", settings)["run-id"])


def served_runs(folder: ServiceFolder) -> list[ServedRun]:
    """Every run that the SuperLink remembers."""
    return [_run(each) for each in _ask(folder, "list", CONNECTION)["runs"]]


def served_run(folder: ServiceFolder, run: int) -> ServedRun | None:
    """One run; None where the SuperLink does not remember it."""
    return next((each for each in served_runs(folder) if each.id == run), None)


def stop_run(folder: ServiceFolder, run: int) -> None:
    """The run goes on no more; one that has finished is no fault."""
    try:
        _ask(folder, "stop", str(run), CONNECTION)
    except SuperLinkRefusedError as error:
        if error.refusal != _RUN_FINISHED:
            raise


def flower_environment(folder: ServiceFolder) -> dict[str, str]:
    """The environment of Flower's processes of this service: its connection, and nothing that leaves the machine."""
    return os.environ | {
        "FLWR_HOME": str(folder.flower_home.resolve()),
        "FEDREC_CONTROL_SECRET_FILE": str(folder.control_secret.resolve()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "NO_COLOR": "1",
    }


def _run(table: Mapping[str, Any]) -> ServedRun:
    details = str(table["status-details"])
    return ServedRun(
        id=int(table["run-id"]), status=str(table["status"]), details="" if details == "N/A" else _one_line(details)
    )


def _ask(folder: ServiceFolder, *words: str) -> Mapping[str, Any]:
    """What the command answers; raises SuperLinkRefusedError where it was refused, DataError where nobody answered."""
    command = [sys.executable, "-m", "fedrec.federation.control_command", *words, "--format", "json"]
    asked = " ".join(words[:2])
    try:
        done = subprocess.run(
            command, env=flower_environment(folder), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _silent(folder, asked, f"no answer within {_SECONDS} seconds") from None
    answer = _json(done.stdout)
    if answer.get("success") is True:
        return answer
    said = str(answer.get("error-message", done.stderr))
    if refusal := _REFUSAL.search(said):
        raise SuperLinkRefusedError(f"The SuperLink refused `{asked}`: {refusal[2]}", int(refusal[1]))
    raise _silent(folder, asked, _one_line(said))


def _json(output: str) -> dict[str, Any]:
    """The object that a command printed, after whatever it said before."""
    start = output.find("{")
    try:
        found = json.loads(output[start:]) if start >= 0 else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _silent(folder: ServiceFolder, asked: str, why: str) -> DataError:
    return DataError(
        f"The SuperLink of {folder.path} did not answer `{asked}` ({why or 'nothing said'}). "
        f"See that the service runs: `fedrec server run {folder.path}`."
    )


def _one_line(said: str) -> str:
    """The last thing that was said, cut to a line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
