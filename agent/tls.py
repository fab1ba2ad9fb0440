"""TLS 1.3 in which both ends prove that they hold the shared key.

An Ed25519 key is derived from the shared key by HKDF (RFC 5869); the certificate it signs for
itself is the same at both ends, is what each end presents, and is the only one each end trusts.
So a handshake succeeds exactly when both hold the key, and no protocol of our own is needed.
Plain TLS-PSK would be shorter, but Python's ssl offers it only from 3.13 on.
"""

from __future__ import annotations

import datetime
import os
import ssl

from agent.errors import AgentError

NAME = "ipsec-probe"


def context(key: bytes, *, server: bool) -> ssl.SSLContext:
    """The context for one end of the control connection. ``key``: the shared key, 32 octets."""
    private, certificate = credentials(key)
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    result.minimum_version = ssl.TLSVersion.TLSv1_3
    result.check_hostname = False  # the certificate belongs to the key, not to a name
    result.verify_mode = ssl.CERT_REQUIRED
    result.load_verify_locations(cadata=certificate.decode("ascii"))
    # ssl reads a chain from a file only; this one lives in memory and never on a disk.
    descriptor = os.memfd_create("ipsec-probe")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(private + certificate)
        result.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        raise AgentError(f"TLS cannot be set up: {error}") from error
    finally:
        os.close(descriptor)
    if server:
        result.num_tickets = 0  # no resumption: a handshake always proves the key
    return result


def credentials(key: bytes) -> tuple[bytes, bytes]:
    """(private key, certificate) in PEM: the same bytes wherever the same key is held."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    seed = HKDF(hashes.SHA256(), 32, salt=None, info=b"ipsec-probe control ed25519").derive(key)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        # Wide bounds: a host whose clock is wrong must still be able to run the test.
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, None)
    )
    return (
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
