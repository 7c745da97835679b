"""A certificate for one conversation on this machine: whoever else listens at the port cannot take its place."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"
# It is thrown away with the process that it was made for; clocks of devices jump.
_VALID = timedelta(days=3650)


@dataclass(frozen=True, slots=True, repr=False)
class LoopbackIdentity:
    """A certificate that vouches for itself on 127.0.0.1, and its key, both in PEM."""

    certificate: bytes
    key: bytes


def loopback_identity() -> LoopbackIdentity:
    """A fresh identity; it is trusted by whoever is given the certificate, and by nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedrec device")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return LoopbackIdentity(certificate=certificate.public_bytes(Encoding.PEM), key=secret)
