"""An authority that may vouch for one server's names and for nothing else, and what it vouches for."""

import ipaddress
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedrec.errors import ConfigError

_AUTHORITY_DAYS = 3650
# What browsers accept at most, and a year that an operator remembers.
_SERVER_DAYS = 397
# Clocks of devices are wrong by minutes, rarely by an hour.
_CLOCK_SKEW = timedelta(hours=1)
# The proxy, the rounds and the operator reach the SuperLink under these.
_LOOPBACK = ("localhost", "127.0.0.1")
_COMMON_NAME_LENGTH = 64
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def make_authority(names: Sequence[str], *, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A key and a certificate that vouches for these hosts and addresses, and for loopback.

    Raises ConfigError for a name that is neither a host nor an address.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedrec service authority")])
    permitted = x509.NameConstraints([_permission(name) for name in _general_names(names)], excluded_subtrees=None)
    certificate = (
        _builder(subject, subject, key.public_key(), since=now, until=now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        # Whoever steals this key can pretend to be this server, and no other.
        .add_extension(permitted, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    return key, certificate


def certify(
    key: ec.EllipticCurvePublicKey,
    names: Sequence[str],
    *,
    by: tuple[ec.EllipticCurvePrivateKey, x509.Certificate],
    now: datetime,
) -> x509.Certificate:
    """The authority's word that this key is the server of these names.

    Raises ConfigError for a name that this authority may not vouch for.
    """
    authority_key, authority = by
    general = _general_names(names)
    _require_permitted(authority, general)
    until = min(now + timedelta(days=_SERVER_DAYS), authority.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(general[0].value)[:_COMMON_NAME_LENGTH])])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key, since=now, until=until)
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .sign(authority_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - _CLOCK_SKEW)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in dict.fromkeys((*names, *_LOOPBACK))]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not _HOST.fullmatch(name) or name.replace(".", "").isdigit():
        raise ConfigError(
            f"`{name[:80]}` is neither a host nor an address. Write it in a-z, 0-9, - and dots (punycode beyond)."
        )
    return x509.DNSName(name)


def _permission(name: x509.GeneralName) -> x509.GeneralName:
    """What a constraint says of one name: an address is a network of one."""
    return x509.IPAddress(ipaddress.ip_network(name.value)) if isinstance(name, x509.IPAddress) else name


def _require_permitted(authority: x509.Certificate, names: Sequence[x509.GeneralName]) -> None:
    permitted = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    for name in names:
        if _permission(name) not in permitted:
            raise ConfigError(
                f"This authority may not vouch for {name.value}, only for the names it was made with. Take the name "
                f"out of network.names, or make a new authority: docs/runbook.md, `A new name or a new authority`."
            )
