"""Two engines over a fake link, judged by the real correlator: what happened is what it says."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from agent.model import Direction, Event, Flow, Side
from agent.wire import ip
from agent.wire.base import Packet
from probe import plan as planning
from probe.correlate import correlate
from probe.result import Conclusion, Outcome
from scenarios import load
from tests.pair.fakelink import FAR, NEAR, Link, Rule, drops

FAMILIES = (4, 6)
SHOTS = 15


def plan(family: int, *only: str) -> planning.Plan:
    return planning.make(load("all"), family, only=only)


def judge(link: Link, *, shots: int = SHOTS) -> dict[tuple[str, str, str], Conclusion]:
    """(kind, direction, flow) → conclusion, after both directions were fired, inbound first.

    IKE is asked from port 500 and from a fresh port; the fresh one has "/fresh" to its kind.
    """
    for direction in planning.ORDER:
        link.fire(direction, shots)
    told: dict[tuple[str, str, str], Conclusion] = {}
    checks = {check.number: check for check in link.plan.checks}
    for found in correlate(link.plan, link.evidence()):
        check = found.check
        request = check if check.flow is Flow.NEW else checks[check.partner or 0]
        fresh = request.kind == "ike" and request.source_port is None
        told[check.kind + "/fresh" * fresh, check.direction, check.flow] = found
    return told


@pytest.mark.parametrize("family", FAMILIES)
def test_an_open_link_delivers_everything(family: int) -> None:
    told = judge(Link(plan(family)), shots=3)
    assert {kind for kind, _, _ in told} >= {"esp", "ah", "ike", "nat-keepalive", "kerberos-tcp"}
    for (kind, direction, flow), found in told.items():
        shared = (
            kind in ("esp", "ah", "ike", "ike-v1") and direction == "outbound" and flow == "new"
        )
        wanted = Outcome.STATE_POSSIBLE if shared else Outcome.DELIVERED
        assert found.outcome is wanted, (kind, direction, flow, found.cause)
        assert (found.shots, found.delivered) == (3, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_closed_link_delivers_nothing_and_blames_no_reply(family: int) -> None:
    told = judge(Link(plan(family), outbound=drops, inbound=drops))
    for (kind, direction, flow), found in told.items():
        wanted = Outcome.LOST if flow == "new" else Outcome.NOT_APPLICABLE
        assert found.outcome is wanted, (kind, direction, flow, found.cause)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_one_way_link_loses_the_replies(family: int) -> None:
    told = judge(Link(plan(family), inbound=drops))
    for (kind, direction, flow), found in told.items():
        wanted = {
            ("outbound", "new"): Outcome.DELIVERED,
            ("inbound", "reply"): Outcome.LOST,
            ("inbound", "new"): Outcome.LOST,
            ("outbound", "reply"): Outcome.NOT_APPLICABLE,
        }[direction, flow]
        assert found.outcome is wanted, (kind, direction, flow, found.cause)


def stateful_outbound_only(link: Link) -> tuple[Rule, Rule]:
    """Near may open flows, far may only answer, as a firewall keyed by tuples sees it."""
    opened: set[tuple[object, ...]] = set()

    def key(packet: Packet) -> tuple[object, ...]:
        ends = frozenset(
            ((packet.source, packet.source_port), (packet.destination, packet.destination_port))
        )
        extra = packet.payload[4:8] if packet.protocol in (1, 58) else b""
        return (packet.protocol, ends, extra)

    def outbound(packet: Packet) -> list[Packet]:
        opened.add(key(packet))
        return [packet]

    def inbound(packet: Packet) -> list[Packet]:
        return [packet] if key(packet) in opened else []

    return outbound, inbound


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trap_a_stateful_firewall_that_lets_near_open_only(family: int) -> None:
    link = Link(plan(family))
    outbound, inbound = stateful_outbound_only(link)
    link.rules = {Side.NEAR: outbound, Side.FAR: inbound}
    told = judge(link)
    for (kind, direction, flow), found in told.items():
        wanted = {
            ("outbound", "new"): Outcome.DELIVERED,
            ("inbound", "reply"): Outcome.DELIVERED,
            ("inbound", "new"): Outcome.LOST,
            ("outbound", "reply"): Outcome.NOT_APPLICABLE,
        }[direction, flow]
        assert found.outcome is wanted, (kind, direction, flow, found.cause)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_host_that_drops_what_arrived(family: int) -> None:
    link = Link(plan(family))
    link.hosts[Side.FAR].firewall = drops
    told = judge(link)
    for (kind, direction, flow), found in told.items():
        if (direction, flow) == ("outbound", "new"):
            assert found.outcome is Outcome.HOST_DROPPED, (kind, found.cause)


def test_duplicates_and_reordering_change_nothing() -> None:
    random_ = random.Random(7)
    link = Link(plan(4), outbound=lambda p: [p, p], inbound=lambda p: [p, p, p])
    link.latency = lambda: random_.uniform(0.001, 0.2)
    told = judge(link, shots=5)
    for found in told.values():
        assert found.outcome in (Outcome.DELIVERED, Outcome.STATE_POSSIBLE), found.cause
        assert (found.shots, found.delivered) == (5, 5)
    assert link.hosts[Side.NEAR].engine.duplicates > 0


def test_a_request_that_comes_twice_is_answered_once() -> None:
    link = Link(plan(4, "ike"), outbound=lambda p: [p, p])
    judge(link, shots=1)
    replies = [s for s in link.sightings if s.event is Event.SENT and s.at is Side.FAR]
    answered = [s for s in replies if s.check in {2, 4, 6, 8}]
    assert len(answered) == len({(s.check, s.shot) for s in answered})


@pytest.mark.parametrize("family", FAMILIES)
def test_random_loss_is_never_a_wrong_word(family: int) -> None:
    """A third of all packets is lost: a check may be lossy or open, but never lost."""
    for seed in range(25):
        random_ = random.Random(seed)
        lossy: Rule = lambda p, r=random_: [p] if r.random() > 0.3 else []  # type: ignore[misc]  # noqa: E731
        link = Link(
            plan(family, "esp", "ike", "kerberos-udp", "nat-keepalive"),
            outbound=lossy,
            inbound=lossy,
        )
        for (kind, direction, flow), found in judge(link, shots=12).items():
            assert found.outcome is not Outcome.LOST, (seed, kind, direction, flow, found.cause)


def masquerade(address: str, port_offset: int) -> tuple[Rule, Rule]:
    """Near is hidden behind ``address``; ports move by ``port_offset``."""

    def outbound(packet: Packet) -> list[Packet]:
        port = packet.source_port + port_offset if packet.source_port else None
        header = packet.header
        if packet.family == 4 and header:
            octets = bytes(int(part) for part in address.split("."))
            header = header[:12] + octets + header[16:]
        return [replace(packet, source=address, source_port=port, header=header)]

    def inbound(packet: Packet) -> list[Packet]:
        port = packet.destination_port - port_offset if packet.destination_port else None
        return [replace(packet, destination=NEAR[4], destination_port=port)]

    return outbound, inbound


def test_nat_breaks_ah_and_a_rewritten_port_breaks_ike() -> None:
    outbound, inbound = masquerade("10.2.0.1", 7)
    link = Link(plan(4, "ah", "ike", "esp", "kerberos-udp"), outbound=outbound, inbound=inbound)
    link.fire(Direction.OUTBOUND, 3)
    by_kind = {
        (found.check.kind, found.check.source_port): found
        for found in correlate(link.plan, link.evidence())
        if found.check.direction is Direction.OUTBOUND and found.check.flow is Flow.NEW
    }
    assert by_kind["ah", None].outcome is Outcome.ALTERED
    assert "NAT" in by_kind["ah", None].cause
    assert by_kind["ike", 500].outcome is Outcome.ALTERED
    assert by_kind["ike", None].outcome is Outcome.DELIVERED
    assert by_kind["esp", None].outcome is Outcome.DELIVERED
    assert by_kind["kerberos-udp", None].outcome is Outcome.DELIVERED


def test_tcp_through_a_nat_that_moves_ports_is_known_by_its_request() -> None:
    outbound, inbound = masquerade("10.2.0.1", 7)
    link = Link(plan(4, "kerberos-tcp"), outbound=outbound, inbound=inbound)
    link.fire(Direction.OUTBOUND, 3)
    told = {
        c.check.flow: c
        for c in correlate(link.plan, link.evidence())
        if c.check.kind == "kerberos-tcp" and c.shots
    }
    assert told[Flow.NEW].outcome is Outcome.DELIVERED, told[Flow.NEW].cause


def test_tcp_whose_handshake_such_a_nat_lets_nobody_end_did_not_get_lost() -> None:
    """The NAT's address is not the control connection's, and known by what else came from it."""
    outbound, _ = masquerade("10.2.0.1", 777)
    link = Link(plan(4, "icmp-echo", "kerberos-tcp"), outbound=outbound, inbound=lambda _: [])
    link.fire(Direction.OUTBOUND, SHOTS)
    told = correlate(link.plan, link.evidence())
    [syn] = [c for c in told if (c.check.kind, c.shots) == ("kerberos-tcp", SHOTS)]
    assert syn.outcome is Outcome.UNOBSERVED, syn.cause
    assert "a NAT rewrites the ports" in syn.cause


def test_a_cut_payload_is_altered_and_not_answered() -> None:
    def cut(packet: Packet) -> list[Packet]:
        return [replace(packet, payload=packet.payload[: len(packet.payload) - 3])]

    link = Link(plan(4, "esp", "ike", "kerberos-udp"), outbound=cut)
    for (_, direction, flow), found in judge(link).items():
        if (direction, flow) == ("outbound", "new"):
            assert found.outcome is Outcome.ALTERED, (found.check.kind, found.cause)


def test_strangers_on_the_tuple_are_noticed_and_others_are_not() -> None:
    link = Link(plan(4, "esp", "kerberos-udp"))
    engine = link.hosts[Side.FAR].engine
    from agent.events import Captured

    stranger = Packet(4, 50, NEAR[4], FAR[4], b"\x00\x00\x12\x34" + bytes(40))
    engine.handle(Captured(stranger, outgoing=False, time=0.0), 0.0)
    elsewhere = replace(stranger, source="192.0.2.1")
    assert engine.live == {n for n in engine.live if engine.checks[n].kind == "esp"} != set()
    before = set(engine.live)
    engine.handle(Captured(elsewhere, outgoing=False, time=0.0), 0.0)
    assert engine.live == before
    assert engine.strangers == 2


def test_what_is_malformed_or_quotes_nothing_of_ours_is_counted_and_neighbours_are_not() -> None:
    link = Link(plan(6, "esp", "ike", "kerberos-udp", "kerberos-tcp", "icmp-echo"))
    engine = link.hosts[Side.FAR].engine
    from agent.events import Captured

    def come(protocol: int, payload: bytes, **more: Any) -> int:
        packet = Packet(6, protocol, "fd00:9::9", FAR[6], payload, **more)
        assert engine.handle(Captured(packet, outgoing=False, time=0.0), 0.0) == []
        return engine.strangers

    kerberos = {"source_port": 40_000, "destination_port": 88}
    assert come(17, b"\x6a\x84\xff\xff\xff\xff", **kerberos) == 1
    assert come(6, b"\xff\xff\xff\xff", tcp_flags=0x18, **kerberos) == 2
    assert come(58, b"\x01\x04\0\0\0\0\0\0\x60") == 3  # an error that breaks off
    assert come(58, b"\x01\x04\0\0\0\0\0\0" + ip.ipv6_header("::1", "::2", 50, 8) + bytes(8)) == 4
    assert come(58, b"\x87\0\0\0" + bytes(20)) == 4  # a neighbour solicitation


def test_stop_means_not_one_more_shot() -> None:
    from agent.events import FireVolleys, Tick
    from agent.model import Volley

    link = Link(plan(4, "esp"))
    engine = link.hosts[Side.FAR].engine
    engine.handle(FireVolleys([Volley(1, 1, 50)], 0.1), 0.0)
    assert engine.deadline() is not None
    engine.stop()
    assert engine.deadline() is None
    assert engine.handle(Tick(), 100.0) == []
