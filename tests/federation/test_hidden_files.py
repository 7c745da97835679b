"""Secrets for a child process: it can open them, nobody finds them on a disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedrec.federation.hidden_files import hidden_files

_READ = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read() + open(sys.argv[1], 'rb').read())"
linux = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")


def test_a_child_reads_what_it_is_given_and_may_read_it_twice() -> None:
    with hidden_files({"key": b"secret", "other": b""}) as files:
        command = [sys.executable, "-c", _READ, files.paths["key"]]
        done = subprocess.run(command, pass_fds=files.handles, capture_output=True, check=True)
    assert done.stdout == b"secretsecret"


@linux
def test_it_lies_in_no_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with hidden_files({"key": b"secret"}) as files:
        assert files.paths["key"].startswith("/proc/self/fd/")
        assert "memfd" in str(Path(files.paths["key"]).readlink())
        assert not list(tmp_path.iterdir())


@linux
def test_a_child_that_is_not_meant_does_not_inherit_it() -> None:
    with hidden_files({"key": b"secret"}) as files:
        done = subprocess.run([sys.executable, "-c", _READ, files.paths["key"]], capture_output=True, check=False)
    assert b"secret" not in done.stdout


def test_it_is_gone_afterwards() -> None:
    with hidden_files({"key": b"secret"}) as files:
        path = Path(files.paths["key"])
        assert path.read_bytes() == b"secret"
    assert not path.exists()


def test_where_memory_cannot_hold_files_they_are_the_owners_alone_and_deleted(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with hidden_files({"key": b"secret"}) as files:
        path = Path(files.paths["key"])
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"secret", 0o600)
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())
