"""Taking part: refused in one line where it cannot be, patient where nobody answers, one process at a time."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.errors import ConfigError, RefusedError
from fedrec.federation.taking_part import Server, take_part
from fedrec.ondevice.enrolment import enrolment_request
from fedrec.ondevice.loopback import loopback_identity
from tests.federation.superlinks import free_port


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "device", keys="file") as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Server:
    authority = tmp_path / "ca.crt"
    authority.write_bytes(loopback_identity().certificate)
    return Server(address=f"127.0.0.1:{free_port()}", authority=authority)


def silent(*_: object) -> None: ...


def test_a_device_without_keys_is_told_to_enrol(store, server) -> None:
    with pytest.raises(RefusedError, match="client enrol"):
        take_part(store, server, stop=threading.Event(), told=silent)


def test_one_process_at_a_time_takes_part(store, server) -> None:
    enrolment_request(store, now=0)
    stop, refused = threading.Event(), []

    def told(what: str, _: object) -> None:
        if what == "waiting" and not refused:
            with pytest.raises(RefusedError, match="in use"):
                take_part(store, server, stop=threading.Event(), told=silent)
            refused.append(what)
            stop.set()

    take_part(store, server, stop=stop, told=told)
    assert refused


def test_a_server_that_does_not_answer_is_waited_for_and_a_stop_is_a_stop(store, server) -> None:
    enrolment_request(store, now=0)
    stop, heard = threading.Event(), []

    def told(what: str, facts: dict[str, object]) -> None:
        heard.append((what, facts))
        if len(heard) == 2:
            stop.set()

    take_part(store, server, stop=stop, told=told)
    assert [what for what, _ in heard] == ["waiting", "waiting", "stopped"]
    assert "does not answer" in str(heard[0][1]["because"])


@pytest.mark.parametrize("address", ["", "localhost", ":443", "localhost:", "localhost:0", "localhost:70000", "a:b"])
def test_what_is_no_address_is_refused(address, tmp_path) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        Server(address=address, authority=tmp_path / "ca.crt")


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(store, server, content) -> None:
    enrolment_request(store, now=0)
    server.authority.unlink() if content is None else server.authority.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        take_part(store, server, stop=threading.Event(), told=silent)
