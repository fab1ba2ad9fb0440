"""What the endpoint makes of answers that are not ours: daemons', and those of whoever pretends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.contrib.ikev2 import IKEv2, IKEv2_Notify

from agent.engine import Engine
from agent.events import Answered, Captured, Received
from agent.model import TAKEN, Check, Direction, Event, Side, Sighting, Tag
from agent.wire.base import Keys, Packet
from agent.wire.ike import initiator_spi
from probe import plan as planning
from scenarios import Row, Scenario
from tests.unit.test_wire_kerberos import krb_error

KEYS = Keys(bytes(range(32)))
NEAR, FAR = "10.1.0.2", "10.2.0.2"
PORT = 50_000


class Near:
    """near, which has asked with one shot of one kind."""

    def __init__(self, kind: str, port: int | None = None) -> None:
        scenario = Scenario("test", "", "", (Row(kind),))
        plan = planning.make(scenario, 4, (Direction.OUTBOUND,))
        self.engine = Engine(Side.NEAR, KEYS, plan.checks, NEAR, FAR)
        self.request: Check
        (self.request,) = plan.requests(Direction.OUTBOUND)
        self.tag = Tag(self.request.number, 1)
        self.port = port or self.request.source_port or PORT
        if self.request.source_port is None:
            self.engine.own_port(self.tag, self.port)

    def packet(self, payload: bytes, source: str = FAR) -> Packet:
        ports = self.request.destination_port, self.port
        return Packet(4, 17, source, NEAR, payload, *ports, ttl=61, size=28 + len(payload))

    def sees(self, packet: Packet) -> list[Sighting]:
        actions = self.engine.handle(Captured(packet, outgoing=False, time=1.0), 1.0)
        actions += self.engine.handle(Received(packet, time=1.0), 1.0)
        return [action for action in actions if isinstance(action, Sighting)]


def ike_notify(near: Near, number: int) -> bytes:
    header = IKEv2(init_SPI=initiator_spi(KEYS, near.tag), resp_SPI=b"charon!!", next_payload=41)
    header.exch_type, header.flags = 34, 0x20
    return bytes(header / IKEv2_Notify(next_payload=0, proto=0, type=number, notify=b""))


@pytest.mark.parametrize("kind", ["ike", "ike-v1", "ike-nat-t", "kerberos-udp", "udp:53"])
def test_a_services_answer_is_told_with_its_words(kind: str) -> None:
    near = Near(kind)
    marker = bytes(4) if kind == "ike-nat-t" else b""
    payload, says = {
        "kerberos-udp": (krb_error(68), "KRB-ERROR 68 (wrong realm)"),
        "udp:53": (b"12 octets...", "12 octets"),
    }.get(kind, (marker + ike_notify(near, 14), "IKE notify NO_PROPOSAL_CHOSEN"))
    wire, taken = near.sees(near.packet(payload))
    assert (wire.event, wire.stage, wire.says, wire.ttl) == (Event.REPLIED, "", says, 61)
    assert (taken.event, taken.stage, taken.says) == (Event.REPLIED, TAKEN, says)
    assert wire.check == near.request.partner
    assert near.engine.strangers == 0


@pytest.mark.parametrize("kind", ["ike", "kerberos-udp"])
def test_garbage_is_counted_and_does_not_hide_the_answer_behind_it(kind: str) -> None:
    near = Near(kind)
    good = krb_error(6) if kind == "kerberos-udp" else ike_notify(near, 14)
    bad = good[:-1]
    first = near.sees(near.packet(bad))
    assert {sighting.says for sighting in first} == {""}
    assert near.engine.strangers >= 1
    then = near.sees(near.packet(good))
    assert len(then) == 2
    assert all(sighting.says for sighting in then)


def test_answers_without_end_are_told_once() -> None:
    near = Near("kerberos-udp")
    told = [s for code in range(200) for s in near.sees(near.packet(krb_error(code)))]
    told += [s for code in range(200) for s in near.sees(near.packet(bytes((code,))))]
    assert len(told) <= 4


def test_an_answer_on_a_connection() -> None:
    near = Near("kerberos-tcp")
    message = krb_error(25)
    stream = len(message).to_bytes(4, "big") + message
    for part in (stream[:10], stream):
        actions = near.engine.handle(Answered(near.tag, part, 1.0), 1.0)
    (told,) = actions
    assert isinstance(told, Sighting)
    assert (told.event, told.stage) == (Event.DELIVERED, "answer")
    assert told.says == "KRB-ERROR 25 (preauthentication required)"
    other = Near("kerberos-tcp")
    (told,) = other.engine.handle(Answered(other.tag, b"HTTP/1.0 400 Bad\r\n", 1.0), 1.0)
    assert isinstance(told, Sighting)
    assert (told.says, bool(told.note)) == ("", True)


def test_an_ike_answer_to_another_shot_is_no_answer_to_this_one() -> None:
    near = Near("ike-nat-t")
    other = replace(near.tag, shot=9)
    message = bytes(4) + initiator_spi(KEYS, other) + ike_notify(near, 14)[8:]
    assert {s.says for s in near.sees(near.packet(message))} == {""}
