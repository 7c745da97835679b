"""The `fedrec` command: in this process, where only what it says and does counts, or as a process of its own."""

import io
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from fedrec.cli.main import main

FEDREC = Path(sys.executable).with_name("fedrec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def fedrec(*arguments: object) -> Done:
    """The command line, run here: an import of torch for each command would take longer than the command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), _as_arguments(arguments), warnings.catch_warnings():
        # A command shows a warning and goes on, as it does outside the tests.
        warnings.simplefilter("default")
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Done(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def fedrec_process(*arguments: object) -> Done:
    """The command as a shell would start it."""
    done = subprocess.run([FEDREC, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    return Done(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


@contextmanager
def _as_arguments(arguments: tuple[object, ...]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["fedrec", *map(str, arguments)]
    try:
        yield
    finally:
        sys.argv = before
