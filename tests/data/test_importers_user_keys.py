import hashlib
import hmac
from pathlib import Path

import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.importers.mapping_file import load_mapping
from fedrec.data.importers.table import import_table
from fedrec.errors import DataError

from .importer_tables import HEAD, import_rows, lay_out

ROWS = HEAD + "ann,a,100,4\nbob,b,200,3\n"


def test_user_ids_are_hashed_with_a_key_that_stays_beside_the_dataset(tmp_path: Path) -> None:
    import_rows(tmp_path, ROWS)
    key_file = tmp_path / "out.user-key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    key = bytes.fromhex(key_file.read_text())
    assert len(key) == 32
    expected = {hmac.new(key, name, hashlib.sha256).hexdigest()[:32] for name in (b"ann", b"bob")}
    assert set(Dataset.open(tmp_path / "out").user_ids()) == expected
    for file in (tmp_path / "out").iterdir():
        content = file.read_bytes()
        assert b"ann" not in content
        assert key not in content
        assert key.hex().encode() not in content


def test_a_second_import_with_the_same_key_gives_the_same_ids_and_another_key_others(tmp_path: Path) -> None:
    inputs = lay_out(tmp_path, ROWS)
    mapping = load_mapping(inputs / "mapping.toml")
    ids = {}
    for name, key in (("one", "shared"), ("two", "shared"), ("three", "own")):
        import_table(inputs, mapping=mapping, out=tmp_path / name, user_key=tmp_path / "keys" / key)
        ids[name] = set(Dataset.open(tmp_path / name).user_ids())
    assert ids["one"] == ids["two"]
    assert not ids["one"] & ids["three"]


def test_a_key_inside_the_dataset_folder_is_refused(tmp_path: Path) -> None:
    inputs = lay_out(tmp_path, ROWS)
    with pytest.raises(DataError, match="Keep it elsewhere"):
        import_table(
            inputs,
            mapping=load_mapping(inputs / "mapping.toml"),
            out=tmp_path / "out",
            user_key=tmp_path / "out" / "key",
        )


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 31, "\u00e9"])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    key = tmp_path / "out.user-key"
    key.write_text(content)
    key.chmod(0o600)
    with pytest.raises(DataError, match="is not a user key"):
        import_rows(tmp_path, ROWS)
    assert key.read_text() == content
    assert not (tmp_path / "out").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "out.user-key"
    key.write_text("00" * 32)
    key.chmod(0o644)
    with pytest.raises(DataError, match="chmod 600"):
        import_rows(tmp_path, ROWS)


def test_a_failed_import_leaves_no_new_key(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        import_rows(tmp_path, HEAD + "ann,a,never,4\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
