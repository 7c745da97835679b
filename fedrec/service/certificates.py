"""The certificates in a service's folder: an authority of its own, what it vouches for, and one that is brought.

Devices are given `ca.crt` and trust it for this one server. A certificate that the operator
brings is what the proxy shows; the SuperLink on loopback keeps the authority's.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fedrec.errors import DataError
from fedrec.files import write_atomically
from fedrec.service.authority import certify, make_authority
from fedrec.service.folder import ServiceFolder

RENEW_DAYS = 30
_PEM = serialization.Encoding.PEM


def make_certificates(folder: ServiceFolder, *, names: Sequence[str], now: datetime) -> None:
    """An authority and the server's certificate for `names`, and for loopback, lie in the folder's keys.

    Raises DataError if there is an authority already: devices trust that one.
    """
    if folder.ca_certificate.exists() or folder.ca_key.exists():
        raise DataError(
            f"{folder.ca_certificate} exists already, and devices trust it. Renew what it vouches for, or see "
            "docs/runbook.md, `A new name or a new authority`."
        )
    key, authority = make_authority(names, now=now)
    folder.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder.ca_key, _key_bytes(key), mode=0o600)
    write_atomically(folder.ca_certificate, authority.public_bytes(_PEM))
    renew_certificate(folder, names=names, now=now)


def renew_certificate(folder: ServiceFolder, *, names: Sequence[str], now: datetime) -> None:
    """The server has a fresh certificate of the same authority; devices notice nothing.

    The server's key stays, so that key and certificate match whenever this is interrupted; where
    there is none, a new one is made. Raises ConfigError for a name that the authority may not
    vouch for, DataError if the authority's key is not here or it has ended.
    """
    authority = read_certificate(folder.ca_certificate)
    if authority.not_valid_after_utc <= now:
        raise DataError(
            f"{folder.ca_certificate} ended on {authority.not_valid_after_utc:%Y-%m-%d}. "
            "Make a new one: docs/runbook.md, `A new name or a new authority`."
        )
    authority_key, key = _read_key(folder.ca_key), _server_key(folder)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey) or not _match(authority, authority_key):
        raise DataError(f"{folder.ca_key} is not the key of {folder.ca_certificate}. Put the right one back.")
    certificate = certify(key.public_key(), names, by=(authority_key, authority), now=now)
    write_atomically(folder.server_certificate, certificate.public_bytes(_PEM))


def take_certificate(folder: ServiceFolder, *, certificate: Path, key: Path, now: datetime) -> None:
    """The proxy shows this certificate: its chain and its key are copied into the folder's keys.

    Raises DataError if the two do not belong together, or the certificate is not valid now.
    """
    given = read_certificate(certificate)
    if not _match(given, _read_key(key)):
        raise DataError(f"{certificate} is not the certificate of {key}. Give the two that belong together.")
    if not given.not_valid_before_utc <= now < given.not_valid_after_utc:
        raise DataError(
            f"{certificate} is valid from {given.not_valid_before_utc:%Y-%m-%d} to "
            f"{given.not_valid_after_utc:%Y-%m-%d}, not today. Get another, or set the clock."
        )
    folder.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder.public_key, key.read_bytes(), mode=0o600)
    write_atomically(folder.public_certificate, certificate.read_bytes())


def shown_to_devices(folder: ServiceFolder) -> tuple[Path, Path]:
    """The certificate and the key of the proxy: the operator's where one was brought, else our own."""
    if folder.public_certificate.exists():
        return folder.public_certificate, folder.public_key
    return folder.server_certificate, folder.server_key


def days_left(certificate: Path, *, now: datetime) -> float:
    """Days until the certificate ends; negative afterwards."""
    return (read_certificate(certificate).not_valid_after_utc - now) / timedelta(days=1)


def belong_together(certificate: Path, key: Path) -> bool:
    """Whether this is the certificate of this key."""
    return _match(read_certificate(certificate), _read_key(key))


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; raises DataError if there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Name a certificate in PEM, or put it back.") from None
    except ValueError:
        raise DataError(f"{path} is no certificate. Give one in PEM.") from None


def _server_key(folder: ServiceFolder) -> ec.EllipticCurvePrivateKey:
    if not folder.server_key.exists():
        write_atomically(folder.server_key, _key_bytes(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
    key = _read_key(folder.server_key)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DataError(f"{folder.server_key} is not a key of ours. Move it away, and renew again.")
    return key


def _read_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Put it back, or give the key that belongs here.") from None
    except (ValueError, TypeError):
        raise DataError(f"{path} is no private key. Give one in PEM, without a passphrase.") from None


def _match(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    shape = (_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*shape) == key.public_key().public_bytes(*shape)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
