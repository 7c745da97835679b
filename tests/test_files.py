import os
import stat

import pytest

from fedrec.files import sync_folder, write_atomically


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_its_mode_from_the_start(tmp_path, mode, monkeypatch):
    seen = []
    replace = type(tmp_path).replace

    def watch(self, target):
        seen.append(stat.S_IMODE(self.stat().st_mode))
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", watch)
    write_atomically(tmp_path / "file", b"secret", mode=mode)
    assert seen == [mode]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.parametrize("fault", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_a_fault_the_old_content_is_there_and_nothing_else(tmp_path, monkeypatch, fault, error):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, fault, fail)
        with pytest.raises(error):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_content_and_name_are_on_the_disk_when_it_returns(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def watch(handle):
        fsync(handle)
        synced.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(tmp_path / "file", b"content")
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_a_folder_is_synced_and_let_go_of(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    sync_folder(tmp_path)
    (handle,) = synced
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)
