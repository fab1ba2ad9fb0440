"""TLS 1.3 in which both ends prove that they hold the shared key.

An Ed25519 key is derived from the shared key by HKDF (RFC 5869); the certificate it signs for
itself is the same at both ends, is what each end presents, and is the only one each end trusts.
So a handshake succeeds exactly when both hold the key, and no protocol of our own is needed.
Plain TLS-PSK would be shorter, but Python's ssl offers it only from 3.13 on.

An agent may hold several keys. The client names the one it means, in the clear, where a browser
names a host (SNI, RFC 6066, 3); who names none that the agent holds gets an alert, and no more.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl

from agent.errors import AgentError

LARGEST_RECORD = 16_384 + 256

# What cryptography's x509 and serialization write for any key (RFC 8410), cut where the key's own
# octets stand. A test has them write it anew: importing the two takes longer than a whole run's
# packets. The dates are wide, because a host whose clock is wrong must still be able to test.
_ED25519 = bytes.fromhex("300506032b6570")
_NAME = bytes.fromhex("3016311430120603550403") + b"\x0c\x0bipsec-probe"  # the common name
_PKCS8 = bytes.fromhex("302e020100") + _ED25519 + bytes.fromhex("04220420")
_BEFORE_BODY = bytes.fromhex("3081f2")
_BEFORE_KEY = (
    bytes.fromhex("3081a5a003020102020101")  # version 3, serial number 1
    + _ED25519
    + _NAME  # the issuer
    + b"\x30\x20\x17\x0d000101000000Z\x18\x0f99991231000000Z"  # not before, not after
    + _NAME  # the subject
    + bytes.fromhex("302a")
    + _ED25519
    + bytes.fromhex("032100")
)
_AFTER_KEY = bytes.fromhex("a316301430120603551d130101ff040830060101ff020100")  # CA, no CA below it
_BEFORE_SIGNATURE = _ED25519 + bytes.fromhex("034100")


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


class Front:
    """Reads a client's first words, and knows what a client gets that is not let in."""

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.sni_callback = self._note
        self._name: str | None = None

    def _note(self, _link: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
        self._name = name
        return int(ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)

    def read(self, hello: bytes) -> tuple[str | None, bytes]:
        """(the name that the client says, the alert for a client that says this).

        No name for what is no ClientHello of TLS 1.3 or names nobody.
        """
        self._name = None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(hello)
        link = self._context.wrap_bio(incoming, outgoing, server_side=True)
        with contextlib.suppress(ssl.SSLError):  # always: it is meant to be turned away here
            link.do_handshake()
        return self._name, outgoing.read()


def binding(link: ssl.SSLObject) -> bytes:
    """What names this connection and no other: the client's Finished (RFC 5929, 3).

    Python offers no exporter (RFC 9266). In TLS 1.3, without resumption, Finished is a MAC over the
    whole handshake, both fresh key shares among it, and serves as well.
    """
    found = link.get_channel_binding("tls-unique")
    if not found:
        raise AgentError("this host's TLS cannot tell one connection from another")
    return found


def hello_length(start: bytes) -> int:
    """How many octets a client's first words have, as their first five tell (RFC 8446, 5.1)."""
    length = int.from_bytes(start[3:5], "big")
    is_hello = len(start) >= 5 and start[0] == 0x16 and length <= LARGEST_RECORD
    return 5 + length if is_hello else len(start)


def credentials(key: bytes) -> tuple[bytes, bytes]:
    """(private key, certificate) in PEM: the same bytes wherever the same key is held."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    seed = HKDF(hashes.SHA256(), 32, salt=None, info=b"ipsec-probe control ed25519").derive(key)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    to_be_signed = _BEFORE_KEY + private.public_key().public_bytes_raw() + _AFTER_KEY
    certificate = _BEFORE_BODY + to_be_signed + _BEFORE_SIGNATURE + private.sign(to_be_signed)
    body = base64.b64encode(_PKCS8 + seed).decode("ascii")  # one line of 64 characters
    return (
        f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n".encode("ascii"),
        ssl.DER_cert_to_PEM_cert(certificate).encode("ascii"),
    )
