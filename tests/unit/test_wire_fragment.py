"""What is cut up is what scapy reads, and what the other end joins."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from agent.errors import WireError
from agent.wire import ip
from agent.wire.base import Path
from agent.wire.fragment import MOST, split
from agent.wire.reassemble import Reassembler

PATHS = {
    4: Path(4, "10.0.0.1", "10.0.0.2", 500, 500),
    6: Path(6, "fd00::1", "fd00::2", 500, 500),
}


@given(st.sampled_from([4, 6]), st.binary(min_size=1, max_size=9000), st.randoms())
def test_any_order_joins_to_the_whole(family: int, payload: bytes, order: random.Random) -> None:
    path = PATHS[family]
    parts = split(path, ip.UDP, ip.udp(path, payload))
    assert len(parts) > 1
    assert max(map(len, parts)) <= MOST
    order.shuffle(parts)
    joiner = Reassembler()
    found = [joiner.add(part, 0.0) for part in parts]
    assert found[:-1] == [None] * (len(parts) - 1)
    assert found[-1] is not None
    packet = ip.parse(found[-1].packet)
    assert (packet.payload, packet.source_port, packet.destination_port) == (payload, 500, 500)


def test_scapy_reads_the_parts_as_meant() -> None:
    body = ip.udp(PATHS[4], bytes(2000))
    first, last = (IP(part) for part in split(PATHS[4], ip.UDP, body, hops=9))
    assert (first.flags, first.frag, first.ttl, first.proto) == ("MF", 0, 9, 17)
    assert (last.flags, last.frag * 8, last.id) == ("", len(first.payload), first.id)
    assert first.chksum == IP(bytes(first)).chksum
    checked = first.copy()
    del checked.chksum
    assert IP(bytes(checked)).chksum == first.chksum
    assert bytes(first.payload)[:8] == body[:8]

    body = ip.udp(PATHS[6], bytes(2000))
    first, last = (IPv6(part) for part in split(PATHS[6], ip.UDP, body, hops=9))
    head, tail = first[IPv6ExtHdrFragment], last[IPv6ExtHdrFragment]
    assert (head.m, head.offset, head.nh, first.hlim) == (1, 0, 17, 9)
    assert (tail.m, tail.offset * 8, tail.id) == (0, len(head.payload), head.id)


def test_two_packets_do_not_share_a_name() -> None:
    one, other = (
        split(PATHS[4], ip.UDP, ip.udp(PATHS[4], bytes(2000) + end)) for end in (b"1", b"2")
    )
    assert IP(one[0]).id != IP(other[0]).id


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(WireError):
        split(PATHS[4], ip.UDP, b"12345678")
