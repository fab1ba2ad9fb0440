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
from scenarios import Row, Scenario, load

KEYS = Keys(bytes(range(32)))
ENDS = {4: ("10.1.0.2", "10.2.0.2"), 6: ("fd01::2", "fd02::2")}


def recogniser(side: Side, *kinds: str, family: int = 4) -> Recogniser:
    plan = planning.make(load("all"), family, only=kinds)
    peer = ENDS[family][side is Side.NEAR]
    return Recogniser(side, KEYS, plan.checks, peer)


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


def test_a_port_of_the_other_end_is_its_own_at_its_own_address_alone() -> None:
    """A busy service has clients whose ports are drawn from the same numbers as ours."""
    near, far = ENDS[4]
    stranger, port = "10.9.9.9", 40_000
    known = recogniser(Side.FAR, "kerberos-udp", "kerberos-tcp", "nat-keepalive")
    for kind, protocol, service, payload in (
        ("kerberos-udp", 17, 88, b"a request of another client's"),
        ("kerberos-tcp", 6, 88, b""),
        ("nat-keepalive", 17, 4500, b"\xff"),
    ):
        number = next(
            check.number
            for check in known.checks.values()
            if (check.kind, check.flow, check.direction) == (kind, Flow.NEW, Direction.OUTBOUND)
        )
        known.peer_port(Tag(number, 1), port)
        ours = Packet(4, protocol, near, far, payload, port, service, tcp_flags=2)
        theirs = replace(ours, source=stranger)
        assert known.by_port(ours, outgoing=False) == Tag(number, 1)
        assert known.by_port(theirs, outgoing=False) is None
        assert known.damaged(theirs) is None
        assert known.read(theirs, outgoing=False) is None
        assert known.tcp_place(theirs, outgoing=False) is None
        answer = Packet(4, protocol, far, stranger, b"answer", service, port)
        assert known.answer_of_others(answer, outgoing=True) is None
        answered = known.by_port(replace(answer, destination=near), outgoing=True)
        assert answered == Tag(number + 1, 1)


def test_an_address_that_a_nat_gave_the_other_end_is_known_by_a_sealed_shot() -> None:
    near, far = ENDS[4]
    mapped = "10.1.0.77"
    known = recogniser(Side.FAR, "kerberos-tcp", "kerberos-udp")
    tcp, udp = (
        next(
            check.number
            for check in known.checks.values()
            if (check.kind, check.flow, check.direction) == (kind, Flow.NEW, Direction.OUTBOUND)
        )
        for kind in ("kerberos-tcp", "kerberos-udp")
    )
    known.peer_port(Tag(tcp, 1), 40_000)
    syn = Packet(4, 6, mapped, far, b"", 40_000, 88, tcp_flags=2)
    assert known.tcp_place(syn, outgoing=False) is None
    data = codec("kerberos-udp").request(KEYS, Tag(udp, 1), Path(4, near, far, 41_000, 88))
    assert known.read(Packet(4, 17, mapped, far, data, 41_000, 88), outgoing=False) is not None
    assert known.tcp_place(syn, outgoing=False) == (Tag(tcp, 1), "syn")
    assert not known.claim(Tag(tcp, 1), mapped, 40_000)
    assert known.claim(Tag(tcp, 1), "10.1.0.78", 40_000)


@pytest.mark.parametrize(("kind", "port"), [("ike", 500), ("ike-nat-t", 4500)])
def test_a_daemons_answer_is_known_by_its_spi_where_both_ports_are_fixed(
    kind: str, port: int
) -> None:
    near, far = ENDS[4]
    row = Row(kind, source_port=port)
    plan = planning.make(Scenario("own", "", "", (row,)), 4)
    known = Recogniser(Side.NEAR, KEYS, plan.checks, far)
    number = request(known, Direction.OUTBOUND)
    path = Path(4, near, far, port, port)
    shot = codec(kind).request(KEYS, Tag(number, 3), path)
    at = 0 if kind == "ike" else 4
    header = shot[: at + 8] + bytes(8) + b"\x29\x20\x22\x20" + bytes(4) + (36).to_bytes(4, "big")
    answer = Packet(4, 17, far, near, header + b"\0\0\0\x08\0\0\0\x0e", port, port)
    assert known.read(answer, outgoing=False) is None
    assert known.answer_of_others(answer, outgoing=False) == Tag(number + 1, 3)
    other = replace(answer, payload=bytes(at) + b"\1" + answer.payload[at + 1 :])
    assert known.answer_of_others(other, outgoing=False) is None
