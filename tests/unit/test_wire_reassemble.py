"""Fragments in any order make the packet that scapy cut up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from agent.errors import WireError
from agent.wire import ip
from agent.wire.reassemble import KEEP_SECONDS, MOST, Reassembler

PAYLOAD = bytes(range(256)) * 9


def cut4(payload: bytes = PAYLOAD, identification: int = 77) -> tuple[bytes, list[bytes]]:
    whole = IP(src="10.0.0.1", dst="10.0.0.2", id=identification) / UDP(sport=500, dport=500)
    whole /= Raw(payload)
    return bytes(whole), [bytes(part) for part in fragment(whole, fragsize=600)]


def cut6(payload: bytes = PAYLOAD) -> tuple[bytes, list[bytes]]:
    ends = IPv6(src="fd00::1", dst="fd00::2")
    udp = UDP(sport=500, dport=500) / Raw(payload)
    parts = fragment6(ends / IPv6ExtHdrFragment(id=77) / udp, 700)
    return bytes(ends / udp), [bytes(part) for part in parts]


@pytest.mark.parametrize("cut", [cut4, cut6])
def test_fragments_in_any_order_make_the_whole(cut) -> None:  # type: ignore[no-untyped-def]
    whole, parts = cut()
    assert len(parts) > 2
    first = parts[0]
    for seed in range(20):
        random.Random(seed).shuffle(parts)
        joiner = Reassembler()
        found = [joiner.add(part, 0.0) for part in parts]
        assert found[:-1] == [None] * (len(parts) - 1)
        joined = found[-1]
        assert joined is not None
        assert joined.fragments == len(parts)
        assert joined.backwards == (parts[-1] == first)
        made = ip.parse(joined.packet)
        wanted = ip.parse(whole)
        assert (made.payload, made.source_port, made.size) == (
            wanted.payload,
            wanted.source_port,
            wanted.size,
        )
        assert not ip.is_fragment(made)


def test_a_fragment_that_comes_twice_does_no_harm() -> None:
    whole, parts = cut4()
    joiner = Reassembler()
    found = [joiner.add(part, 0.0) for part in (parts[0], parts[0], *parts[1:])]
    assert found[-1] is not None
    assert ip.parse(found[-1].packet).payload == ip.parse(whole).payload


def test_two_datagrams_are_not_mixed() -> None:
    joiner = Reassembler()
    _, first = cut4(b"a" * 1500, 1)
    _, second = cut4(b"b" * 1500, 2)
    made = [joiner.add(part, 0.0) for pair in zip(first, second, strict=True) for part in pair]
    payloads = {ip.parse(joined.packet).payload for joined in made if joined}
    assert payloads == {b"a" * 1500, b"b" * 1500}


def test_what_never_becomes_whole_is_forgotten() -> None:
    joiner = Reassembler()
    _, parts = cut4()
    for part in parts[:-1]:
        assert joiner.add(part, 0.0) is None
    assert joiner.add(parts[-1], KEEP_SECONDS + 1.0) is None


def test_a_clock_that_is_stepped_back_leaves_no_old_parts_behind() -> None:
    """Else they would be joined, within the hour, to another packet that bears the same number."""
    joiner = Reassembler()
    _, old = cut4(payload=bytes(2304))
    _, new = cut4()
    assert joiner.add(old[0], 7200.0) is None
    for part in new[:-1]:
        assert joiner.add(part, 3600.0) is None
    joined = joiner.add(new[-1], 3600.0)
    assert joined is not None
    assert joined.packet.endswith(PAYLOAD)


def test_memory_is_bounded() -> None:
    joiner = Reassembler()
    for number in range(MOST * 2):
        _, parts = cut4(identification=number + 1)
        joiner.add(parts[0], 0.0)
    assert len(joiner._under_way) <= MOST


@given(st.binary(min_size=1, max_size=80), st.sampled_from([4, 6]), st.data())
def test_any_bytes_make_a_packet_nothing_or_a_wire_error(
    tail: bytes, family: int, data: st.DataObject
) -> None:
    _, parts = cut4() if family == 4 else cut6()
    damaged = bytearray(parts[0] + tail)
    for _ in range(3):
        place = data.draw(st.integers(1, 60))
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        if ip.is_fragment(ip.parse(bytes(damaged))):
            Reassembler().add(bytes(damaged), 0.0)
    except WireError:
        return
