"""The kind ``esp``: ESP (RFC 4303) with AES-256-GCM and a 16-octet ICV (RFC 4106).

What is encrypted is a dummy packet (RFC 4303, 2.6: next header 59), whose octets begin with the
seal. A run has one key for each kind and one SPI for each check; the sequence number is the shot's.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER_LENGTH = 8  # SPI and sequence number: also what GCM authenticates in the clear
IV_LENGTH = 8
ICV_LENGTH = 16
ALIGNMENT = 4
NO_NEXT_HEADER = 59
OVERHEAD = HEADER_LENGTH + IV_LENGTH + ICV_LENGTH

SMALLEST = OVERHEAD + TAG_LENGTH + 4  # two octets of padding, their length, the next header
NATURAL = OVERHEAD + 88  # a ping of 84 octets in tunnel mode
FIRST_FREE_SPI = 256  # 0 is reserved, 1 to 255 are IANA's


@lru_cache(maxsize=64)
def _cipher(keys: Keys, kind: str) -> tuple[AESGCM, bytes]:
    """The cipher and its salt. Imported this late: it takes 30 ms."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(keys.derive(f"{kind} key")), keys.derive(f"{kind} salt")[:4]


@lru_cache(maxsize=4096)
def spi(keys: Keys, check: int) -> int:
    """The SPI of a check, 256 or more."""
    octets = keys.derive("spi", check)
    drawn = int.from_bytes(octets[:4], "big")
    return FIRST_FREE_SPI + drawn % (2**32 - FIRST_FREE_SPI)


@lru_cache(maxsize=64)
def _trailer(length: int) -> bytes:
    """What follows the seal in a plaintext of ``length`` octets: zeros, padding, two octets."""
    padding = 2
    filling = length - TAG_LENGTH - padding - 2
    return bytes(filling) + bytes(range(1, padding + 1)) + bytes((padding, NO_NEXT_HEADER))


class Esp(Codec):
    """``esp``; inside UDP, see :mod:`agent.wire.natt`."""

    name = "esp"

    def protocol(self, family: int) -> int:
        del family
        return ip.ESP

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        return self._sealed(keys, tag, self._wanted(path.family, size))

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        length = min(self._wanted(path.family, size), len(request))
        if length < SMALLEST:
            raise WireError("an ESP request that is shorter than any answer to it")
        return self._sealed(keys, tag, length)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """A shot; None for ESP of anybody else, and for the half of ours that a fragment holds."""
        data = packet.payload
        if len(data) < SMALLEST:
            if len(data) < HEADER_LENGTH:
                raise WireError("an ESP header breaks off")
            return None
        if int.from_bytes(data[:4], "big") < FIRST_FREE_SPI:
            return None
        from cryptography.exceptions import InvalidTag

        cipher, salt = _cipher(keys, self.name)
        try:
            plain = cipher.decrypt(salt + data[8:16], data[16:], data[:8])
        except InvalidTag:
            return None
        tag = unseal(keys, self.name, plain[:TAG_LENGTH])
        return None if tag is None or not _is(keys, tag, data) else Reading(tag)

    def quoted(self, keys: Keys, checks: Iterable[int], head: bytes) -> Tag | None:
        return by_spi(keys, checks, head[:4], head[4:8])

    def _wanted(self, family: int, size: int | None) -> int:
        if size is None:
            return NATURAL
        length = ip.room(family, self.protocol(family), size)
        if length < SMALLEST:
            raise ip.too_small(self.name, size, SMALLEST + size - length)
        return length

    def _sealed(self, keys: Keys, tag: Tag, length: int) -> bytes:
        """``length`` is rounded down: what is encrypted ends at a multiple of four octets."""
        cipher, salt = _cipher(keys, self.name)
        plain_length = (length - OVERHEAD) // ALIGNMENT * ALIGNMENT
        plain = seal(keys, self.name, tag) + _trailer(plain_length)
        header = spi(keys, tag.check).to_bytes(4, "big") + tag.shot.to_bytes(4, "big")
        # GCM forbids one IV for two plaintexts under one key: these three decide every plaintext.
        iv = tag.check.to_bytes(2, "big") + tag.shot.to_bytes(2, "big")
        iv += plain_length.to_bytes(4, "big")
        return header + iv + cipher.encrypt(salt + iv, plain, header)


def _is(keys: Keys, tag: Tag, data: bytes) -> bool:
    return by_spi(keys, (tag.check,), data[:4], data[4:8]) == tag


def by_spi(keys: Keys, checks: Iterable[int], index: bytes, sequence: bytes) -> Tag | None:
    """The shot of one of ``checks`` with that SPI and sequence number, four octets each."""
    wanted, shot = int.from_bytes(index, "big"), int.from_bytes(sequence, "big")
    if not 1 <= shot <= 0xFFFF:
        return None
    for check in checks:
        if spi(keys, check) == wanted:
            return Tag(check, shot)
    return None
