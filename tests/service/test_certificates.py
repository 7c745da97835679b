import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedrec.errors import ConfigError, DataError
from fedrec.service.authority import certify
from fedrec.service.certificates import (
    belong_together,
    days_left,
    make_certificates,
    read_certificate,
    renew_certificate,
    shown_to_devices,
    take_certificate,
)
from fedrec.service.folder import ServiceFolder

NOW = datetime.now(UTC)
NAMES = ("recommend.example", "192.0.2.7")


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    made = ServiceFolder(tmp_path / "service")
    make_certificates(made, names=NAMES, now=NOW)
    return made


def _answer_once(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(b"here")
    except OSError:  # the other side refused us, which is what some of these tests are about
        connection.close()


def _greeting(server: tuple[Path, Path], *, ca: Path, name: str) -> bytes:
    """What a client that trusts `ca` reads from a server under `name`."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*server)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer_once, args=(listening, serving))
        thread.start()
        try:
            trusting = ssl.create_default_context(cafile=ca)
            with (
                socket.create_connection(listening.getsockname()) as plain,
                trusting.wrap_socket(plain, server_hostname=name) as secured,
            ):
                return secured.recv(4)
        finally:
            thread.join()


@pytest.mark.parametrize("name", [*NAMES, "localhost", "127.0.0.1"])
def test_who_trusts_the_authority_talks_to_the_server_under_each_of_its_names(folder: ServiceFolder, name: str) -> None:
    server = (folder.server_certificate, folder.server_key)
    assert _greeting(server, ca=folder.ca_certificate, name=name) == b"here"


def test_another_name_is_refused(folder: ServiceFolder) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _greeting((folder.server_certificate, folder.server_key), ca=folder.ca_certificate, name="other.example")


def test_the_certificate_of_a_foreign_authority_is_refused(folder: ServiceFolder, tmp_path: Path) -> None:
    foreign = ServiceFolder(tmp_path / "foreign")
    make_certificates(foreign, names=NAMES, now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        _greeting((foreign.server_certificate, foreign.server_key), ca=folder.ca_certificate, name=NAMES[0])


def test_a_stolen_authority_cannot_vouch_for_another_site(folder: ServiceFolder, tmp_path: Path) -> None:
    """The thief leaves our own check out, so the constraint in the certificate must hold."""
    stolen = serialization.load_pem_private_key(folder.ca_key.read_bytes(), password=None)
    assert isinstance(stolen, ec.EllipticCurvePrivateKey)
    elsewhere = ServiceFolder(tmp_path / "elsewhere")
    make_certificates(elsewhere, names=["bank.example"], now=NOW)
    free = read_certificate(elsewhere.ca_certificate)
    forged = certify(_key(folder.server_key).public_key(), ["bank.example"], by=(stolen, free), now=NOW)
    path = tmp_path / "forged.crt"
    path.write_bytes(forged.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        _greeting((path, folder.server_key), ca=folder.ca_certificate, name="bank.example")


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def test_keys_are_for_their_owner_alone(folder: ServiceFolder) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.keys.iterdir()}
    assert modes == {"ca.key": 0o600, "ca.crt": 0o644, "server.key": 0o600, "server.crt": 0o644}
    assert folder.keys.stat().st_mode & 0o777 == 0o700


def test_a_second_authority_never_replaces_the_one_that_devices_trust(folder: ServiceFolder) -> None:
    before = folder.ca_certificate.read_bytes()
    with pytest.raises(DataError, match="exists already"):
        make_certificates(folder, names=NAMES, now=NOW)
    assert folder.ca_certificate.read_bytes() == before


def test_a_renewed_certificate_lasts_longer_and_is_trusted_as_before(folder: ServiceFolder) -> None:
    key = folder.server_key.read_bytes()
    later = NOW + timedelta(days=380)
    assert days_left(folder.server_certificate, now=later) < 30
    renew_certificate(folder, names=NAMES, now=later)
    assert days_left(folder.server_certificate, now=later) > 300
    assert folder.server_key.read_bytes() == key
    assert belong_together(folder.server_certificate, folder.server_key)
    made = read_certificate(folder.server_certificate)
    made.verify_directly_issued_by(read_certificate(folder.ca_certificate))


def test_a_renewal_without_a_server_key_makes_a_new_one(folder: ServiceFolder) -> None:
    before = folder.server_key.read_bytes()
    folder.server_key.unlink()
    renew_certificate(folder, names=NAMES, now=NOW)
    assert folder.server_key.read_bytes() != before
    assert folder.server_key.stat().st_mode & 0o777 == 0o600
    assert _greeting((folder.server_certificate, folder.server_key), ca=folder.ca_certificate, name=NAMES[0]) == b"here"


def test_a_certificate_never_outlives_its_authority(folder: ServiceFolder) -> None:
    near_the_end = NOW + timedelta(days=3600)
    renew_certificate(folder, names=NAMES, now=near_the_end)
    ends = read_certificate(folder.server_certificate).not_valid_after_utc
    assert ends == read_certificate(folder.ca_certificate).not_valid_after_utc


def test_an_authority_that_has_ended_is_said(folder: ServiceFolder) -> None:
    with pytest.raises(DataError, match="ended on"):
        renew_certificate(folder, names=NAMES, now=NOW + timedelta(days=4000))


def test_a_new_name_needs_a_new_authority(folder: ServiceFolder) -> None:
    before = folder.server_certificate.read_bytes()
    with pytest.raises(ConfigError, match=r"may not vouch for new\.example"):
        renew_certificate(folder, names=[*NAMES, "new.example"], now=NOW)
    assert folder.server_certificate.read_bytes() == before


def test_a_renewal_without_the_key_of_the_authority_says_so(folder: ServiceFolder) -> None:
    folder.ca_key.unlink()
    with pytest.raises(DataError, match=r"ca\.key does not exist"):
        renew_certificate(folder, names=NAMES, now=NOW)


@pytest.mark.parametrize(
    "name", ["", "two words", "*.example", "-a.example", "a..b", "UPPER.example", "1.2.3", "x" * 64]
)
def test_what_is_neither_a_host_nor_an_address_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="neither a host nor an address"):
        make_certificates(ServiceFolder(tmp_path / "service"), names=[name], now=NOW)
    assert not (tmp_path / "service" / "keys" / "ca.key").exists()


def test_a_certificate_that_the_operator_brings_is_shown_to_devices(folder: ServiceFolder, tmp_path: Path) -> None:
    assert shown_to_devices(folder) == (folder.server_certificate, folder.server_key)
    other = ServiceFolder(tmp_path / "other")
    make_certificates(other, names=["recommend.example"], now=NOW)
    take_certificate(folder, certificate=other.server_certificate, key=other.server_key, now=NOW)
    assert shown_to_devices(folder) == (folder.public_certificate, folder.public_key)
    assert folder.public_key.stat().st_mode & 0o777 == 0o600
    assert _greeting(shown_to_devices(folder), ca=other.ca_certificate, name="recommend.example") == b"here"


def test_a_certificate_of_another_key_is_not_taken(folder: ServiceFolder) -> None:
    with pytest.raises(DataError, match="is not the certificate of"):
        take_certificate(folder, certificate=folder.server_certificate, key=folder.ca_key, now=NOW)
    assert shown_to_devices(folder) == (folder.server_certificate, folder.server_key)


@pytest.mark.parametrize("days", [-1, 400])
def test_a_certificate_that_is_not_valid_today_is_not_taken(folder: ServiceFolder, days: int) -> None:
    with pytest.raises(DataError, match="not today"):
        take_certificate(
            folder, certificate=folder.server_certificate, key=folder.server_key, now=NOW + timedelta(days=days)
        )


def test_the_certificate_names_the_server_and_may_sign_nothing(folder: ServiceFolder) -> None:
    made = read_certificate(folder.server_certificate).extensions
    assert not made.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not made.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
