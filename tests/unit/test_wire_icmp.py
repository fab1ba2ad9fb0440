"""ICMP: pings, and errors with what they quote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec, ip
from agent.wire.base import Packet, Reading
from agent.wire.icmp import IcmpError, describe, read_error
from tests.unit.wire_shots import ENDS, FOREIGN, KEYS, TAG, back, exchange, path, seen

ROUTER = {4: "198.51.100.1", 6: "2001:db8::1"}
ECHO = codec("icmp-echo")


def error(family: int, message: Any, quoted: bytes) -> Packet:
    """An ICMP error as it comes in from a router."""
    near = ENDS[family][0]
    header = IP(src=ROUTER[4], dst=near) if family == 4 else IPv6(src=ROUTER[6], dst=near)
    return ip.parse(bytes(header / message / Raw(quoted)))


def quoting(family: int, kind: str, message: Any, length: int | None = None) -> IcmpError:
    """The error that quotes ``length`` octets of a shot, read."""
    found = read_error(error(family, message, exchange(kind, family).asked[:length]))
    assert found is not None
    return found


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [28, 68, None])
def test_an_ipv4_unreachable(length: int | None) -> None:
    shot = exchange("kerberos-udp", 4).asked
    assert quoting(4, "kerberos-udp", ICMP(type=3, code=13), length) == IcmpError(
        4, 3, 13, ROUTER[4], None, *ENDS[4], 17, 40_001, 88, shot[20:length]
    )


@pytest.mark.parametrize("length", [48, None])
def test_an_ipv6_unreachable(length: int | None) -> None:
    shot = exchange("kerberos-udp", 6).asked
    assert quoting(6, "kerberos-udp", ICMPv6DestUnreach(code=1), length) == IcmpError(
        6, 1, 1, ROUTER[6], None, *ENDS[6], 17, 40_001, 88, shot[40:length]
    )


def test_mtu() -> None:
    assert quoting(4, "esp", ICMP(type=3, code=4, nexthopmtu=1420)).mtu == 1420
    assert quoting(4, "esp", ICMP(type=3, code=4, nexthopmtu=0)).mtu is None
    assert quoting(4, "esp", ICMP(type=3, code=3, nexthopmtu=1420)).mtu is None
    assert quoting(6, "esp", ICMPv6PacketTooBig(mtu=1280)).mtu == 1280
    assert quoting(6, "esp", ICMPv6ParamProblem(code=1, ptr=1280)).mtu is None


@pytest.mark.parametrize("type", [3, 11, 12])
def test_kinds_of_ipv4_error(type: int) -> None:
    assert quoting(4, "esp", ICMP(type=type, code=1)).type == type


@pytest.mark.parametrize(
    ("message", "type"),
    [(ICMPv6DestUnreach(), 1), (ICMPv6PacketTooBig(), 2), (ICMPv6TimeExceeded(), 3),
     (ICMPv6ParamProblem(), 4)],
)  # fmt: skip
def test_kinds_of_ipv6_error(message: Any, type: int) -> None:
    assert quoting(6, "esp", message).type == type


def test_what_is_no_error() -> None:
    for family in (4, 6):
        assert read_error(seen("icmp-echo", family)) is None
        assert read_error(seen("esp", family)) is None
    near = ENDS[4][0]
    source_quench = bytes(IP(dst=near) / ICMP(type=4) / Raw(bytes(28)))
    assert read_error(ip.parse(source_quench)) is None
    assert read_error(Packet(4, 1, *ENDS[4], b"")) is None


def test_tcp_ports_are_quoted() -> None:
    found = quoting(4, "kerberos-tcp", ICMP(type=3, code=3), 28)
    assert (found.protocol, found.source_port, found.destination_port) == (6, 40_001, 88)


def test_esp_and_ah_have_no_ports() -> None:
    for kind in ("esp", "ah"):
        found = quoting(4, kind, ICMP(type=3, code=2))
        assert (found.source_port, found.destination_port) == (None, None)


def test_extension_headers_in_a_quoted_packet() -> None:
    header = IPv6(src=ENDS[6][0], dst=ENDS[6][1])
    quoted = bytes(header / IPv6ExtHdrDestOpt() / UDP(sport=7, dport=88) / Raw(bytes(20)))
    found = read_error(error(6, ICMPv6DestUnreach(), quoted))
    assert found
    assert (found.protocol, found.source_port, found.head) == (17, 7, quoted[48:])


def test_a_later_fragment_quoted_has_no_ports() -> None:
    later4 = bytes(IP(src=ENDS[4][0], dst=ENDS[4][1], frag=10, proto=17) / Raw(bytes(32)))
    later6 = bytes(IPv6() / IPv6ExtHdrFragment(offset=10, nh=17) / Raw(bytes(32)))
    for family, quoted in ((4, later4), (6, later6)):
        message = ICMP(type=11, code=1) if family == 4 else ICMPv6TimeExceeded(code=1)
        found = read_error(error(family, message, quoted))
        assert found
        assert (found.protocol, found.source_port) == (17, None)


def test_extensions_behind_the_quoted_packet_are_no_part_of_it() -> None:
    """RFC 4884: 128 octets of original datagram, padded, then an extension structure."""
    shot = exchange("ah", 4).asked
    quoted = shot[:112].ljust(128, b"\0") + b"\x20\0\0\0extension"
    found = read_error(error(4, ICMP(type=3, code=13, length=32), quoted))
    assert found
    assert found.head == shot[20:]
    long = exchange("ike", 6).asked
    message = ICMPv6DestUnreach(length=16)
    found = read_error(error(6, message, long[:128] + b"\x20\0\0\0extension"))
    assert found
    assert found.head == long[40:128]


def test_junk_in_an_unused_field_is_no_length() -> None:
    shot = exchange("esp", 4).asked
    found = read_error(error(4, ICMP(type=3, code=13, length=2), shot))
    assert found
    assert found.head == shot[20:]


@pytest.mark.parametrize(
    ("family", "quoted"),
    [(4, b""), (4, exchange("esp", 4).asked[:27]), (4, b"\x60" + bytes(60)),
     (4, b"\x44" + bytes(60)), (6, exchange("esp", 6).asked[:47]), (6, b"\x45" + bytes(60)),
     (6, bytes(IPv6(nh=60) / Raw(b"\x11\x09" + bytes(20))))],
)  # fmt: skip
def test_too_little_quoted(family: int, quoted: bytes) -> None:
    message = ICMP(type=3) if family == 4 else ICMPv6DestUnreach()
    with pytest.raises(WireError):
        read_error(error(family, message, quoted))


def test_a_broken_off_error() -> None:
    with pytest.raises(WireError, match="breaks off"):
        read_error(Packet(4, 1, *ENDS[4], b"\x03\x01"))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["esp", "ah", "icmp-echo"])
def test_the_shot_that_an_error_quotes(kind: str, family: int) -> None:
    message = ICMP(type=3, code=2) if family == 4 else ICMPv6ParamProblem(code=1)
    head = quoting(family, kind, message).head
    checks = (3, TAG.check, 9)
    assert codec(kind).quoted(KEYS, checks, head) == TAG
    assert codec(kind).quoted(KEYS, (3, 9), head) is None
    assert codec(kind).quoted(FOREIGN, checks, head) is None


@pytest.mark.parametrize("kind", ["esp", "icmp-echo"])
def test_eight_octets_are_enough(kind: str) -> None:
    head = quoting(4, kind, ICMP(type=3, code=2), 28).head
    assert len(head) == 8
    assert codec(kind).quoted(KEYS, (TAG.check,), head) == TAG


def test_eight_octets_of_ah_tell_the_check_only() -> None:
    head = quoting(4, "ah", ICMP(type=3, code=2), 28).head
    assert codec("ah").quoted(KEYS, (TAG.check,), head) == Tag(TAG.check, 1)


def test_plain_words() -> None:
    assert describe(4, 3, 13) == "communication administratively prohibited (ICMP 3/13)"
    assert describe(6, 1, 1) == "communication administratively prohibited (ICMPv6 1/1)"
    assert describe(4, 3, 2) == "protocol unreachable (ICMP 3/2)"
    assert describe(6, 2, 0) == "packet too big (ICMPv6 2/0)"
    assert describe(4, 3, 99) == "destination unreachable (ICMP 3/99)"
    assert describe(6, 200, 7) == "an ICMP message (ICMPv6 200/7)"


# -- echo ----------------------------------------------------------------------------------------


def test_a_ping_is_scapys() -> None:
    for family in (4, 6):
        packet = seen("icmp-echo", family)
        identifier = int.from_bytes(packet.payload[4:6], "big")
        data = packet.payload[8:]
        near, far = ENDS[family]
        built: Any
        if family == 4:
            built = IP(src=near, dst=far) / ICMP(type=8, id=identifier, seq=TAG.shot) / Raw(data)
        else:
            built = IPv6(src=near, dst=far) / ICMPv6EchoRequest(
                id=identifier, seq=TAG.shot, data=data
            )
        assert packet.payload == bytes(built)[20 if family == 4 else 40 :]


def test_a_kernels_reply_is_scapys() -> None:
    shot = exchange("icmp-echo", 4)
    built = IP(src=ENDS[4][1], dst=ENDS[4][0]) / ICMP(
        type=0, id=int.from_bytes(shot.request[4:6], "big"), seq=TAG.shot
    )
    assert shot.answer == bytes(built / Raw(shot.request[8:]))[20:]
    shot = exchange("icmp-echo", 6)
    reply = IPv6(src=ENDS[6][1], dst=ENDS[6][0]) / ICMPv6EchoReply(
        id=int.from_bytes(shot.request[4:6], "big"), seq=TAG.shot, data=shot.request[8:]
    )
    assert shot.answer == bytes(reply)[40:]


@pytest.mark.parametrize("family", [4, 6])
def test_a_reply_reads_as_the_request_and_says_so(family: int) -> None:
    """The kernel's reply can carry no tag but the request's."""
    shot = exchange("icmp-echo", family, 1400)
    assert ECHO.read(KEYS, ip.parse(shot.asked)) == Reading(TAG)
    assert ECHO.read(KEYS, ip.parse(shot.answered)) == Reading(TAG, reply=True)
    assert len(shot.answered) == len(shot.asked) == 1400


def test_a_ping_of_anybody_else() -> None:
    ping = bytes(IP(src=ENDS[4][0], dst=ENDS[4][1]) / ICMP(id=1, seq=1) / Raw(bytes(56)))
    assert ECHO.read(KEYS, ip.parse(ping)) is None
    assert ECHO.read(KEYS, replace(seen("icmp-echo", 4), protocol=58)) is None
    assert ECHO.read(KEYS, replace(seen("icmp-echo", 4), payload=b"")) is None
    with pytest.raises(WireError):
        ECHO.read(KEYS, replace(seen("icmp-echo", 4), payload=b"\x08\0\0\0"))


def test_checks_have_identifiers_of_their_own() -> None:
    there = path("icmp-echo", 4)
    seen_identifiers = {ECHO.request(KEYS, Tag(check, 1), there)[4:6] for check in range(1000)}
    assert len(seen_identifiers) == 1000
    assert back(back(there)) == there
