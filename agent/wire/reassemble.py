"""Fragments, as a capture sees them, joined to the datagram that a socket gets (RFC 791, 8200).

Bounded in number and in time. A fragment that comes twice is passed over; what never becomes whole
is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from agent.errors import WireError
from agent.wire import ip

KEEP_SECONDS = 30.0  # as long as Linux waits for the rest
MOST = 256  # datagrams under way at once; the oldest makes room


@dataclass(frozen=True, slots=True)
class Joined:
    packet: bytes  # the whole IP packet, as it should have been without fragmentation
    fragments: int
    backwards: bool  # the first part was the last to come


@dataclass(slots=True)
class _Parts:
    began: float
    header: bytes = b""  # of the first fragment, as it should have been without fragmentation
    end: int | None = None  # known once the last fragment came
    pieces: dict[int, bytes] = field(default_factory=dict)

    def whole(self) -> bytes | None:
        if self.end is None or not self.header:
            return None
        body = b""
        while len(body) < self.end:
            piece = self.pieces.get(len(body))
            if not piece:
                return None
            body += piece
        return body if len(body) == self.end else None


def datagram(data: bytes) -> bytes:
    """What names the datagram that ``data`` is a fragment of; WireError for what is no fragment."""
    return _split(data)[0]


class Reassembler:
    """One for each point of view: what goes out and what comes in are not to be mixed."""

    def __init__(self) -> None:
        self._under_way: OrderedDict[bytes, _Parts] = OrderedDict()

    def add(self, data: bytes, now: float) -> Joined | None:
        """What ``data`` (a fragment, from its IP header on) makes whole; None while parts are
        missing.

        WireError for a fragment that no datagram can hold.
        """
        key, header, offset, more, piece = _split(data)
        if offset + len(piece) > ip.LARGEST or (more and len(piece) % 8):
            raise WireError("a fragment that fits in no datagram")
        self._forget(now)
        parts = self._under_way.setdefault(key, _Parts(now))
        if len(self._under_way) > MOST:
            self._under_way.popitem(last=False)
        parts.pieces.setdefault(offset, piece)
        if offset == 0:
            parts.header = header
        if not more:
            parts.end = offset + len(piece)
        body = parts.whole()
        if body is None:
            return None
        del self._under_way[key]
        return Joined(_join(parts.header, body), len(parts.pieces), backwards=offset == 0)

    def _forget(self, now: float) -> None:
        for key, parts in list(self._under_way.items()):
            if abs(now - parts.began) <= KEEP_SECONDS:  # a clock may be stepped back as well
                return  # they stand in the order in which they began
            del self._under_way[key]


def _split(data: bytes) -> tuple[bytes, bytes, int, bool, bytes]:
    """(name of the datagram, header as it was without fragmentation, offset, more come, piece)."""
    version = data[0] >> 4 if data else 0
    if len(data) < ip.HEADER_LENGTH.get(version, ip.LARGEST):
        raise WireError("a fragment breaks off in its IP header")
    return _split4(data) if version == 4 else _split6(data)


def _split4(data: bytes) -> tuple[bytes, bytes, int, bool, bytes]:
    start = (data[0] & 15) * 4
    size = int.from_bytes(data[2:4], "big")
    word = int.from_bytes(data[6:8], "big")
    key = data[12:20] + data[4:6] + data[9:10]
    header = data[:6] + (word & 0x4000).to_bytes(2, "big") + data[8:start]
    return key, header, (word & 0x1FFF) * 8, bool(word & 0x2000), data[start:size]


def _split6(data: bytes) -> tuple[bytes, bytes, int, bool, bytes]:
    size = 40 + int.from_bytes(data[4:6], "big")
    protocol, place, at = data[6], 6, 40
    while protocol != ip.FRAGMENT:
        if protocol not in ip.EXTENSIONS or at + 8 > len(data):
            raise WireError("no fragment header")
        protocol, place, at = data[at], at, at + 8 + 8 * data[at + 1]
    if at + 8 > size:
        raise WireError("a fragment header breaks off")
    word = int.from_bytes(data[at + 2 : at + 4], "big")
    key = data[8:40] + data[at + 4 : at + 8]
    header = data[:place] + data[at : at + 1] + data[place + 1 : at]
    return key, header, word & 0xFFF8, bool(word & 1), data[at + 8 : size]


def _join(header: bytes, body: bytes) -> bytes:
    if header[0] >> 4 == 4:
        length = len(header) + len(body)
        if length > ip.LARGEST:
            raise WireError("fragments of more than any datagram")
        blank = header[:2] + length.to_bytes(2, "big") + header[4:10] + b"\0\0" + header[12:]
        return blank[:10] + ip.checksum(blank).to_bytes(2, "big") + blank[12:] + body
    length = len(header) - 40 + len(body)
    if length > ip.LARGEST:
        raise WireError("fragments of more than any datagram")
    return header[:4] + length.to_bytes(2, "big") + header[6:] + body
