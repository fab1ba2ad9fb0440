"""A whole endpoint under fire: hostile packets, sockets and streams, one after the other.

Whatever comes, the engine does nothing but what a shot of its own run asks of it: it names no
check that there is not, answers no stranger, and never with more than it got.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from agent.engine import Engine
from agent.events import (
    Action,
    Answered,
    Captured,
    Connect,
    Connected,
    Frame,
    Input,
    Piece,
    Received,
    Requested,
    Sent,
    Tick,
    Transmit,
    Write,
)
from agent.model import Direction, Flow, Kept, Side, Sighting, Tag
from agent.wire.base import Keys, Packet, Path
from probe import plan as planning
from scenarios import load
from tests.fuzz import hostile
from tests.fuzz.effort import some
from tests.unit.wire_shots import ENDS, FAMILIES, FOREIGN, FRESH, KEYS

PLANS = {family: planning.make(load("all"), family) for family in FAMILIES}


def endpoint(family: int, side: Side, keys: Keys = KEYS) -> Engine:
    """An engine that has fired its shots and was told the other's ports."""
    local, peer = ENDS[family] if side is Side.NEAR else ENDS[family][::-1]
    engine = Engine(side, keys, PLANS[family].checks, local, peer, keep=True)
    port = FRESH
    for check in PLANS[family].checks:
        if check.flow is Flow.NEW and check.source_port is None and check.destination_port:
            tell = engine.own_port if engine.originates(check) else engine.peer_port
            tell(Tag(check.number, 1), port)
            port += 1
    direction = Direction.OUTBOUND if side is Side.NEAR else Direction.INBOUND
    for check in PLANS[family].requests(direction):
        there = Path(family, local, peer, check.source_port, check.destination_port)
        engine.handle(Sent(Tag(check.number, 1), 0.0, there, "", bytes(20)), 0.0)
    return engine


def events(family: int) -> st.SearchStrategy[Input]:
    packets = hostile.packets.filter(lambda packet: packet.family == family)
    ports = st.integers(FRESH - 1, FRESH + 20) | hostile.PORTS
    aimed = st.builds(
        lambda packet, source, destination: replace(
            packet,
            source_port=None if packet.source_port is None else source,
            destination_port=None if packet.destination_port is None else destination,
        ),
        packets,
        ports,
        ports,
    )
    frames = st.builds(Frame, hostile.raw_packets, st.booleans(), st.just(1.0), st.booleans())
    any_packet = packets | aimed
    tcp = [c for c in PLANS[family].checks if c.kind == "kerberos-tcp"]
    own = st.sampled_from([Tag(check.number, 1) for check in tcp if check.flow is Flow.NEW])
    paths = st.builds(
        lambda port, service: Path(family, *ENDS[family], port, service),
        ports,
        st.sampled_from([88, 445, 500]),
    )
    return st.one_of(
        st.builds(
            Captured,
            any_packet,
            st.booleans(),
            st.just(1.0),
            st.booleans(),
            st.booleans(),
            st.none() | frames,
        ),
        st.builds(Received, any_packet, st.just(1.0)),
        st.builds(Requested, st.integers(1, 3), paths, hostile.octets, st.just(1.0)),
        st.builds(Answered, own, hostile.octets, st.just(1.0)),
        st.builds(Connected, own, st.just(1.0), st.sampled_from(["", "ECONNRESET", "EIO"])),
        st.builds(Piece, frames),
        st.just(Tick()),
    )


def fit(engine: Engine, event: Input, actions: list[Action]) -> None:
    for action in actions:
        match action:
            case Sighting() | Kept():
                assert action.check in engine.checks
                assert action.at is engine.side
            case Transmit():
                assert isinstance(event, Received)
                assert action.path.destination == event.packet.source
                got = len(event.packet.header or bytes(20)) + len(event.packet.payload)
                assert len(action.data) <= got
            case Write():
                assert isinstance(event, Requested)
                assert len(action.data) <= len(event.stream)
            case Connect():
                raise AssertionError("nobody ordered a connection")


@some
@given(st.data(), st.sampled_from(FAMILIES), st.sampled_from(Side))
def test_nothing_but_what_a_shot_asks_for(data: st.DataObject, family: int, side: Side) -> None:
    engine = endpoint(family, side)
    for event in data.draw(st.lists(events(family), min_size=1, max_size=6)):
        fit(engine, event, engine.handle(event, 1.0))
    assert engine.strangers >= 0
    assert engine.live | engine.nameless <= set(engine.checks)


@some
@given(st.data(), st.sampled_from(FAMILIES), st.sampled_from(Side))
def test_shots_of_another_run_are_strangers(data: st.DataObject, family: int, side: Side) -> None:
    """Hostile packets are made with another key: nothing of them arrives or is answered."""
    engine = endpoint(family, side, FOREIGN)
    packets = hostile.packets.filter(lambda found: found.family == family and found.protocol != 6)
    for packet in data.draw(st.lists(packets, min_size=1, max_size=6)):
        elsewhere = replace(packet, source_port=packet.source_port and 7, destination_port=500)
        before = engine.strangers
        assert engine.handle(Received(elsewhere, 1.0), 1.0) == []
        found = engine.handle(Captured(elsewhere, outgoing=False, time=1.0), 1.0)
        assert [a for a in found if not isinstance(a, Sighting) or a.event != "refused"] == []
        assert engine.strangers == before + 1 or found or packet.protocol in (1, 58)


@some
@given(st.lists(hostile.octets, min_size=1, max_size=4), st.sampled_from(FAMILIES))
@example([b"\xff\xff\xff\xff"], 4)
@example([bytes(4)], 4)
def test_a_stream_that_drips(parts: list[bytes], family: int) -> None:
    """Octet by octet, and whatever its length says: at most one answer, to the request alone."""
    engine = endpoint(family, Side.FAR)
    path = Path(family, *ENDS[family], 50_000, 88)
    stream = b"".join(parts)
    answers = 0
    for end in range(1, min(len(stream), 300)):
        event = Requested(1, path, stream[:end], 1.0)
        actions = engine.handle(event, 1.0)
        fit(engine, event, actions)
        answers += sum(isinstance(action, Write) for action in actions)
    assert answers <= 1


def test_a_frame_of_a_shot_is_kept_and_a_strangers_is_not() -> None:
    """The fuzzed engines do look: this one keeps what is its own."""
    engine = endpoint(4, Side.FAR)
    (check, *_) = [c for c in PLANS[4].checks if c.kind == "esp" and engine.originates(c) is False]
    from agent.wire import codec, ip

    data = codec("esp").request(KEYS, Tag(check.number, 9), Path(4, *ENDS[4]))
    whole = ip.ipv4_header(*ENDS[4], 50, len(data)) + data
    for octets, wanted in ((whole, 1), (whole[:-1] + b"\0", 0), (whole, 1)):
        packet = ip.parse(octets)
        event = Captured(packet, False, 1.0, frame=Frame(octets, False, 1.0))
        kept = [a for a in engine.handle(event, 1.0) if isinstance(a, Kept)]
        assert [k.data for k in kept] == [octets] * wanted


def test_a_packet_is_not_known_by_its_looks() -> None:
    engine = endpoint(4, Side.FAR)
    packet = Packet(4, 50, *ENDS[4], bytes(range(60)))
    assert engine.handle(Captured(packet, outgoing=False, time=1.0), 1.0) == []
    assert engine.strangers == 1
