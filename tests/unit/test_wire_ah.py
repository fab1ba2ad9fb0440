"""AH: what scapy builds with the same key, and what translation does to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, IPSecIntegrityError, SecurityAssociation
from scapy.packet import Raw

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ah, codec, ip
from agent.wire.ah import CHANGED, TRANSLATED
from agent.wire.base import Packet, Path, Reading
from agent.wire.esp import spi
from tests.unit.wire_shots import ELSEWHERE, ENDS, FAMILIES, KEYS, TAG, back, exchange, path, seen

CODEC = codec("ah")
both_families = pytest.mark.parametrize("family", FAMILIES)


def association() -> SecurityAssociation:
    return SecurityAssociation(
        AH,
        spi(KEYS, TAG.check),
        auth_algo="SHA2-256-128",
        auth_key=KEYS.derive("ah key"),
    )


@both_families
@pytest.mark.parametrize("size", [None, 601, 1400])
def test_ah_is_scapys(family: int, size: int | None) -> None:
    packet = seen("ah", family, size)
    inside = packet.payload[ah.LENGTH[family] :]
    header: Any
    if family == 4:
        identification = int.from_bytes(packet.header[4:6], "big")
        assert identification != 0
        header = IP(src=ENDS[4][0], dst=ENDS[4][1], id=identification, flags="DF")
    else:
        header = IPv6(src=ENDS[6][0], dst=ENDS[6][1])
    datagram = UDP(sport=int.from_bytes(inside[:2], "big"), dport=9) / Raw(inside[8:])
    built = association().encrypt(header / datagram, seq_num=TAG.shot)
    whole = bytes(built)
    assert whole[-len(packet.payload) :] == packet.payload
    assert family == 6 or whole == exchange("ah", 4, size).asked


@both_families
def test_scapy_verifies_it(family: int) -> None:
    whole = exchange("ah", family).asked
    packet = IP(whole) if family == 4 else IPv6(whole)
    inside = UDP(bytes(association().decrypt(packet).payload))
    assert inside.dport == 9
    assert inside.sport >= 49_152


@both_families
def test_scapy_refuses_a_changed_one(family: int) -> None:
    """So that the test above proves something."""
    whole = exchange("ah", family).asked[:-1] + b"\1"
    packet = IP(whole) if family == 4 else IPv6(whole)
    with pytest.raises(IPSecIntegrityError):
        association().decrypt(packet)


@both_families
def test_an_answer_travels_in_the_flow_that_the_request_opened(family: int) -> None:
    shot = exchange("ah", family)
    asked, answered = (ip.parse(data).payload for data in (shot.asked, shot.answered))
    at = ah.LENGTH[family]
    assert answered[at : at + 4] == asked[at + 2 : at + 4] + asked[at : at + 2]


def test_padding() -> None:
    """RFC 4302, 3.3.3.2.1: AH is a multiple of 4 octets in IPv4, of 8 in IPv6."""
    four, six = seen("ah", 4).payload, seen("ah", 6).payload
    assert (four[:2], six[:2]) == (b"\x11\x05", b"\x11\x06")
    assert six[28:32] == bytes(4)


@both_families
def test_the_datagram_inside_is_sound(family: int) -> None:
    """Connection tracking calls AH over IPv6 invalid otherwise."""
    inside = seen("ah", family).payload[ah.LENGTH[family] :]
    ports = int.from_bytes(inside[:2], "big"), int.from_bytes(inside[2:4], "big")
    assert ip.udp(Path(family, *ENDS[family], *ports), inside[8:]) == inside


@both_families
@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_translated_address(family: int, end: str) -> None:
    """What a NAT does: the address rewritten, header checksum mended, the rest untouched."""
    whole = bytearray(exchange("ah", family).asked)
    at = {4: (12, 16), 6: (8, 24)}[family][end == "destination"]
    new = ip.pack(ELSEWHERE[family])
    whole[at : at + len(new)] = new
    assert CODEC.read(KEYS, ip.parse(bytes(whole))) == Reading(TAG, False, TRANSLATED)


@both_families
def test_changed_contents(family: int) -> None:
    packet = seen("ah", family)
    payload = packet.payload[:-1] + b"\1"
    assert CODEC.read(KEYS, replace(packet, payload=payload)) == Reading(TAG, False, CHANGED)


@both_families
def test_what_routers_change_is_not_covered(family: int) -> None:
    """TTL and class of service; in IPv4 the checksum, and a fragment's flags once rejoined."""
    whole = bytearray(exchange("ah", family).asked)
    if family == 4:
        whole[1], whole[8] = 0xB8, 3
        whole[6:8] = b"\0\0"
        whole[10:12] = b"\xde\xad"
    else:
        whole[0:4] = b"\x6b\x8f\xff\xff"
        whole[7] = 3
    assert CODEC.read(KEYS, ip.parse(bytes(whole))) == Reading(TAG)


@both_families
def test_every_other_bit_is_covered(family: int) -> None:
    whole = exchange("ah", family).asked
    packet = ip.parse(whole)
    mutable = {4: {1, 6, 7, 8, 10, 11}, 6: {0, 1, 2, 3, 7}}[family]
    header = ip.HEADER_LENGTH[family]
    for bit in range(4, 8 * len(whole)):  # another version is no packet of this family
        octet = bit // 8
        changed = bytearray(whole)
        changed[octet] ^= 0x80 >> bit % 8
        if octet < header:
            # As a capture would still show it, whatever its lengths and addresses now say.
            seen_packet = replace(packet, header=bytes(changed[:header]))
        else:
            seen_packet = replace(packet, payload=bytes(changed[header:]))
        try:
            reading = CODEC.read(KEYS, seen_packet)
        except WireError:
            continue
        assert reading is None or reading.intact == (octet in mutable), octet


def test_ipv4_options_put_in_on_the_way() -> None:
    packet = seen("ah", 4)
    header = b"\x46" + packet.header[1:] + b"\x94\x04\0\0"
    reading = CODEC.read(KEYS, replace(packet, header=header))
    assert reading
    assert not reading.intact


@both_families
def test_without_an_ip_header_it_is_rebuilt(family: int) -> None:
    packet = replace(seen("ah", family), header=b"", ttl=None, size=None)
    assert CODEC.read(KEYS, packet) == Reading(TAG)
    translated = replace(packet, source=ELSEWHERE[family])
    assert CODEC.read(KEYS, translated) == Reading(TAG, False, TRANSLATED)


@both_families
@pytest.mark.parametrize("with_header", [True, False])
def test_the_answer_counts_what_follows_the_ip_header(family: int, with_header: bool) -> None:
    shot = exchange("ah", family, 300)
    request = shot.request
    if family == 4 and not with_header:
        request = request[20:]
    answer = CODEC.answer(KEYS, Tag(8, 1), back(shot.path), request, 1400)
    assert len(answer) == len(shot.request)


def test_identifications_are_never_0() -> None:
    """A kernel fills in a 0, and the ICV would be wrong."""
    there = path("ah", 4)
    ids = {CODEC.request(KEYS, Tag(check, 1), there)[4:6] for check in range(4000)}
    assert b"\0\0" not in ids
    assert len(ids) > 3500


def test_the_ipv4_header_is_sound() -> None:
    header = seen("ah", 4, 700).header
    assert ip.checksum(header) == 0
    assert header[6:8] == b"\x40\0"  # don't fragment


def test_ah_of_anybody_else() -> None:
    strangers = (
        b"\x11\x04" + bytes(60),  # HMAC-96
        b"\x06\x05" + bytes(60),  # TCP inside
        b"\x11\x05" + bytes(60),
        b"\x11\x05" + bytes(26),
    )
    for payload in strangers:
        assert CODEC.read(KEYS, Packet(4, 51, *ENDS[4], payload)) is None
    for payload in (b"", bytes(11), b"\x11\x05" + bytes(25)):
        with pytest.raises(WireError):
            CODEC.read(KEYS, Packet(4, 51, *ENDS[4], payload))


def test_an_answer_to_less_than_a_request() -> None:
    with pytest.raises(WireError):
        CODEC.answer(KEYS, TAG, path("ah", 4), bytes(40))
