"""What an operator does: it happens, it is written down with who and why, and never on something out of date."""

from typing import Any

import pytest

from fedrec.registry.actions import actions
from fedrec.registry.control import wished, wishes
from tests.console.conftest import Operated
from tests.console.worlds import NOW, Shop

pytestmark = pytest.mark.slow

AT = "/console/v1/catalogues/films"
WHY = {"reason": "the figures look odd"}


@pytest.fixture
def shop(console: Operated) -> Shop:
    """A catalogue with two releases, the first of which is in use."""
    made = console.shop()
    made.use(made.publish(1), at=NOW - 60)
    made.publish(2)
    return made


def test_pausing_and_resuming_are_wishes_with_who_when_and_why(console: Operated, shop: Shop) -> None:
    page = console.page()
    assert page.post(f"{AT}/pause", json=WHY).status_code == 200
    said = wished(console.registry, "films")
    assert (said.wish, said.at, said.reason) == ("pause", NOW, WHY["reason"])
    assert said.by.startswith("operator session ")
    assert page.post(f"{AT}/resume", json=WHY).status_code == 200
    assert [wish.wish for wish in wishes(console.registry, "films")] == ["pause", "run"]
    assert shop.name == "films"


def test_two_sessions_are_told_apart_without_telling_their_secrets(console: Operated, shop: Shop) -> None:
    one, other = console.page(), console.page()
    one.post(f"{AT}/pause", json=WHY)
    other.post(f"{AT}/resume", json=WHY)
    console.script().post(f"{AT}/pause", json=WHY)
    who = [wish.by for wish in wishes(console.registry, shop.name)]
    assert len(set(who)) == 3
    assert who[2] == "operator token"
    secrets = [*one.cookies.values(), *one.headers.values(), *other.cookies.values(), *other.headers.values()]
    assert not [by for by in who for secret in secrets if secret in by]


def test_stopping_needs_the_name(console: Operated, shop: Shop) -> None:
    page = console.page()
    assert page.post(f"{AT}/stop", json={**WHY, "confirm": "film"}).status_code == 409
    assert page.post(f"{AT}/stop", json=WHY).status_code == 422
    assert wished(console.registry, shop.name).wish == "run"
    assert page.post(f"{AT}/stop", json={**WHY, "confirm": "films"}).status_code == 200
    assert wished(console.registry, shop.name).wish == "stop"


def test_a_release_is_put_into_use_and_taken_back(console: Operated, shop: Shop) -> None:
    page = console.page()
    second, first = (row.manifest_hash for row in console.registry.releases("films"))
    assert page.post(f"{AT}/promote", json={**WHY, "release": second, "serial": _serial(console)}).status_code == 200
    assert _in_use(console) == second
    assert page.post(f"{AT}/rollback", json={**WHY, "serial": _serial(console)}).status_code == 200
    assert _in_use(console) == first
    assert [(act.act, act.release) for act in actions(console.registry, shop.name)] == [
        ("promote", second),
        ("roll back", first),
    ]
    deeds = page.get(AT).json()["deeds"]
    # Each once: the signed pointer and the note of who wanted it are one deed.
    assert sorted(deed["what"] for deed in deeds) == ["Put into use", "Put into use", "Rolled back to"]


def test_nothing_is_done_on_what_somebody_else_changed_meanwhile(console: Operated, shop: Shop) -> None:
    page = console.page()
    second, seen = console.registry.releases("films")[0], _serial(console)
    shop.use(second, at=NOW)
    for path, more in ((f"{AT}/rollback", {}), (f"{AT}/promote", {"release": second.manifest_hash})):
        answer = page.post(path, json={**WHY, **more, "serial": seen})
        assert answer.status_code == 409
        assert "meanwhile" in answer.json()["error"]
    assert _in_use(console) == second.manifest_hash
    assert actions(console.registry, "films") == []


def test_there_is_no_way_back_from_the_first_release(console: Operated, shop: Shop) -> None:
    answer = console.page().post(f"{AT}/rollback", json={**WHY, "serial": _serial(console)})
    assert answer.status_code == 409
    assert "no earlier release" in answer.json()["error"]
    assert actions(console.registry, shop.name) == []


def test_a_release_that_is_not_there_is_not_put_into_use(console: Operated, shop: Shop) -> None:
    answer = console.page().post(f"{AT}/promote", json={**WHY, "release": "0" * 64, "serial": _serial(console)})
    assert answer.status_code == 404
    assert actions(console.registry, shop.name) == []


def test_without_the_signing_key_no_pointer_is_made_nor_another_key(console: Operated, shop: Shop) -> None:
    console.folder.signing_key.unlink()
    second = console.registry.releases(shop.name)[0].manifest_hash
    answer = console.page().post(f"{AT}/promote", json={**WHY, "release": second, "serial": _serial(console)})
    assert answer.status_code == 409
    assert not console.folder.signing_key.exists()


@pytest.mark.parametrize("reason", ["", "  ", "ab", "x" * 301, "two\nlines", "\x1b[31mred"])
def test_nothing_is_done_without_a_reason_that_people_can_read(console: Operated, shop: Shop, reason: str) -> None:
    asked: dict[str, dict[str, Any]] = {
        "pause": {},
        "resume": {},
        "stop": {"confirm": "films"},
        "promote": {"release": "0" * 64, "serial": 1},
        "rollback": {"serial": 1},
    }
    page = console.page()
    for action, more in asked.items():
        assert page.post(f"{AT}/{action}", json={**more, "reason": reason}).status_code == 422
    assert wishes(console.registry, shop.name) == []


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_catalogue_that_is_not_served_is_told_nothing(console: Operated, action: str) -> None:
    assert console.page().post(f"/console/v1/catalogues/books/{action}", json=WHY).status_code == 404
    assert wishes(console.registry, "books") == []


def _serial(console: Operated) -> int:
    pointer = console.registry.current("films")
    return pointer.serial if pointer else 0


def _in_use(console: Operated) -> str:
    pointer = console.registry.current("films")
    assert pointer is not None
    return pointer.manifest_hash
