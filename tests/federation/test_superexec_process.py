"""What starts a task does not write the token of the task where everybody reads it."""

import sys
import time
from pathlib import Path

import pytest
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec

from fedrec.federation.superexec_process import launch

TOKEN = "ab" * 32
# Writes what it was started with, as Flower's own programs read it.
PROGRAM = """#!{python}
import argparse, pathlib, sys
from flwr.common.args import add_args_flwr_app_common, try_obtain_flwr_app_token
parser = argparse.ArgumentParser()
parser.add_argument("--runtime-api-address", "--serverappio-api-address")
add_args_flwr_app_common(parser)
token = try_obtain_flwr_app_token(parser.parse_args())
draft = pathlib.Path("{out}.draft")
draft.write_text(token + "\\n" + " ".join(sys.argv))
draft.rename("{out}")
"""


@pytest.mark.slow
def test_a_task_reads_its_token_and_no_command_line_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, out = tmp_path / "program", tmp_path / "out"
    program.write_text(PROGRAM.format(python=sys.executable, out=out))
    program.chmod(0o700)
    monkeypatch.setitem(TASK_TYPE_TO_COMMAND, TaskType.SERVER_APP, str(program))
    spec = ExecutionSpec(
        task_type=TaskType.SERVER_APP,
        runtime_api_address="127.0.0.1:1",
        token=TOKEN,
        insecure=False,
        root_certificates_path="/ca.crt",
        runtime_dependency_install=False,
        parent_pid=1,
        suppress_output=False,
        task_id=1,
    )
    launch(SubprocessExecutor(), spec)
    for _ in range(600):
        if out.exists():
            break
        time.sleep(0.1)
    token, command = out.read_text().split("\n")
    assert token == TOKEN
    assert TOKEN not in command
    assert "--root-certificates /ca.crt --parent-pid 1" in command
