"""Any captured bytes yield a match, a stranger or a WireError, never anything else.

And a match is never false: whatever is done to a shot, it reads as its own tag or as none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec, ip
from agent.wire.base import Packet, Reading
from agent.wire.icmp import IcmpError, describe, read_error
from agent.wire.ike import initiator_spi, nat_detected, tag_of_spi
from agent.wire.ike_answer import says
from agent.wire.isakmp import parse_header, payloads
from agent.wire.kerberos import parse_error
from tests.fuzz.effort import many, some
from tests.fuzz.hostile import EXCHANGES
from tests.unit.wire_shots import (
    ANSWER_TAG,
    ENDS,
    EVERY_KIND,
    FAMILIES,
    FOREIGN,
    KEYS,
    TAG,
    TAGGED,
    Exchange,
    path,
    whole,
)

# (the packet, its kind, the tag that it must read as)
SHOTS = [(shot.asked, shot.kind, TAG) for shot in EXCHANGES] + [
    (shot.answered, shot.kind, TAG if shot.kind == "icmp-echo" else ANSWER_TAG)
    for shot in EXCHANGES
]
IKES = [shot for shot in EXCHANGES if codec(shot.kind).rationed]
shots = st.sampled_from(SHOTS)
families = st.sampled_from(FAMILIES)
octets = st.binary(max_size=400)


def read_all(packet: Packet) -> list[tuple[str, Reading]]:
    """What every codec makes of ``packet``. WireError is a fit answer, anything else fails."""
    found = []
    for kind in EVERY_KIND:
        try:
            reading = codec(kind).read(KEYS, packet)
        except WireError:
            continue
        if reading is not None:
            found.append((kind, reading))
    try:
        error = read_error(packet)
    except WireError:
        return found
    if error is not None:
        assert isinstance(error, IcmpError)
        assert len(error.head) >= 8
        assert describe(error.family, error.type, error.code)
        for kind in EVERY_KIND:
            codec(kind).quoted(KEYS, (TAG.check, ANSWER_TAG.check), error.head)
    return found


def parsed(data: bytes) -> Packet | None:
    try:
        return ip.parse(data)
    except WireError:
        return None


# -- arbitrary bytes -----------------------------------------------------------------------------


@many
@given(octets)
@example(b"")
def test_arbitrary_packets(data: bytes) -> None:
    packet = parsed(data)
    assert packet is None or read_all(packet) == []


@many
@given(families, st.integers(0, 255), st.integers(0, 255), octets)
def test_arbitrary_contents_of_a_sound_header(
    family: int, protocol: int, fragment: int, body: bytes
) -> None:
    if family == 4:
        header = bytearray(ip.ipv4_header(*ENDS[4], protocol, len(body)))
        header[6:8] = (fragment & 0x3F).to_bytes(2, "big")
    else:
        header = bytearray(ip.ipv6_header(*ENDS[6], protocol, len(body)))
    packet = parsed(bytes(header) + body)
    if packet is not None:
        ip.is_fragment(packet)
        assert read_all(packet) == []


@many
@given(families, st.lists(st.sampled_from([0, 43, 44, 60, 17, 50]), max_size=4), octets)
def test_arbitrary_extension_headers(family: int, kinds: list[int], body: bytes) -> None:
    chain = b"".join(bytes((kind,)) + body[:7].ljust(7, b"\0") for kind in [*kinds[1:], 17])
    first = kinds[0] if kinds else 17
    data = ip.ipv6_header(*ENDS[6], first, len(chain + body)) + chain + body
    packet = parsed(data)
    if packet is not None:
        ip.is_fragment(packet)
        assert packet.size == len(data)
        assert data.startswith(packet.header)
        assert read_all(packet) == []


PREFIXES = [b"", bytes(4), b"\x6a", b"\x7e", b"\0\0\0\x10\x6a", b"\x08\0", b"\x80\0", b"\x11\x05",
            bytes(16) + b"\x21\x20\x22\x08", b"ipsec-probe firewall test\r\n"]  # fmt: skip


@many
@given(families, st.sampled_from(EVERY_KIND), st.sampled_from(PREFIXES), octets)
def test_arbitrary_payloads_that_begin_like_a_kind(
    family: int, kind: str, prefix: bytes, body: bytes
) -> None:
    sender = codec(kind)
    packet = Packet(
        family, sender.protocol(family), *ENDS[family], prefix + body, sender.port, sender.port
    )
    assert read_all(packet) == []


@many
@given(
    families,
    st.sampled_from([0, 1, 2, 3, 4, 5, 11, 12, 129]),
    st.integers(0, 255),
    st.binary(min_size=4, max_size=4),
    octets,
)
def test_arbitrary_icmp(family: int, type: int, code: int, rest: bytes, quoted: bytes) -> None:
    message = bytes((type, code, 0, 0)) + rest + quoted
    read_all(Packet(family, 1 if family == 4 else 58, *ENDS[family], message))


def headed(shot: Exchange, data: bytes) -> bytes:
    """``data`` behind the header of an IKE answer, with the right length."""
    at = 4 if shot.answer.startswith(bytes(4)) else 0
    length = (28 + len(data)).to_bytes(4, "big")
    return shot.answer[: at + 24] + length + data


@many
@given(octets)
def test_arbitrary_messages(data: bytes) -> None:
    """The functions for what other people's daemons answer."""
    readers: list[Callable[[bytes], object]] = [
        parse_error,
        parse_header,
        lambda message: list(payloads(message)),
        lambda message: nat_detected(Packet(4, 17, *ENDS[4], message, 500, 500)),
        says,
        *(partial(codec(kind).heard, KEYS, TAG) for kind in EVERY_KIND),
    ]
    for reader in readers:
        for message in (data, b"\x7e" + data, *(headed(shot, data) for shot in IKES)):
            try:
                reader(message)
            except WireError:
                continue
    assert tag_of_spi(KEYS, data[:8]) is None
    for kind in ("kerberos-tcp", "tcp:445"):
        length = codec(kind).message_length(data)
        assert length is None or length > 0


# -- shots to which something was done -----------------------------------------------------------


def check(data: bytes, kind: str, tag: Tag) -> list[tuple[str, Reading]]:
    """Whatever ``data``, once a shot, has become: it is known as what it was, or not at all."""
    packet = parsed(data)
    found = [] if packet is None else read_all(packet)
    for known_as, reading in found:
        assert (known_as, reading.tag) == (kind, tag)
    return found


@many
@given(shots, st.data())
def test_changed_bits(shot: tuple[bytes, str, Tag], data: st.DataObject) -> None:
    changed = bytearray(shot[0])
    for bit in data.draw(st.lists(st.integers(0, 8 * len(changed) - 1), min_size=1, max_size=4)):
        changed[bit // 8] ^= 1 << bit % 8
    check(bytes(changed), *shot[1:])


@many
@given(shots, st.data())
def test_cut_shots_are_never_known(shot: tuple[bytes, str, Tag], data: st.DataObject) -> None:
    """As cut by a capture, whose IP length still tells, and as cut by whoever mends that length."""
    packet, kind, tag = shot
    length = data.draw(st.integers(0, len(packet) - 1))
    assert check(packet[:length], kind, tag) == []
    header = 20 if packet[0] == 0x45 else 40
    mended = bytearray(packet[: max(length, header)])
    if header == 20:
        mended[2:4] = len(mended).to_bytes(2, "big")
    else:
        mended[4:6] = (len(mended) - 40).to_bytes(2, "big")
    for _, reading in check(bytes(mended), kind, tag):
        assert kind == "icmp-echo" or not reading.intact


@many
@given(shots, st.data())
def test_inserted_octets(shot: tuple[bytes, str, Tag], data: st.DataObject) -> None:
    packet, kind, tag = shot
    at = data.draw(st.integers(0, len(packet)))
    more = data.draw(st.binary(min_size=1, max_size=40))
    check(packet[:at] + more + packet[at:], kind, tag)


@many
@given(shots, shots, st.data())
def test_spliced_shots(
    one: tuple[bytes, str, Tag], other: tuple[bytes, str, Tag], data: st.DataObject
) -> None:
    """The head of one and the tail of another read as one of the two, under that one's kind."""
    at = data.draw(st.integers(0, min(len(one[0]), len(other[0]))))
    packet = parsed(one[0][:at] + other[0][at:])
    if packet is not None:
        assert {(kind, reading.tag) for kind, reading in read_all(packet)} <= {one[1:], other[1:]}


@some
@given(shots, octets)
def test_link_padding_changes_nothing(shot: tuple[bytes, str, Tag], padding: bytes) -> None:
    found = check(shot[0] + padding, *shot[1:])
    assert found == check(*shot)
    assert [kind for kind, reading in found if reading.intact] == (
        [shot[1]] if codec(shot[1]).tagged else []
    )


@some
@given(shots, st.data())
def test_quoted_shots(shot: tuple[bytes, str, Tag], data: st.DataObject) -> None:
    """An ICMP error never names a check that it does not quote, however much of it is changed."""
    packet, kind, tag = shot
    family = packet[0] >> 4
    quoted = bytearray(packet[: data.draw(st.integers(0, len(packet)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(quoted) - 1)), max_size=2)):
        if quoted:
            quoted[at] ^= data.draw(st.integers(1, 255))
    message = bytes((3 if family == 4 else 1, 1, 0, 0, 0, 0, 0, 0)) + bytes(quoted)
    try:
        error = read_error(Packet(family, 1 if family == 4 else 58, *ENDS[family], message))
    except WireError:
        return
    assert error is not None
    checks = (TAG.check, ANSWER_TAG.check)
    for other in EVERY_KIND:
        named = codec(other).quoted(KEYS, checks, error.head)
        # Pings of one run count their identifiers up: there a changed one may be another's.
        assert named is None or named.check == tag.check or other == kind == "icmp-echo"
        assert codec(other).quoted(FOREIGN, checks, error.head) is None


# -- every tag and every size --------------------------------------------------------------------

tags = st.builds(Tag, check=st.integers(0, 65_535), shot=st.integers(1, 65_535))


@pytest.mark.parametrize("kind", TAGGED)
@some
@given(tags, families, st.none() | st.integers(320, 3000))
def test_every_tag_at_every_size(kind: str, tag: Tag, family: int, size: int | None) -> None:
    there = path(kind, family)
    made = codec(kind).request(KEYS, tag, there, size)
    packet = ip.parse(whole(codec(kind), there, made))
    assert codec(kind).read(KEYS, packet) == Reading(tag)
    assert codec(kind).read(FOREIGN, packet) is None
    assert codec(kind).read(KEYS, replace(packet, header=b"")) == Reading(tag)
    assert size is None or size - 3 <= (packet.size or 0) <= size
    if kind in ("esp", "ah", "icmp-echo"):
        numbers = (tag.check ^ 1, tag.check)
        assert codec(kind).quoted(KEYS, numbers, packet.payload[:12]) == tag


@some
@given(tags)
def test_every_initiator_spi(tag: Tag) -> None:
    spi = initiator_spi(KEYS, tag)
    assert spi != bytes(8)
    assert tag_of_spi(KEYS, spi) == tag
    assert tag_of_spi(FOREIGN, spi) is None
