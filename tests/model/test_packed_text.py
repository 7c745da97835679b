import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.model.packed_text import PackedText

TEXTS = st.lists(st.text(max_size=12), max_size=20)


@given(TEXTS)
def test_what_is_packed_comes_back(texts: list[str]) -> None:
    packed = PackedText.of(texts)
    assert list(packed) == texts
    assert len(packed) == len(texts)
    assert packed[:] == texts


@given(TEXTS.filter(bool), st.data())
def test_a_row_is_read_from_either_end(texts: list[str], data: st.DataObject) -> None:
    row = data.draw(st.integers(-len(texts), len(texts) - 1))
    assert PackedText.of(texts)[row] == texts[row]


@pytest.mark.parametrize("row", [-4, 3, 99])
def test_a_row_that_is_not_there_is_an_index_error(row: int) -> None:
    with pytest.raises(IndexError):
        PackedText.of(["a", "b", "c"])[row]


@pytest.mark.parametrize("offsets", [[], [0], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3]])
def test_offsets_that_do_not_cut_the_blob_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        PackedText(np.frombuffer(b"abc", dtype=np.uint8), np.array(offsets, dtype=np.int64))
