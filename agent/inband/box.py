"""Boxes: what one control packet holds, encrypted and authenticated.

ChaCha20-Poly1305 (RFC 8439) under keys that HMAC-SHA256 derives, with a label each, from the shared
key; each direction has its own, so that a packet which comes back to its sender opens nothing. Into
a session's keys goes a secret of the two ends as well (X25519, RFC 7748), which is never sent: who
gets the shared key later reads openings and challenges, and no session.

All boxes begin alike: ``marker (4) | session (4)``. The marker belongs to the shared key and to the
end that sends: it is what the kernel's filter looks for, and ESP's SPI. Then come, in the clear, a
random nonce (12) in an *opening* or a *challenge* (session 0), a counter (8) in a session; and the
sealed octets.

What is sealed is filled up with zeros to at least ``SMALLEST`` octets of box, so that its place in
a Kerberos message is always the same, and to a multiple of four, as ESP wants it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.model import Side

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MARKER = 4  # octets
SESSION = 4
NONCE = 12
COUNTER = 8
ICV = 16
SMALLEST = 320  # octets of a box
OPENING = bytes(SESSION)  # in place of a session
PUBLIC = 32  # octets of a public key of X25519
WINDOW = 2048  # counters that may come late

_HEADER = MARKER + SESSION


def turned(marker: bytes) -> bytes:
    """The other end's."""
    return bytes((marker[0] ^ 0x80,)) + marker[1:]


def derive(key: bytes, label: bytes) -> bytes:
    """32 octets."""
    return hmac.digest(key, b"ipsec-probe in-band 2: " + label, hashlib.sha256)


def _cipher(key: bytes) -> ChaCha20Poly1305:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # takes 30 ms

    return ChaCha20Poly1305(key)


def _filled(plain: bytes, overhead: int) -> bytes:
    """Behind two octets of length, and with zeros after it."""
    body = len(plain).to_bytes(2, "big") + plain
    length = overhead + len(body) + ICV
    return body + bytes(max(SMALLEST - length, -length % 4))


def _unfilled(body: bytes) -> bytes | None:
    length = int.from_bytes(body[:2], "big")
    return body[2 : 2 + length] if 2 <= 2 + length <= len(body) else None


def _opened(key: bytes, nonce: bytes, sealed: bytes, header: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    if len(sealed) < ICV + 2:
        return None
    try:
        return _unfilled(_cipher(key).decrypt(nonce, sealed, header))
    except InvalidTag:
        return None


class Ephemeral:
    """One end's half of one session's secret (X25519, RFC 7748), to be forgotten once used."""

    def __init__(self, drawn: bytes) -> None:
        """``drawn``: 32 random octets."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private = X25519PrivateKey.from_private_bytes(drawn)
        self.public = self._private.public_key().public_bytes_raw()

    def agree(self, theirs: bytes) -> bytes | None:
        """The secret, 32 octets; None where ``theirs`` gives everybody the same (RFC 7748, 6.1)."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:
            return None


class Shared:
    """What both ends derive from the shared key (32 octets), before they have met."""

    def __init__(self, key: bytes) -> None:
        self._root = derive(key, b"root")
        marker = derive(self._root, b"marker")[:MARKER]
        near = bytes((marker[0] & 0x7F | 0x40,)) + marker[1:]  # as an SPI: 256 or more
        self._markers = {Side.NEAR: near, Side.FAR: turned(near)}
        self._keys = {side: derive(self._root, b"opening " + side.encode()) for side in Side}

    @property
    def markers(self) -> frozenset[bytes]:
        """Of both ends."""
        return frozenset(self._markers.values())

    def seal(self, side: Side, plain: bytes, nonce: bytes) -> bytes:
        """An opening (by near) or a challenge (by far); ``nonce``: 12 random octets, used once."""
        header = self._markers[side] + OPENING + nonce
        sealed = _cipher(self._keys[side]).encrypt(nonce, _filled(plain, len(header)), header)
        return header + sealed

    def open(self, side: Side, box: bytes) -> tuple[bytes, bytes] | None:
        """(what ``side`` sealed, its nonce); None for anything else."""
        if box[:_HEADER] != self._markers[side] + OPENING:
            return None
        header = box[: _HEADER + NONCE]
        nonce = header[_HEADER:]
        plain = _opened(self._keys[side], nonce, box[len(header) :], header)
        return None if plain is None else (plain, nonce)

    def session(self, near: bytes, far: bytes, agreed: bytes) -> SessionKeys:
        """``near``, ``far``: their public keys; ``agreed``: what both have of them."""
        return SessionKeys(self._markers, derive(self._root, b"session " + near + far + agreed))


class SessionKeys:
    """Of one session. ``id`` names it in the clear."""

    def __init__(self, markers: Mapping[Side, bytes], root: bytes) -> None:
        drawn = derive(root, b"id")[:SESSION]
        self.id = bytes((drawn[0] | 0x80,)) + drawn[1:]  # never OPENING
        self._markers = markers
        self._keys = {side: derive(root, side.encode()) for side in Side}

    def seal(self, side: Side, counter: int, plain: bytes) -> bytes:
        """``counter`` is used once by each side."""
        header = self._markers[side] + self.id + counter.to_bytes(COUNTER, "big")
        nonce = header[_HEADER:].rjust(NONCE, b"\0")
        sealed = _cipher(self._keys[side]).encrypt(nonce, _filled(plain, len(header)), header)
        return header + sealed

    def open(self, side: Side, box: bytes) -> tuple[int, bytes] | None:
        """(counter, what ``side`` sealed); None for anything else."""
        if box[:_HEADER] != self._markers[side] + self.id:
            return None
        header = box[: _HEADER + COUNTER]
        nonce = header[_HEADER:].rjust(NONCE, b"\0")
        plain = _opened(self._keys[side], nonce, box[len(header) :], header)
        return None if plain is None else (int.from_bytes(header[_HEADER:], "big"), plain)


def session_of(box: bytes) -> bytes:
    """The session that a box says it belongs to; ``OPENING`` for none yet."""
    return box[MARKER:_HEADER]


class Window:
    """Which counters have come: each is taken once, and none that is much too late."""

    def __init__(self) -> None:
        self.largest = -1
        self._seen = 0  # bit n: counter ``largest - n``

    def take(self, counter: int) -> bool:
        """False for one that came before."""
        if counter > self.largest:
            self._seen = (self._seen << min(counter - self.largest, WINDOW)) | 1
            self._seen &= (1 << WINDOW) - 1
            self.largest = counter
            return True
        late = self.largest - counter
        if late >= WINDOW or self._seen >> late & 1:
            return False
        self._seen |= 1 << late
        return True

    def recent(self, bits: int) -> int:
        """Bit n: counter ``largest - n`` has come."""
        return self._seen & ((1 << bits) - 1)
