from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from fedrec.errors import DataError
from fedrec.model.catalogue_file import CatalogueFile

WORDS = st.none() | st.text(max_size=8)
ITEMS = st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS, st.none() | st.integers(-(10**10), 10**10)), max_size=12)


def packed(items: list[tuple[str | None, str | None, str | None, str | None, int | None]]) -> CatalogueFile:
    columns = [list(column) for column in zip(*items, strict=True)] or [[]] * 5
    return CatalogueFile.of(
        [f"i{row}" for row in range(len(items))],
        titles=columns[0],
        texts=columns[1],
        categories=columns[2],
        providers=columns[3],
        published=columns[4],
    )


@settings(max_examples=60, deadline=None)
@given(ITEMS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, items) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("catalogue") / "catalogue"
    packed(items).save(path)
    found = CatalogueFile.open(path)
    assert list(found.ids) == [f"i{row}" for row in range(len(items))]
    assert list(found.titles) == [title or "" for title, *_ in items]
    assert list(found.texts) == [text or "" for _, text, *_ in items]
    for names, codes, place in (
        (found.categories, found.category_codes, 2),
        (found.providers, found.provider_codes, 3),
    ):
        assert [names[code] if code >= 0 else None for code in codes] == [item[place] or None for item in items]
    assert found.published.tolist() == [{None: 0, 0: 1}.get(item[4], item[4]) for item in items]


def test_the_same_catalogue_is_the_same_file(tmp_path: Path) -> None:
    items = [("A title", None, "b", "x", 5), (None, "Text", "a", None, None)]
    for name in ("one", "other"):
        packed(items).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_many_providers_have_codes_of_their_own(tmp_path: Path) -> None:
    many = 40_000
    packed([("t", None, "c", f"p{row:05d}", None) for row in range(many)]).save(tmp_path / "catalogue")
    found = CatalogueFile.open(tmp_path / "catalogue")
    assert found.category_codes.dtype == np.int16
    assert found.provider_codes.tolist() == list(range(many))


@pytest.mark.parametrize(
    "change",
    [
        {"published": np.zeros(1, np.int64)},
        {"category_codes": np.array([0, 7], np.int16)},
        {"provider_codes": np.array([-2, 0], np.int16)},
        {"titles.offsets": np.array([0, 9, 1], np.int64)},
        {"texts.offsets": np.array([0], np.int64)},
    ],
)
def test_columns_that_contradict_each_other_are_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    path = tmp_path / "catalogue"
    packed([("One", "x", "a", "p", 1), ("Two", "y", "b", "q", 2)]).save(path)
    save_file(load_file(path) | change, path, {"format": "fedrec-catalogue/1"})
    with pytest.raises(DataError, match="Fetch the release again"):
        CatalogueFile.open(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue"
    packed([("One", "x", "a", "p", 1)]).save(path)
    save_file(load_file(path), path, {"format": "fedrec-catalogue/9"})
    with pytest.raises(DataError, match="has format fedrec-catalogue/9"):
        CatalogueFile.open(path)
    save_file({"published": np.zeros(3)}, path)
    with pytest.raises(DataError):
        CatalogueFile.open(path)
