from pathlib import Path

import pytest

from fedrec.model.catalogue_file import CatalogueFile
from fedrec.ondevice.catalogue import DeviceCatalogue, Item

ITEMS = [
    Item(item_id="a", title="Tea", text="Tea. Leaves", category="drinks", provider="North", published=-5),
    Item(item_id="b", title="Bread", category="food", published=7),
    Item(item_id="c", title="Rain"),
]


@pytest.fixture
def catalogue(tmp_path: Path) -> DeviceCatalogue:
    CatalogueFile.of(
        [item.item_id for item in ITEMS],
        titles=[item.title for item in ITEMS],
        texts=[item.text for item in ITEMS],
        categories=[item.category for item in ITEMS],
        providers=[item.provider for item in ITEMS],
        published=[item.published for item in ITEMS],
    ).save(tmp_path / "catalogue")
    return DeviceCatalogue.open(tmp_path / "catalogue")


def test_every_item_is_what_was_published(catalogue: DeviceCatalogue) -> None:
    assert [catalogue.item(row) for row in range(len(catalogue))] == ITEMS
    assert [catalogue.title(row) for row in range(3)] == ["Tea", "Bread", "Rain"]


def test_codes_are_places_among_the_names(catalogue: DeviceCatalogue) -> None:
    assert [catalogue.categories[code] for code in catalogue.category_codes[:2]] == ["drinks", "food"]
    assert catalogue.category_codes[2] == -1
    assert catalogue.provider_codes.tolist() == [0, -1, -1]
    assert catalogue.published.tolist() == [-5, 7, 0]


def test_added_items_come_behind_and_may_bring_names_of_their_own(catalogue: DeviceCatalogue) -> None:
    new = [
        Item(item_id="d", title="Soup", category="food", provider="South", published=0),
        Item(item_id="e", title="Fog", category="weather", provider="North"),
    ]
    longer = catalogue.extended(new[:1]).extended(new[1:])
    assert [longer.item(row) for row in range(5)] == [*ITEMS, *new]
    assert [longer.title(row) for row in (0, 3, 4)] == ["Tea", "Soup", "Fog"]
    assert [longer.categories[code] for code in longer.category_codes[3:]] == ["food", "weather"]
    assert [longer.providers[code] for code in longer.provider_codes[[0, 3, 4]]] == ["North", "South", "North"]
    assert (len(catalogue), len(longer)) == (3, 5)


def test_it_says_when_it_is_of_another_index(catalogue: DeviceCatalogue) -> None:
    assert catalogue.has_rows(["a", "b", "c"])
    assert not any(catalogue.has_rows(other) for other in (["a", "b"], ["a", "c", "b"], ["a", "b", "c", "d"]))
