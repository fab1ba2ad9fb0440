"""A router's "time exceeded" names the very shot it is about, as far as it quotes enough."""

from __future__ import annotations

import pytest

from agent.engine import Engine
from agent.events import Action, Captured, Connect, FireVolleys, Sent, Transmit
from agent.model import Direction, Event, Side, Sighting, Volley
from agent.recognise import ANY_SHOT
from agent.wire import KINDS, ip
from agent.wire.base import Keys
from probe import plan as planning
from scenarios import Row, Scenario

NEAR, FAR = {4: "10.1.0.2", 6: "fd00:1::2"}, {4: "10.2.0.2", 6: "fd00:2::2"}
ROUTER = {4: "10.0.0.1", 6: "fd00::1"}
ELAPSED = {4: 11, 6: 3}
TTLS = (1, 2, 3)
SHORT_OF_A_TAG = ("ah", "ike", "ike-v1")  # eight octets say no more than which check it is


class End:
    """near with one kind; what it sends gets a time-exceeded for an answer."""

    def __init__(self, kind: str, family: int) -> None:
        scenario = Scenario("test", "", "", (Row(kind),))
        plan = planning.make(scenario, family, (Direction.OUTBOUND,))
        self.family = family
        self.engine = Engine(Side.NEAR, Keys(bytes(32)), plan.checks, NEAR[family], FAR[family])
        (self.check,) = plan.requests(Direction.OUTBOUND)

    def fire(self) -> list[Transmit | Connect]:
        volleys = [Volley(self.check.number, ttl, 1, ttl) for ttl in TTLS]
        for place, (tag, _) in enumerate(self.engine.fresh_ports_needed(volleys)):
            self.engine.own_port(tag, 40_000 + place)
        sent: list[Transmit | Connect] = []
        for action in self.engine.handle(FireVolleys(volleys, 0.0), 0.0):
            assert isinstance(action, Transmit | Connect)
            sent.append(action)
            self.engine.handle(Sent(action.tag, 0.0, action.path, "", action.data), 0.0)
        return sent

    def packet(self, action: Transmit | Connect) -> bytes:
        path, data = action.path, action.data
        if isinstance(action, Connect):
            ports = (path.source_port or 0, path.destination_port or 0)
            data = b"".join(port.to_bytes(2, "big") for port in ports) + bytes(8) + b"\x50\x02"
            data += bytes(6)
            protocol = ip.TCP
        else:
            protocol = action.codec.protocol(path.family)
            if action.codec.whole_packet(path.family):
                return data
            data = ip.udp(path, data) if protocol == ip.UDP else data
        if path.family == 4:
            return ip.ipv4_header(path.source, path.destination, protocol, len(data)) + data
        return ip.ipv6_header(path.source, path.destination, protocol, len(data)) + data

    def exceeded(self, quoted: bytes) -> list[Action]:
        message = bytes((ELAPSED[self.family], 0)) + bytes(6) + quoted
        ends = ROUTER[self.family], NEAR[self.family]
        if self.family == 4:
            whole = ip.ipv4_header(*ends, ip.ICMP, len(message)) + message
        else:
            whole = ip.ipv6_header(*ends, ip.ICMPV6, len(message)) + message
        return self.engine.handle(Captured(ip.parse(whole), outgoing=False, time=1.0), 1.0)


def refused(actions: list[Action]) -> Sighting:
    (sighting,) = actions
    assert isinstance(sighting, Sighting)
    assert sighting.event is Event.REFUSED
    return sighting


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [*KINDS, "udp:1701", "tcp:445"])
def test_the_shot_is_known_by_what_is_quoted(kind: str, family: int) -> None:
    end = End(kind, family)
    sent = end.fire()
    assert [(action.tag.shot, action.ttl) for action in sent] == [(1, 1), (2, 2), (3, 3)]
    for action in reversed(sent):
        sighting = refused(end.exceeded(end.packet(action)[:548]))
        assert (sighting.check, sighting.shot) == (end.check.number, action.tag.shot)
        assert sighting.icmp is not None
        assert sighting.icmp.sender == ROUTER[family]
        assert sighting.note == ""


@pytest.mark.parametrize("kind", [*KINDS, "udp:1701", "tcp:445"])
def test_with_eight_octets_either_it_is_known_or_the_doubt_is_told(kind: str) -> None:
    """As RFC 792 asks for; later RFCs want more, and not every router knows them."""
    end = End(kind, 4)
    sent = end.fire()
    for place, action in enumerate(reversed(sent), 1):
        sighting = refused(end.exceeded(end.packet(action)[:28]))
        if kind in SHORT_OF_A_TAG:
            assert (sighting.shot, sighting.note) == (place, ANY_SHOT)
        else:
            assert (sighting.shot, sighting.note) == (action.tag.shot, "")


def test_with_eight_octets_the_length_tells_two_kinds_on_the_same_ports_apart() -> None:
    end = End("ike", 4)
    scenario = Scenario("test", "", "", (Row("ike"), Row("ike-v1"), Row("ike", size=600)))
    plan = planning.make(scenario, 4, (Direction.OUTBOUND,))
    end.engine = Engine(Side.NEAR, Keys(bytes(32)), plan.checks, NEAR[4], FAR[4])
    for check in plan.requests(Direction.OUTBOUND):
        end.check = check
        (last, *_) = reversed(end.fire())
        sighting = refused(end.exceeded(end.packet(last)[:28]))
        assert (sighting.check, sighting.note) == (check.number, ANY_SHOT)
