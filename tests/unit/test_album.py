"""What is kept of the packets: all that is the run's, nothing of strangers, in bounds."""

from __future__ import annotations

import pytest

from agent import album
from agent.engine import Engine
from agent.events import Captured, Frame, Input, Piece
from agent.model import Check, Direction, Event, Flow, Kept, Side, Tag
from agent.wire import codec, fragment, ip
from tests.unit.wire_shots import ENDS, FAMILIES, FOREIGN, KEYS, TAG, exchange, path


def far(kind: str, family: int, *, keep: bool = True) -> Engine:
    there = path(kind, family)
    port = codec(kind).port
    source = there.source_port if codec(kind).fixed_source else None
    new = Check(7, kind, Direction.OUTBOUND, Flow.NEW, family, None, source, port, 8)
    reply = Check(8, kind, Direction.INBOUND, Flow.REPLY, family, None, port, source, 7)
    engine = Engine(Side.FAR, KEYS, [new, reply], *ENDS[family][::-1], keep=keep)
    if source is None and port is not None and there.source_port:
        engine.peer_port(TAG, there.source_port)
    return engine


def kept(engine: Engine, *events: Input) -> list[Kept]:
    return [a for event in events for a in engine.handle(event, 1.0) if isinstance(a, Kept)]


def seen(data: bytes, *, unfilled: bool = False) -> Captured:
    frame = Frame(data, False, 1.5, unfilled)
    return Captured(ip.parse(data), False, 1.5, frame=frame)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["esp", "ah", "ike", "kerberos-udp", "nat-keepalive", "icmp-echo"])
def test_a_shot_is_kept_as_it_came(kind: str, family: int) -> None:
    data = exchange(kind, family).asked
    (found,) = kept(far(kind, family), seen(data, unfilled=True))
    assert found.data == data
    assert (found.check, found.shot, found.event) == (7, 3, Event.ARRIVED)
    assert (found.at, found.time, found.outgoing) == (Side.FAR, 1.5, False)
    assert found.unfilled
    assert not found.again


def test_nothing_is_kept_where_nobody_asks() -> None:
    engine = far("esp", 4, keep=False)
    assert kept(engine, seen(exchange("esp", 4).asked)) == []


def test_nothing_is_kept_of_strangers() -> None:
    data = codec("esp").request(FOREIGN, TAG, path("esp", 4))
    header = ip.ipv4_header(*ENDS[4], 50, len(data))
    engine = far("esp", 4)
    assert kept(engine, seen(header + data)) == []
    assert engine.strangers == 1


def test_what_comes_twice_is_kept_twice_and_says_so() -> None:
    data = exchange("esp", 4).asked
    found = kept(far("esp", 4), seen(data), seen(data))
    assert [(k.number, k.again) for k in found] == [(1, False), (2, True)]


def test_an_error_that_quotes_a_shot_is_kept_with_it() -> None:
    engine = far("esp", 4)
    quoted = exchange("esp", 4).answered
    message = bytes((3, 13, 0, 0, 0, 0, 0, 0)) + quoted
    header = ip.ipv4_header("192.0.2.1", ENDS[4][1], 1, len(message))
    (found,) = kept(engine, seen(header + message))
    assert (found.check, found.event) == (8, Event.REFUSED)


def test_a_segment_without_a_stage_belongs_to_its_shot() -> None:
    engine = far("kerberos-tcp", 4)
    shot = exchange("kerberos-tcp", 4).asked
    ack = ip.ipv4_header(*ENDS[4], 6, 20) + shot[20:33] + b"\x10" + shot[34:40]
    (found,) = kept(engine, seen(ack))
    assert (found.check, found.shot, found.event) == (7, 3, None)


def pieces(family: int) -> list[bytes]:
    there = path("ike", family)
    body = ip.udp(there, codec("ike").request(KEYS, TAG, there, 3000))
    return fragment.split(there, ip.UDP, body)


def first(data: bytes) -> Captured:
    return Captured(ip.parse(data), False, 1.0, fragment=True, frame=Frame(data, False, 1.0))


def later(data: bytes) -> Piece:
    return Piece(Frame(data, False, 1.0))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2), (2, 1, 0)])
def test_every_fragment_is_kept_whatever_their_order(family: int, order: tuple[int, ...]) -> None:
    parts = pieces(family)
    assert len(parts) == 3
    events = [first(parts[n]) if n == 0 else later(parts[n]) for n in order]
    found = kept(far("ike", family), *events)
    assert {k.data for k in found} == set(parts)
    assert [k.data for k in sorted(found, key=lambda k: k.number)] == [parts[n] for n in order]
    assert {(k.check, k.shot) for k in found} == {(7, 3)}
    assert [k.stage for k in found if k.event] == ["fragment"]


def test_fragments_of_strangers_wait_in_vain_and_in_bounds() -> None:
    engine = far("ike", 4)
    for number in range(500):
        header = bytearray(pieces(4)[1])
        header[4:6] = number.to_bytes(2, "big")
        assert kept(engine, later(bytes(header))) == []
    assert len(engine.album._waiting) <= album.DATAGRAMS


def test_it_holds_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "MOST", 500)
    engine = far("esp", 4)
    shots = [codec("esp").request(KEYS, Tag(7, n), path("esp", 4)) for n in range(1, 10)]
    wholes = [ip.ipv4_header(*ENDS[4], 50, len(data)) + data for data in shots]
    found = kept(engine, *map(seen, wholes))
    assert 0 < sum(len(k.data) for k in found) <= 500
    assert engine.album.left_out == len(wholes) - len(found) > 0
