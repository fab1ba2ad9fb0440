"""A box goes into every kind and comes out of it; the kernel's filter finds it, and no other."""

from __future__ import annotations

import pytest

from agent.inband.box import MARKER, NONCE, PUBLIC, Shared
from agent.inband.carriers import KINDS, MOST_MARKERS, is_marked, places, unwrap
from agent.inband.session import Send
from agent.inband.ways import FIXED, HARMLESS, STREAM, Way, answering, is_fixed, new_flow, of_id
from agent.linux import bpf
from agent.model import Side, Tag
from agent.wire import KINDS as SHOT_KINDS
from agent.wire import codec, ip
from agent.wire.base import Keys, Packet, Path
from tests.pair.carried import ENDS, parsed
from tests.unit.test_bpf import accepts

KEY = bytes(range(32))
SHARED = Shared(KEY)
MARKERS = SHARED.markers
OPENING = SHARED.seal(Side.NEAR, bytes(640), b"n" * NONCE)
PACKET = SHARED.session(bytes(PUBLIC), bytes(PUBLIC), bytes(PUBLIC)).seal(Side.NEAR, 9, bytes(935))
PROGRAM = bpf.marker_filter(places(), MARKERS)
EVERY = [
    (way, family, number)
    for way in (*HARMLESS, *FIXED)
    for family in (4, 6)
    for number in (0, 1)  # the first packet of a flow, and another
]


def sent(way: Way, family: int, number: int, box: bytes) -> tuple[Send, Packet]:
    send = Send(way, new_flow(way, *ENDS[family], 50_001), box)
    return send, parsed(send, number)


def whole(packet: Packet, send: Send, number: int) -> bytes:
    from agent.inband.carriers import wrap

    return packet.header + wrap(send.ridden, send.box, number)


@pytest.mark.parametrize("box", [OPENING, PACKET], ids=["opening", "packet"])
@pytest.mark.parametrize(("way", "family", "number"), EVERY)
def test_there_and_back(way: Way, family: int, number: int, box: bytes) -> None:
    send, packet = sent(way, family, number, box)
    found = unwrap(packet, MARKERS)
    assert found is not None
    ridden, inside = found
    assert inside == box
    assert (ridden.kind, ridden.reply) == (way.kind, False)
    assert is_fixed(ridden) is way.fixed
    assert packet.size is not None
    assert packet.size <= 1280
    assert accepts(PROGRAM, whole(packet, send, number))
    assert is_marked(packet, MARKERS)

    back, path = answering(ridden)
    if way is STREAM:
        return  # answered on a connection
    answer = Send(back, path, box)
    packet = parsed(answer, number)
    found = unwrap(packet, MARKERS)
    assert found is not None
    assert found[1] == box
    assert found[0].reply is back.reply
    assert (packet.source, packet.destination) == ENDS[family][::-1]
    assert packet.size is not None
    assert packet.size <= 1280
    assert accepts(PROGRAM, whole(packet, answer, number))


@pytest.mark.parametrize(("way", "family", "number"), EVERY)
def test_another_key_sees_a_stranger(way: Way, family: int, number: int) -> None:
    send, packet = sent(way, family, number, OPENING)
    other = Shared(bytes(32)).markers
    assert unwrap(packet, other) is None
    assert not is_marked(packet, other)
    assert not accepts(bpf.marker_filter(places(), other), whole(packet, send, number))


@pytest.mark.parametrize("kind", [kind for kind in SHOT_KINDS if not codec(kind).stream])
@pytest.mark.parametrize("family", [4, 6])
def test_a_shot_is_no_control_message(kind: str, family: int) -> None:
    made = codec(kind)
    path = Path(family, *ENDS[family], made.port and 50_000, made.port)
    body = made.request(Keys(bytes(32)), Tag(1, 1), path)
    if made.protocol(family) == ip.UDP:
        body = ip.udp(path, body)
    if not made.whole_packet(family):
        make = ip.ipv4_header if family == 4 else ip.ipv6_header
        body = make(path.source, path.destination, made.protocol(family), len(body)) + body
    assert not is_marked(ip.parse(body), MARKERS)
    assert not accepts(PROGRAM, body)


def test_an_error_about_a_control_message_is_one_as_well() -> None:
    for way in (*HARMLESS, *FIXED):
        send, packet = sent(way, 4, 1, PACKET)
        if way.kind.startswith("kerberos"):
            continue  # its marker stands further behind than an old router quotes
        quoted = whole(packet, send, 1)[: 20 + 8 + 16]
        error = bytes((3, 3, 0, 0, 0, 0, 0, 0)) + quoted
        header = ip.ipv4_header("10.9.9.9", ENDS[4][0], ip.ICMP, len(error))
        assert is_marked(ip.parse(header + error), MARKERS), way
        assert not is_marked(ip.parse(header + error), {b"none"})


def test_the_filter_holds_as_many_keys_as_it_says() -> None:
    most = MOST_MARKERS // 2
    markers = [m for n in range(most) for m in Shared(bytes((n,)) * 32).markers]
    program = bpf.marker_filter(places(), markers)
    assert len(program) // 8 <= 4096
    for n in (0, most - 1):
        box = Shared(bytes((n,)) * 32).seal(Side.NEAR, bytes(640), b"n" * NONCE)
        for way in (*HARMLESS, *FIXED):
            send, packet = sent(way, 4, 1, box)
            assert accepts(program, whole(packet, send, 1))


def test_a_fragment_is_none() -> None:
    send, packet = sent(HARMLESS[0], 4, 1, OPENING)
    data = bytearray(whole(packet, send, 1))
    data[6] = 0x20  # more fragments
    assert not accepts(PROGRAM, bytes(data))


def test_ways_have_numbers() -> None:
    for kind in KINDS:
        for fixed in (False, True):
            for reply in (False, True):
                way = Way(kind, fixed, reply)
                assert of_id(way.id) == way
    assert of_id(255) is None
    assert of_id(-1) is None
    assert {len(marker) for marker in MARKERS} == {MARKER}
