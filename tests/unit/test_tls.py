"""The credentials of the control connection, against those that cryptography's x509 makes."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.access import tls

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ipsec-probe")])


@pytest.mark.parametrize("key", [bytes(32), b"k" * 32, bytes(range(32)), b"\xff" * 32])
def test_key_and_certificate_are_those_that_x509_makes(key: bytes) -> None:
    seed = HKDF(hashes.SHA256(), 32, salt=None, info=b"ipsec-probe control ed25519").derive(key)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, None)
    )
    assert tls.credentials(key) == (
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
