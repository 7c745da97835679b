"""Files of releases on a disk and in an object store: whole under their hash, or not there."""

import hashlib
import os
import secrets
import time
from pathlib import Path

import pytest

from fedrec.errors import ConfigError, DataError, VerificationError
from fedrec.registry.artifacts import Artifacts

CONTENT = b"what a release recommends with" * 1000
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["file", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    place = {"file": f"file://{tmp_path / 'artifacts'}", "memory": f"memory://{secrets.token_hex(4)}"}
    return Artifacts(place[request.param])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def test_a_file_is_read_as_it_was_put(artifacts: Artifacts, file: Path) -> None:
    assert artifacts.size(HASH) is None
    assert artifacts.put(file, sha256=HASH) == artifacts.put(file, sha256=HASH) == len(CONTENT)
    assert artifacts.size(HASH) == len(CONTENT)
    assert b"".join(artifacts.read(HASH, start=7, end=99)) == CONTENT[7:99]
    assert artifacts.is_intact(HASH)


def test_a_file_of_another_hash_is_not_kept(artifacts: Artifacts, file: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(VerificationError):
        artifacts.put(file, sha256=other)
    assert artifacts.size(other) is None
    assert not artifacts.is_intact(other)


def test_a_file_that_broke_off_is_put_again(tmp_path: Path, file: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path / 'artifacts'}")
    artifacts.put(file, sha256=HASH)
    kept = tmp_path / "artifacts/sha256" / HASH[:2] / HASH
    kept.write_bytes(CONTENT[:100])
    artifacts.put(file, sha256=HASH)
    assert kept.read_bytes() == CONTENT


def test_a_link_or_a_pipe_is_not_followed(tmp_path: Path, file: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path / 'artifacts'}")
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(DataError):
            artifacts.put(tmp_path / name, sha256=HASH)


def test_what_a_kill_left_half_written_is_removed_after_a_day(tmp_path: Path, file: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path / 'artifacts'}")
    incoming = tmp_path / "artifacts/incoming"
    incoming.mkdir()
    old, fresh = incoming / "old", incoming / "fresh"
    old.touch()
    fresh.touch()
    os.utime(old, (time.time() - 100_000, time.time() - 100_000))
    artifacts.put(file, sha256=HASH)
    assert list(incoming.iterdir()) == [fresh]


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        Artifacts("nowhere-protocol://bucket")
