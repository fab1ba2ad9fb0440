"""IP, UDP and TCP headers: parsed, refused, and built as scapy builds them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Raw
from scapy.utils import checksum as scapy_checksum

from agent.errors import WireError
from agent.wire import codec, ip
from agent.wire.base import Packet, Path
from tests.unit.wire_shots import ENDS, KEYS, TAG, path, seen

V4, V6 = ENDS[4], ENDS[6]


def v4(**fields: Any) -> Any:
    return IP(src=V4[0], dst=V4[1], **fields)


def v6(**fields: Any) -> Any:
    return IPv6(src=V6[0], dst=V6[1], **fields)


def test_udp_over_ipv4() -> None:
    data = bytes(v4(ttl=61, tos=0x28) / UDP(sport=40000, dport=88) / Raw(b"hello"))
    assert ip.parse(data) == Packet(
        4, 17, *V4, b"hello", 40000, 88, ttl=61, size=33, header=data[:20], tcp_flags=0
    )


def test_tcp_over_ipv6_with_options() -> None:
    segment = TCP(sport=40000, dport=88, flags="SA", options=[("MSS", 1220), ("NOP", None)])
    data = bytes(v6(hlim=7) / segment / Raw(b"hello"))
    packet = ip.parse(data)
    assert packet == Packet(
        6, 6, *V6, b"hello", 40000, 88, ttl=7, size=len(data), header=data[:40], tcp_flags=0x12
    )


def test_ipv4_options_belong_to_the_header() -> None:
    data = bytes(v4(options=[IPOption_Router_Alert()]) / UDP(sport=1, dport=2) / Raw(b"x"))
    packet = ip.parse(data)
    assert (packet.header, packet.payload, packet.size) == (data[:24], b"x", 33)


def test_link_padding_is_ignored() -> None:
    data = bytes(v4() / UDP(sport=1, dport=2) / Raw(b"x"))
    assert ip.parse(data + bytes(17)) == ip.parse(data)
    data = bytes(v6() / UDP(sport=1, dport=2) / Raw(b"x"))
    assert ip.parse(data + b"\xff") == ip.parse(data)


def test_a_udp_payload_ends_where_udp_says() -> None:
    data = bytes(v4() / UDP(sport=1, dport=2, len=10) / Raw(b"abcdef"))
    assert ip.parse(data).payload == b"ab"


@pytest.mark.parametrize(
    "extensions",
    [
        [IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)])],
        [IPv6ExtHdrDestOpt()],
        [IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=0)],
        [IPv6ExtHdrHopByHop(), IPv6ExtHdrRouting(segleft=0), IPv6ExtHdrDestOpt()],
    ],
)
def test_extension_headers_are_walked_over(extensions: Iterable[Any]) -> None:
    packet = v6()
    for extension in extensions:
        packet /= extension
    walked = len(packet)
    data = bytes(packet / UDP(sport=1, dport=2) / Raw(b"x"))
    read = ip.parse(data)
    assert (read.protocol, read.source_port, read.destination_port) == (17, 1, 2)
    assert (read.header, read.payload, read.size) == (data[:walked], b"x", len(data))
    assert not ip.is_fragment(read)


@pytest.mark.parametrize("protocol", [50, 51])
def test_esp_and_ah_are_no_extension_headers(protocol: int) -> None:
    for header in (v4(proto=protocol), v6(nh=protocol)):
        data = bytes(header / Raw(b"\x11\x05" + bytes(60)))
        packet = ip.parse(data)
        assert (packet.protocol, packet.payload) == (protocol, b"\x11\x05" + bytes(60))


def test_a_first_fragment_is_read_as_far_as_it_goes() -> None:
    datagram = bytes(UDP(sport=1, dport=2, len=3000) / Raw(bytes(1400)))
    for data in (
        bytes(v4(flags="MF", proto=17) / Raw(datagram)),
        bytes(v6() / IPv6ExtHdrFragment(m=1, nh=17) / Raw(datagram)),
    ):
        packet = ip.parse(data)
        assert (packet.source_port, packet.destination_port) == (1, 2)
        assert packet.payload == bytes(1400)
        assert ip.is_fragment(packet)


def test_a_later_fragment_has_no_ports() -> None:
    middle = b"\0\1\0\2" + bytes(100)
    for data in (
        bytes(v4(frag=185, proto=17) / Raw(middle)),
        bytes(v6() / IPv6ExtHdrFragment(offset=185, nh=17) / Raw(middle)),
    ):
        packet = ip.parse(data)
        assert (packet.protocol, packet.payload) == (17, middle)
        assert packet.source_port is packet.destination_port is None
        assert ip.is_fragment(packet)


def test_an_atomic_fragment_is_a_whole_packet() -> None:
    data = bytes(v6() / IPv6ExtHdrFragment(m=0, offset=0) / UDP(sport=1, dport=2))
    packet = ip.parse(data)
    assert packet.destination_port == 2
    assert not ip.is_fragment(packet)


def test_a_fragment_header_has_one_length_whatever_stands_in_its_reserved_octet() -> None:
    data = bytes(v6() / IPv6ExtHdrFragment(m=1, res1=9, nh=17) / UDP(sport=1, dport=2))
    assert ip.parse(data).header == data[:48]


def test_dont_fragment_is_no_fragment() -> None:
    assert not ip.is_fragment(ip.parse(bytes(v4(flags="DF") / UDP())))
    assert not ip.is_fragment(Packet(4, 17, *V4, b""))


def _patched(data: bytes, at: int, octets: bytes) -> bytes:
    return data[:at] + octets + data[at + len(octets) :]


UDP4 = bytes(v4() / UDP(sport=1, dport=2) / Raw(b"x" * 8))
UDP6 = bytes(v6() / UDP(sport=1, dport=2) / Raw(b"x" * 8))
TCP4 = bytes(v4() / TCP())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"\x55" + bytes(40), "version 5"),
        (UDP4[:19], "header breaks off"),
        (UDP6[:39], "header breaks off"),
        (UDP4[:-1], "breaks off after 35"),
        (UDP6[:-1], "breaks off after 55"),
        (_patched(UDP4, 0, b"\x44"), "impossible lengths"),
        (_patched(UDP4, 0, b"\x4f"), "impossible lengths"),
        (_patched(UDP4, 2, b"\0\x13"), "impossible lengths"),
        (_patched(UDP4, 24, b"\0\x07"), "longer than its packet"),
        (_patched(UDP4, 24, b"\0\x11"), "longer than its packet"),
        (_patched(UDP4, 2, b"\0\x1b"), "UDP header breaks off"),
        (_patched(UDP6, 44, b"\0\0"), "longer than its packet"),
        (_patched(TCP4, 2, b"\0\x27"), "TCP header breaks off"),
        (_patched(TCP4, 32, b"\x40"), "impossible length"),
        (_patched(TCP4, 32, b"\x60"), "impossible length"),
        (_patched(UDP6, 6, b"\0"), "extension header breaks off"),  # its length: 8 * 2 octets more
        (bytes(v6(nh=60) / Raw(b"\x11\0\0\0")), "extension header breaks off"),
    ],
)
def test_malformed(data: bytes, told: str) -> None:
    with pytest.raises(WireError, match=told):
        ip.parse(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\xff\xfe\0\1", b"abc",
     bytes(range(255)), b"\x80\0" * 300, b"\0\1\xff\xfe"],
)  # fmt: skip
def test_checksum_is_scapys(data: bytes) -> None:
    assert ip.checksum(data) == scapy_checksum(data)


@pytest.mark.parametrize("payload", [b"", b"x", b"abcd", bytes(1400), bytes(range(256)) * 7])
def test_udp_is_scapys(payload: bytes) -> None:
    for header, family in ((v4(), 4), (v6(), 6)):
        built = bytes(header / UDP(sport=40000, dport=500) / Raw(payload))
        assert ip.udp(Path(family, *ENDS[family], 40000, 500), payload) == built[len(header) :]


def test_a_udp_checksum_of_0_is_sent_as_ffff() -> None:
    """0 says "no checksum", and IPv6 forbids that."""
    there = Path(6, *V6, 1, 2)
    blank = ip.udp(there, b"\0\0")
    payload = blank[6:8]  # the one's complement sum is then all ones
    sent = ip.udp(there, payload)
    assert sent[6:8] == b"\xff\xff"
    assert sent == bytes(v6() / UDP(sport=1, dport=2) / Raw(payload))[40:]


def test_udp_needs_both_ports() -> None:
    with pytest.raises(WireError, match="port"):
        ip.udp(Path(4, *V4, None, 500), b"")
    with pytest.raises(WireError, match="cannot carry"):
        ip.udp(Path(4, *V4, 1, 500), bytes(65_528))


def test_headers_are_scapys() -> None:
    assert ip.ipv4_header(*V4, 51, 100, 0x1234, 17) == bytes(
        v4(id=0x1234, flags="DF", ttl=17, proto=51, len=120)
    )
    assert ip.ipv6_header(*V6, 50, 100, 17) == bytes(v6(nh=50, hlim=17, plen=100))
    with pytest.raises(WireError):
        ip.ipv4_header(*V4, 51, 65_516)
    with pytest.raises(WireError):
        ip.ipv6_header(*V6, 51, 65_536)


@pytest.mark.parametrize("wrong", ["", "10.0.0", "fd00::g", "host", "10.0.0.1\0", "１.2.3.4"])
def test_not_an_address(wrong: str) -> None:
    with pytest.raises(WireError, match="not an IP address"):
        ip.pack(wrong)


def test_addresses() -> None:
    assert ip.pack("fe80::1%eth0") == bytes.fromhex("fe80" + "00" * 13 + "01")
    assert ip.addresses(UDP4) == V4
    assert ip.addresses(UDP6) == V6


def test_room() -> None:
    assert [ip.room(4, protocol, 1500) for protocol in (50, 17, 6)] == [1480, 1472, 1460]
    assert [ip.room(6, protocol, 1500) for protocol in (50, 17, 6)] == [1460, 1452, 1440]


def test_what_a_raw_ipv6_socket_gives_is_parsed_with_a_header_put_before_it() -> None:
    esp = codec("esp").request(KEYS, TAG, path("esp", 6))
    packet = ip.parse(ip.ipv6_header(*V6, 50, len(esp)) + esp)
    assert packet == seen("esp", 6)


def test_a_datagram_in_two_fragments_gives_the_payload_back() -> None:
    """First and later fragments keep every octet, so whoever wants to can join them."""
    datagram = ip.udp(Path(4, *V4, 1, 2), bytes(range(256)) * 8)
    first = bytes(v4(flags="MF", proto=17, id=9) / Raw(datagram[:1480]))
    later = bytes(v4(frag=185, proto=17, id=9) / Raw(datagram[1480:]))
    joined = ip.parse(first).payload + ip.parse(later).payload
    assert joined == datagram[8:]
    assert struct.unpack("!H", datagram[4:6]) == (len(joined) + 8,)
