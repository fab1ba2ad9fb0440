"""Whose packet is it, where no tag says so: what an error quotes, and what a NAT renamed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Direction, Flow, Side, Tag
from agent.recognise import Recogniser
from agent.wire import codec
from agent.wire.base import Keys, Packet, Path
from agent.wire.icmp import PROTOCOL, IcmpError
from probe import plan as planning
from scenarios import load

KEYS = Keys(bytes(range(32)))
ENDS = {4: ("10.1.0.2", "10.2.0.2"), 6: ("fd01::2", "fd02::2")}


def recogniser(side: Side, *kinds: str, family: int = 4) -> Recogniser:
    plan = planning.make(load("all"), family, only=kinds)
    return Recogniser(side, KEYS, plan.checks, "10.2.0.2" if side is Side.NEAR else "10.1.0.2")


def request(known: Recogniser, direction: Direction) -> int:
    return next(
        check.number
        for check in known.checks.values()
        if (check.flow, check.direction) == (Flow.NEW, direction)
    )


@pytest.mark.parametrize("family", [4, 6])
def test_a_refused_echo_reply_is_the_reply_and_not_its_request(family: int) -> None:
    near, far = ENDS[family]
    known = recogniser(Side.FAR, "icmp-echo", family=family)
    number = request(known, Direction.OUTBOUND)
    kind, path = codec("icmp-echo"), Path(family, near, far)
    asked = kind.request(KEYS, Tag(number, 7), path)
    reply = kind.answer(KEYS, Tag(number + 1, 7), path.back(), asked)
    type, code = (3, 13) if family == 4 else (1, 1)
    error = IcmpError(
        family, type, code, far, None, far, near, PROTOCOL[family], None, None, reply[:64]
    )
    found = known.quoted(error, True, set())
    assert found is not None
    assert found.tag == Tag(number + 1, 7)
    # Through a NAT that gave the echo another identifier: by the seal in its data.
    renamed = replace(error, head=error.head[:4] + b"\0\0" + error.head[6:])
    assert known.quoted(renamed, True, set()) == found
    # The other end's request, quoted in an error that this host sends, is still the request.
    error = IcmpError(
        family, type, code, far, None, near, far, PROTOCOL[family], None, None, asked[:64]
    )
    found = known.quoted(error, False, set())
    assert found is not None
    assert found.tag == Tag(number, 7)


def test_only_what_carries_no_tag_may_have_come_from_another_port() -> None:
    near, far = ENDS[4]
    known = recogniser(Side.FAR, "nat-keepalive", "esp-in-udp", "kerberos-tcp", "kerberos-udp")
    outbound = {
        check.kind: check.number
        for check in known.checks.values()
        if (check.flow, check.direction) == (Flow.NEW, Direction.OUTBOUND)
    }

    def named(protocol: int, port: int, payload: bytes = b"") -> list[int]:
        return known.nameless(Packet(4, protocol, near, far, payload, 40_000, port))

    assert named(17, 4500, b"\xff") == [outbound["nat-keepalive"]]
    assert named(17, 4500, b"\xff\xff") == named(17, 88, b"\xff") == []
    assert named(6, 88) == [outbound["kerberos-tcp"]]
    assert named(6, 5088) == []
