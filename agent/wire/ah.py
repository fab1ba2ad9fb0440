"""The kind ``ah``: AH (RFC 4302) with HMAC-SHA2-256-128 (RFC 4868).

The ICV covers the addresses, so it proves that nobody translated them. Inside is a well-formed UDP
datagram to the discard port, because connection tracking looks at what is inside AH over IPv6 and
calls what it cannot parse invalid; its payload begins with the seal. Keys and tag decide the
contents, so when the ICV is wrong they tell a translation from a change on the way.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal
from agent.wire.esp import by_spi, spi

FIXED_LENGTH = 12
ICV_LENGTH = 16
LENGTH = {4: 28, 6: 32}  # the whole AH: a multiple of 4 octets in IPv4, of 8 in IPv6 (3.3.3.2.1)
NATURAL = 56  # octets of payload in the datagram inside, as a ping has
DISCARD = 9
FIRST_PORT, PORTS = 50_000, 4096  # ephemeral ones, behind which no analyser looks for a protocol

TRANSLATED = "the ICV is wrong: an address was translated on the way"
CHANGED = "the ICV is wrong: the packet was changed on the way"

_AH = struct.Struct("!BBHII")


class Ah(Codec):
    """``ah``. For IPv4 request() and answer() begin with the IP header, whose identification and
    length the ICV covers; for IPv6 the kernel writes the header, and nothing in it is a surprise.
    """

    name = "ah"

    def protocol(self, family: int) -> int:
        del family
        return ip.AH

    def whole_packet(self, family: int) -> bool:
        return family == 4

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        ports = _source_port(keys, tag), DISCARD
        return self._packet(keys, tag, path, ports, self._wanted(path.family, size))

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        """``request`` with its IPv4 header or without: what followed it sets the limit."""
        if path.family == 4 and request[:1] == b"\x45":  # AH itself begins with the next header
            request = request[20:]
        length = min(self._wanted(path.family, size), len(request))
        if length < _smallest(path.family):
            raise WireError("an AH request that is shorter than any answer to it")
        # Connection tracking that looks inside AH must see a reply, not a new flow.
        ports = struct.unpack_from("!HH", request, LENGTH[path.family])[::-1]
        return self._packet(keys, tag, path, (ports[0], ports[1]), length)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """A shot, by the seal inside; ``intact`` is False, with a note, when the ICV is wrong.

        Where no IP header was seen, it is rebuilt from the addresses and the length.
        """
        data = packet.payload
        if len(data) < FIXED_LENGTH:
            raise WireError("an AH breaks off")
        length = (data[1] + 2) * 4
        if length > len(data):
            raise WireError("an AH longer than its packet")
        if data[0] != ip.UDP or length != LENGTH[packet.family]:
            return None
        inside = data[length:]
        tag = unseal(keys, self.name, inside[8 : 8 + TAG_LENGTH])
        if tag is None:
            return None
        if hmac.compare_digest(_icv(keys, _header(keys, tag, packet), data), data[12:28]):
            return Reading(tag)
        return Reading(tag, intact=False, note=_what_happened(keys, tag, packet, inside))

    def quoted(self, keys: Keys, checks: Iterable[int], head: bytes) -> Tag | None:
        """By the SPI, and the sequence number where it was quoted (it is the octets 8 to 11).

        With 8 octets the check is certain and the shot is not: then it is called shot 1.
        """
        if len(head) >= FIXED_LENGTH:
            return by_spi(keys, checks, head[4:8], head[8:12])
        return by_spi(keys, checks, head[4:8], b"\0\0\0\1")

    def _wanted(self, family: int, size: int | None) -> int:
        """Octets behind the IP header."""
        if size is None:
            return LENGTH[family] + ip.UDP_HEADER_LENGTH + NATURAL
        length = ip.room(family, ip.AH, size)
        if length < _smallest(family):
            raise ip.too_small(self.name, size, _smallest(family) + size - length)
        return length

    def _packet(
        self, keys: Keys, tag: Tag, path: Path, ports: tuple[int, int], length: int
    ) -> bytes:
        family = path.family
        inner = Path(family, path.source, path.destination, *ports)
        inside = _datagram(keys, tag, inner, length - LENGTH[family])
        fixed = _fixed(keys, tag, family)
        blank = fixed + bytes(LENGTH[family] - FIXED_LENGTH) + inside
        header = _sent_header(keys, tag, family, path.source, path.destination, length)
        sealed = fixed + _icv(keys, _immutable(header), blank) + blank[FIXED_LENGTH + ICV_LENGTH :]
        return header + sealed if family == 4 else sealed


def _smallest(family: int) -> int:
    return LENGTH[family] + ip.UDP_HEADER_LENGTH + TAG_LENGTH


def _fixed(keys: Keys, tag: Tag, family: int) -> bytes:
    return _AH.pack(ip.UDP, LENGTH[family] // 4 - 2, 0, spi(keys, tag.check), tag.shot)


def _source_port(keys: Keys, tag: Tag) -> int:
    drawn = int.from_bytes(keys.derive("ah port", tag.check, tag.shot)[:2], "big")
    return FIRST_PORT + drawn % PORTS


def _datagram(keys: Keys, tag: Tag, inner: Path, length: int) -> bytes:
    filling = bytes(length - ip.UDP_HEADER_LENGTH - TAG_LENGTH)
    return ip.udp(inner, seal(keys, Ah.name, tag) + filling)


def _sent_header(
    keys: Keys, tag: Tag, family: int, source: str, destination: str, length: int
) -> bytes:
    """The IP header as it was sent. The IPv4 identification is not 0, or a kernel would fill it."""
    if family == 6:
        return ip.ipv6_header(source, destination, ip.AH, length)
    octets = keys.derive("ah identification", tag.check, tag.shot)
    identification = 1 + int.from_bytes(octets[:2], "big") % 0xFFFF
    return ip.ipv4_header(source, destination, ip.AH, length, identification)


def _header(keys: Keys, tag: Tag, packet: Packet) -> bytes:
    """The IP header as it was seen, ready for the ICV."""
    header = packet.header
    if not header:
        ends = packet.source, packet.destination
        header = _sent_header(keys, tag, packet.family, *ends, len(packet.payload))
    return _immutable(header)


def _immutable(header: bytes) -> bytes:
    """Mutable fields as zeros (3.3.3.1). We send no options and no extension headers: where some
    were added they stay as they are, and the ICV is rightly wrong.
    """
    if header[0] >> 4 == 4:
        # TOS; flags and fragment offset, TTL; checksum
        return header[:1] + b"\0" + header[2:6] + b"\0\0\0" + header[9:10] + b"\0\0" + header[12:]
    return b"\x60\0\0\0" + header[4:7] + b"\0" + header[8:]  # class and flow label; hop limit


def _icv(keys: Keys, header: bytes, data: bytes) -> bytes:
    """``data`` begins with the AH, whose ICV counts as zeros."""
    blank = data[:FIXED_LENGTH] + bytes(ICV_LENGTH) + data[FIXED_LENGTH + ICV_LENGTH :]
    return hmac.digest(keys.derive("ah key"), header + blank, hashlib.sha256)[:ICV_LENGTH]


def _what_happened(keys: Keys, tag: Tag, packet: Packet, inside: bytes) -> str:
    """The ICV is wrong. Between other addresses the datagram would be the one we expect but for its
    checksum (octets 6 and 7); so where nothing else differs, the addresses do.
    """
    ports = struct.unpack_from("!HH", inside)
    seen = Path(packet.family, packet.source, packet.destination, *ports)
    expected = _datagram(keys, tag, seen, len(inside))
    unchanged = packet.payload.startswith(_fixed(keys, tag, packet.family))
    unchanged = unchanged and (expected[:6], expected[8:]) == (inside[:6], inside[8:])
    return TRANSLATED if unchanged and expected[6:8] != inside[6:8] else CHANGED
