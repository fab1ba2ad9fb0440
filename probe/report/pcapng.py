"""A capture file of several interfaces, with comments: pcapng (draft-ietf-opsawg-pcapng).

scapy's writer knows the comments of a packet, but none of a section or an interface.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

LINKTYPE_RAW = 101  # a packet begins with its IP header, IPv4 or IPv6

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1
_COMMENT, _APPLICATION = 1, 4  # options of a section; a comment is the same everywhere
_NAME, _DESCRIPTION, _RESOLUTION = 2, 3, 9  # of an interface
_FLAGS = 2  # of a packet
_IN, _OUT = 1, 2
_MICROSECONDS = b"\x06"
_LONGEST = 0xFFFF  # octets of an option

_Options = Iterable[tuple[int, bytes | str]]


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    description: str
    comment: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """``interface`` counts from 0; ``time`` is in seconds since the epoch."""

    interface: int
    time: float
    outgoing: bool
    data: bytes
    comment: str


def write(
    comment: str, application: str, interfaces: Iterable[Interface], packets: Iterable[Recorded]
) -> bytes:
    """The whole file: one section, in the byte order of this text and not of this machine."""
    header = struct.pack("<IHHq", _MAGIC, 1, 0, _UNKNOWN_LENGTH)
    blocks = [_block(_SECTION, header, [(_COMMENT, comment), (_APPLICATION, application)])]
    for interface in interfaces:
        options: _Options = [
            (_NAME, interface.name),
            (_DESCRIPTION, interface.description),
            (_COMMENT, interface.comment),
            (_RESOLUTION, _MICROSECONDS),
        ]
        blocks.append(_block(_INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, 0), options))
    for packet in packets:
        high, low = divmod(max(0, round(packet.time * 1_000_000)), 1 << 32)
        size = len(packet.data)
        body = struct.pack("<IIIII", packet.interface, high, low, size, size) + _padded(packet.data)
        flags = struct.pack("<I", _OUT if packet.outgoing else _IN)
        blocks.append(_block(_PACKET, body, [(_COMMENT, packet.comment), (_FLAGS, flags)]))
    return b"".join(blocks)


def _block(kind: int, body: bytes, options: _Options) -> bytes:
    told = b"".join(_option(code, value) for code, value in options if value)
    if told:
        told += _option(0, b"")
    length = 12 + len(body) + len(told)
    return struct.pack("<II", kind, length) + body + told + struct.pack("<I", length)


def _option(code: int, value: bytes | str) -> bytes:
    if isinstance(value, str):
        value = value.encode()[:_LONGEST].decode(errors="ignore").encode()  # no half a letter
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)
