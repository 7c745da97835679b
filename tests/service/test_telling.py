from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.service.telling import Telling, told

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5
)


@given(st.dictionaries(st.text(), _VALUES))
def test_what_one_process_tells_another_reads(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("telling") / "it.json"
    Telling(path).tell(content)
    assert told(path) == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["it.json"]


def test_the_last_word_counts(tmp_path: Path) -> None:
    telling = Telling(tmp_path / "it.json")
    for number in range(3):
        telling.tell({"number": number})
    assert told(tmp_path / "it.json") == {"number": 2}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'"x"'])
def test_what_cannot_be_read_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it.json").write_bytes(content)
    assert told(tmp_path / "it.json") == {}
    assert told(tmp_path / "none.json") == {}


def test_a_place_that_cannot_be_written_is_told_to_who_tells(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Telling(tmp_path / "gone" / "it.json").tell({})
