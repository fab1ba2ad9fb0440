"""What an enemy may send: real packets to which something was done, and bytes made to hurt.

A mutation knows the shape of what it changes: it sets a field to a value at an edge, cuts, doubles
or exchanges a part, and may mend the lengths afterwards, so that it gets past the outer parsers.
"""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from agent.errors import WireError
from agent.wire import codec, fragment, ip
from agent.wire.base import Packet
from tests.unit.wire_shots import ENDS, EVERY_KIND, FAMILIES, Exchange, back, exchange, path, whole

EDGES = [0, 1, 3, 4, 7, 8, 0x7F, 0x80, 0x84, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF,
         0x80000000, 0xFFFFFFFF]  # fmt: skip
PORTS = st.sampled_from([0, 88, 445, 500, 1701, 4500, 40_001, 65_535]) | st.integers(0, 65_535)

EXCHANGES: list[Exchange] = [
    exchange(kind, family, size, size)
    for kind in EVERY_KIND
    for family in FAMILIES
    for size in ((None, 700) if kind != "nat-keepalive" else (None,))
]


def ike(first: int, *chain: tuple[int, int, bytes], length: int | None = None) -> bytes:
    """An IKE_SA_INIT whose payloads are (next, length, contents)."""
    body = b"".join(bytes((then, 0)) + struct.pack("!H", size) + data for then, size, data in chain)
    size = 28 + len(body) if length is None else length
    return bytes(range(8)) + bytes(8) + struct.pack("!BBBBII", first, 0x20, 34, 8, 0, size) + body


def nested(depth: int, tag: int = 0x30) -> bytes:
    """A DER bomb: one element in another."""
    data = b""
    for _ in range(depth):
        size = len(data)
        octets = bytes((size,)) if size < 128 else b"\x82" + (size & 0xFFFF).to_bytes(2, "big")
        data = bytes((tag,)) + octets + data
    return data


MESSAGES = [
    ike(33, (33, 0, b"")),  # a payload of no length: whoever follows it runs in a circle
    ike(33, (33, 4, b""), (33, 4, b""), (0, 4, b"")),
    ike(43, *[(43, 4, b"")] * 400, (0, 4, b"")),
    ike(41, (41, 28, bytes(24)), (0, 0xFFFF, b"")),
    ike(46, (46, 4, b"")),
    ike(33, length=0),
    ike(33, length=0xFFFFFFFF),
    bytes(4) + ike(33, (33, 0, b"")),
    nested(3000, 0x6A),
    nested(3000, 0x7E),
    b"\x6a\x80" + b"\x30\x80" * 500,  # indefinite lengths
    b"\x7e\x84\xff\xff\xff\xff" + bytes(40),
    b"\x6a\x85\x01\0\0\0\0" + bytes(40),
    b"\x7e\x1f" + b"\xff" * 60,
    b"\x6a\x08\xa1\x04\x02\x02\xa4\xe3\xa2\x84",
    b"\x7e\x82\x01\0\xa6\x82\x01\0\x02\x81\xfa" + b"\xff" * 250,  # an error code of 250 octets
    b"\0\0\0\0",
    b"\xff\xff\xff\xff" + bytes(20),
    b"\x7f\xff\xff\xff\x6a",
    b"\0\0\0\x01\x6a\0\0\0\x01\x6a",
    b"\xff",
    bytes(4),
    b"",
]
SEEDS = [
    *MESSAGES,
    *(shot.request for shot in EXCHANGES),
    *(shot.answer for shot in EXCHANGES),
]


def errors() -> list[bytes]:
    """ICMP errors, the quotation as whole as RFC 792, RFC 1812 and RFC 4884 have it, and less."""
    found = []
    for shot in EXCHANGES:
        family = shot.path.family
        for type, code in ((3, 3), (3, 4), (11, 0)) if family == 4 else ((1, 4), (2, 0), (4, 1)):
            for quoted in (shot.asked, shot.asked[:28], shot.asked[:12]):
                message = bytes((type, code, 0, 0, 0, 32, 5, 0xDC)) + quoted
                protocol = 1 if family == 4 else 58
                header = ip.ipv4_header if family == 4 else ip.ipv6_header
                found.append(header(*ENDS[family], protocol, len(message)) + message)
    return found


def fragments() -> list[bytes]:
    found = []
    for kind in ("ike", "kerberos-udp", "esp"):
        for family in FAMILIES:
            there = path(kind, family)
            data = exchange(kind, family, 2000, 2000).request
            protocol = codec(kind).protocol(family)
            body = ip.udp(there, data) if protocol == ip.UDP else data
            found += fragment.split(there, protocol, body)
            found += fragment.split(back(there), protocol, body)
    return found


PACKETS = [
    *(shot.asked for shot in EXCHANGES),
    *(shot.answered for shot in EXCHANGES),
    *errors(),
    *fragments(),
    *(whole(codec(kind), path(kind, family), message)
      for kind in ("ike", "ike-nat-t", "kerberos-udp", "kerberos-tcp", "esp")
      for family in FAMILIES for message in MESSAGES),
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of ``seeds`` after up to four changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=4)):
        at = draw(st.integers(0, len(data)))
        match change:
            case "field":
                size = draw(st.sampled_from([1, 2, 4]))
                value = draw(st.sampled_from([*EDGES, len(data), max(0, len(data) - at)]))
                octets = (value & (1 << 8 * size) - 1).to_bytes(size, "big")
                data[at : at + size] = octets
            case "bit" if data:
                data[min(at, len(data) - 1)] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "remove":
                del data[at : at + draw(st.integers(1, 40))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
            case "splice":
                other = draw(st.sampled_from(seeds))
                data[at:] = other[draw(st.integers(0, len(other))) :]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=40))
    return bytes(data)


CHANGES = ("field", "field", "bit", "cut", "remove", "double", "splice", "insert")


def mended(data: bytes) -> bytes:
    """With the IP header's length put right, and the length of UDP behind a plain header."""
    packet = bytearray(data)
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        packet[2:4] = min(len(packet), 0xFFFF).to_bytes(2, "big")
        start, protocol = (packet[0] & 15) * 4, packet[9]
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        packet[4:6] = min(len(packet) - 40, 0xFFFF).to_bytes(2, "big")
        start, protocol = 40, packet[6]
    else:
        return data
    if protocol == ip.UDP and len(packet) >= start + 8:
        packet[start + 4 : start + 6] = min(len(packet) - start, 0xFFFF).to_bytes(2, "big")
    return bytes(packet)


octets = st.binary(max_size=400) | mutated(SEEDS)
raw_packets = st.binary(max_size=200) | mutated(PACKETS) | mutated(PACKETS).map(mended)


@st.composite
def built(draw: st.DrawFn) -> Packet:
    """A Packet that no parser has seen: as a UDP socket or a TCP stream makes one."""
    family = draw(st.sampled_from(FAMILIES))
    ends = ENDS[family] if draw(st.booleans()) else ENDS[family][::-1]
    protocol = draw(st.sampled_from([1, 6, 17, 50, 51, 58]) | st.integers(0, 255))
    ports = (draw(PORTS), draw(PORTS)) if protocol in (6, 17) else (None, None)
    flags = draw(st.integers(0, 255)) if protocol == 6 else 0
    source, destination = ends
    payload = draw(octets)
    return Packet(
        family, protocol, source, destination, payload, ports[0], ports[1], tcp_flags=flags
    )


@st.composite
def parsed(draw: st.DrawFn) -> Packet:
    """What the IP parser lets through."""
    try:
        return ip.parse(draw(raw_packets))
    except WireError:
        return draw(built())


packets = built() | parsed()
