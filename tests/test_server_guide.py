"""The guide of the service and its runbook: their commands exist, and the trial runs as it stands."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

from fedrec.cli.main import app
from fedrec.service.orphans import end_leftovers
from fedrec.service.rendering import proxy_program
from tests.installed import needs
from tests.service.doors import free_ports

REPOSITORY = Path(__file__).parents[1]
GUIDE, RUNBOOK = (REPOSITORY / "docs" / name for name in ("guides/server.md", "runbook.md"))
_SECONDS = 500


def scripts(document: Path, *, section: str = "") -> list[str]:
    """The shell blocks of a document, or of one of its sections."""
    text = document.read_text()
    if section:
        text = text.partition(f"\n## {section}")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[list[str]]:
    """Every call of fedrec in the blocks and in the text, as words."""
    blocks = "\n".join(scripts(document)).replace("\\\n", " ")
    in_text = "\n".join(re.findall(r"`(fedrec [^`]+)`", document.read_text()))
    calls = re.findall(r"fedrec (?:server|client|data|privacy) [^\n|&;()]*", f"{blocks}\n{in_text}")
    return [shlex.split(call, comments=True) for call in calls]


@pytest.mark.parametrize("document", [GUIDE, RUNBOOK], ids=["guide", "runbook"])
def test_every_command_and_option_exists(document: Path) -> None:
    found = commands(document)
    assert len(found) > 15
    for _, *words in found:
        command: click.Command = typer.main.get_command(app)
        while isinstance(command, click.Group):
            name = words.pop(0)
            assert name in command.commands, f"fedrec ... {name}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, f"{command.name}: {asked - known}"


def test_the_runbook_has_what_an_operator_looks_for() -> None:
    headings = re.findall(r"^##+ (.*)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    for word in ("lost key", "full disk", "compromised", "budget", "worse", "database", "certificate", "not start"):
        assert [heading for heading in headings if word in heading], word


def test_messages_that_send_an_operator_to_the_runbook_name_a_part_that_is_there() -> None:
    headings = set(re.findall(r"^##+ (.*)$", RUNBOOK.read_text(), flags=re.MULTILINE))
    sources = "".join(path.read_text() for path in (REPOSITORY / "fedrec" / "service").glob("*.py"))
    named = set(re.findall(r"docs/runbook\.md, `([^`]+)`", sources))
    assert named
    assert named <= headings


@pytest.mark.deploy
@pytest.mark.slow
@pytest.mark.timeout(_SECONDS + 60)
@needs(Path(proxy_program()).exists(), "nginx")
def test_the_trial_of_the_guide_runs_as_it_stands(tmp_path: Path) -> None:
    public, fleet, front = free_ports(3)
    script = "set -eo pipefail\n" + "".join(scripts(GUIDE, section="1. A served round"))
    script = script.replace("8443", str(public))
    script = script.replace(f"--port {public}\n", f"--port {public} --fleet-port {fleet} --front-port {front}\n")
    path = f"{Path(sys.executable).parent}:{Path(proxy_program()).parent}:{os.environ['PATH']}"
    with (tmp_path / "said").open("w") as said:
        running = subprocess.Popen(
            ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = running.wait(_SECONDS)
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            end_leftovers(str(tmp_path / "service"))
    words = (tmp_path / "said").read_text()
    assert code == 0, words
    assert "devices use release" in words
    assert "of round 2" in words
