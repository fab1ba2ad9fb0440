"""What is a control message is no shot and no stranger; on the tuple of a check it opens it."""

from __future__ import annotations

from agent.engine import Engine
from agent.events import Captured, Control
from agent.inband.box import NONCE, Shared
from agent.inband.carriers import wrap
from agent.inband.known import Known
from agent.inband.session import Send
from agent.inband.ways import FIXED, HARMLESS, new_flow
from agent.model import Check, Direction, Flow, Side
from agent.wire import ip
from agent.wire.base import Keys, Packet
from tests.pair.carried import ENDS, parsed

SHARED = Shared(bytes(32))
BOX = SHARED.seal(Side.NEAR, bytes(640), bytes(NONCE))
CHECKS = [
    Check(1, "esp", Direction.INBOUND, Flow.NEW, 4),
    Check(2, "ike", Direction.INBOUND, Flow.NEW, 4, source_port=500, destination_port=500),
    Check(3, "ike", Direction.INBOUND, Flow.NEW, 4, destination_port=500),
    Check(4, "icmp-echo", Direction.INBOUND, Flow.NEW, 4),
    Check(5, "ah", Direction.OUTBOUND, Flow.NEW, 4),
]


def seen(engine: Engine, kind: str, *, fixed: bool) -> set[int]:
    """The checks on whose tuple a control message by that way travels, seen at near."""
    way = next(w for w in (*HARMLESS, *FIXED) if (w.kind, w.fixed) == (kind, fixed))
    packet = parsed(Send(way, new_flow(way, *ENDS[4], 50_000), BOX), 1)
    assert engine.handle(Control(packet, outgoing=True), 0.0) == []
    return engine.crossed.carried[True]


def engine() -> Engine:
    return Engine(Side.NEAR, Keys(bytes(32)), CHECKS, *ENDS[4])


def test_on_a_fixed_tuple_it_opens_what_is_asked_there() -> None:
    assert seen(engine(), "esp", fixed=True) == {1}
    assert seen(engine(), "ah", fixed=True) == {5}
    assert seen(engine(), "ike", fixed=True) == {2}


def test_on_a_flow_of_its_own_it_opens_nothing() -> None:
    for kind in ("ike", "icmp-echo", "kerberos-udp", "kerberos-tcp", "esp-in-udp"):
        assert not seen(engine(), kind, fixed=False)


def test_it_counts_neither_as_a_stranger_nor_as_live_traffic() -> None:
    one = engine()
    way = FIXED[-1]
    packet = parsed(Send(way, new_flow(way, *ENDS[4][::-1], 50_000), BOX), 1)
    one.handle(Control(packet, outgoing=False), 0.0)
    assert (one.strangers, one.live, one.crossed.carried[False]) == (0, set(), {1})
    one.handle(Captured(packet, outgoing=False, time=0.0), 0.0)
    assert (one.strangers, one.live) == (1, {1})  # which is what it would be


def test_between_other_hosts_it_opens_nothing_of_ours() -> None:
    one = engine()
    way = FIXED[-1]
    packet = parsed(Send(way, new_flow(way, "10.9.9.9", ENDS[4][1], 50_000), BOX), 1)
    one.handle(Control(packet, outgoing=True), 0.0)
    assert not one.crossed.carried[True]


def test_known_by_its_marker_or_by_its_stream() -> None:
    known = Known(SHARED.markers, {("10.1.0.2", 40_000)})
    for way in (*HARMLESS, *FIXED):
        ridden = new_flow(way, *ENDS[4], 50_000)
        packet = parsed(Send(way, ridden, BOX), 1)
        data = packet.header + wrap(ridden, BOX, 1)
        assert known.has(packet, data)
        assert not Known().has(packet, data)
        assert not Known(Shared(b"x" * 32).markers).has(packet, data)
    there = Packet(4, ip.TCP, "10.1.0.2", "10.2.0.2", b"", 40_000, 88)
    back = Packet(4, ip.TCP, "10.2.0.2", "10.1.0.2", b"", 88, 40_000)
    other = Packet(4, ip.TCP, "10.2.0.2", "10.1.0.2", b"", 40_000, 88)
    assert [known.has(packet, b"") for packet in (there, back, other)] == [True, True, False]
