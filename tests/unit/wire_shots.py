"""Shots of every kind as whole IP packets, for the tests of what reads them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agent.model import Tag
from agent.wire import KINDS, codec, ip
from agent.wire.base import Codec, Keys, Packet, Path

EVERY_KIND = (*KINDS, "udp:1701", "tcp:445")
TAGGED = tuple(kind for kind in EVERY_KIND if codec(kind).tagged)
FAMILIES = (4, 6)
ENDS = {4: ("10.0.0.1", "10.0.0.5"), 6: ("fd00:1::1", "fd00:2::5")}
ELSEWHERE = {4: "192.0.2.77", 6: "2001:db8::77"}

KEYS = Keys(bytes(range(32)))
FOREIGN = Keys(bytes(range(1, 33)))
TAG = Tag(7, 3)
ANSWER_TAG = Tag(8, 3)
FRESH = 40_001


def path(kind: str, family: int) -> Path:
    """near → far."""
    sender = codec(kind)
    source = sender.port if sender.fixed_source or sender.port is None else FRESH
    return Path(family, *ENDS[family], source, sender.port)


def back(there: Path) -> Path:
    """The way of an answer."""
    return Path(
        there.family, there.destination, there.source, there.destination_port, there.source_port
    )


def whole(sender: Codec, there: Path, data: bytes) -> bytes:
    """The IP packet around what a codec made."""
    if sender.whole_packet(there.family):
        return data
    protocol = sender.protocol(there.family)
    body = data
    if protocol == ip.UDP:
        body = ip.udp(there, data)
    elif protocol == ip.TCP:
        assert there.source_port
        assert there.destination_port
        body = struct.pack("!HHIIBBHHH", there.source_port, there.destination_port, 1, 1, 0x50,
                           0x18, 512, 0, 0) + data  # fmt: skip
    header = ip.ipv4_header if there.family == 4 else ip.ipv6_header
    return header(there.source, there.destination, protocol, len(body)) + body


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, made, on the wire and as parsed."""

    kind: str
    path: Path
    request: bytes
    answer: bytes

    @property
    def asked(self) -> bytes:
        return whole(codec(self.kind), self.path, self.request)

    @property
    def answered(self) -> bytes:
        return whole(codec(self.kind), back(self.path), self.answer)


def exchange(
    kind: str, family: int, size: int | None = None, answer_size: int | None = None
) -> Exchange:
    sender, there = codec(kind), path(kind, family)
    request = sender.request(KEYS, TAG, there, size)
    seen = ip.parse(whole(sender, there, request)).payload
    answer = sender.answer(KEYS, ANSWER_TAG, back(there), seen, answer_size)
    return Exchange(kind, there, request, answer)


def seen(kind: str, family: int, size: int | None = None) -> Packet:
    """A request as the far end's capture shows it."""
    return ip.parse(exchange(kind, family, size).asked)
