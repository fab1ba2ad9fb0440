from __future__ import annotations

from dataclasses import replace

import pytest

from agent.control import Answer, Answering, Decoder, Open, encode
from agent.model import Direction, Late, Tag
from agent.orders import BadOrder, check_late, check_open
from probe.result import Host, PathFacts, RunResult
from probe.run import WrongRequest
from probe.state.conduct import (
    ALONE,
    REPLY,
    REQUEST,
    Measured,
    checks,
    exit_code,
    measurable,
)
from probe.state.hold import Held
from probe.state.memory import Finding, State, StateResult

ADDRESSES = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}
GOOD = Late(Tag(REQUEST, 1), REPLY, 30_001, 12)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["esp", "ah", "ike", "ike-nat-t", "esp-in-udp", "kerberos-udp"])
def test_both_ends_take_the_checks_and_far_the_order(kind: str, family: int) -> None:
    found = checks(kind, family, 40_000)
    check_open(Open(bytes(32), list(found), *ADDRESSES[family], 600.0))
    far = [check for check in found if check.direction is Direction.INBOUND]
    numbered = {check.number: check for check in found}
    check_late(numbered, far, GOOD)
    check_late(numbered, far, replace(GOOD, cold=True))
    check_late(numbered, far, replace(GOOD, request=Tag(ALONE, 1)))


def test_a_kind_with_ports_of_its_own_is_asked_on_one_tuple_and_alone_on_fresh_ones() -> None:
    request, reply, alone = checks("kerberos-udp", 4, 40_000)
    assert (request.source_port, reply.destination_port, alone.source_port) == (
        40_000,
        40_000,
        None,
    )
    assert {check.source_port for check in checks("ike", 4, 40_000)} == {500}
    assert {check.source_port for check in checks("esp", 4, 40_000)} == {None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"check": REQUEST}, "this end's to send"),
        ({"check": 9}, "this end's to send"),
        ({"request": Tag(REPLY, 1)}, "asks nothing"),
        ({"request": Tag(9, 1)}, "asks nothing"),
        ({"request": Tag(REQUEST, 0)}, "shots at once"),
        ({"request": Tag(ALONE, 1), "cold": True}, "no fixed source port"),
        ({"count": 0}, "shots at once"),
        ({"count": 10**9}, "shots at once"),
        ({"first": 0}, "numbered from 1"),
        ({"first": 65_530}, "numbered from 1"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(changes: dict[str, object], words: str) -> None:
    found = checks("kerberos-udp", 4, 40_000)
    far = [check for check in found if check.direction is Direction.INBOUND]
    with pytest.raises(BadOrder, match=words):
        check_late({c.number: c for c in found}, far, replace(GOOD, **changes))  # type: ignore[arg-type]


def test_near_may_not_be_told_to_reply_to_itself() -> None:
    found = checks("esp", 4, None)
    near = [check for check in found if check.direction is Direction.OUTBOUND]
    with pytest.raises(BadOrder):
        check_late({c.number: c for c in found}, near, GOOD)


def test_the_order_crosses_the_control_connection() -> None:
    messages = [Answer(GOOD, 0.02), Answering()]
    assert [*Decoder().feed(b"".join(map(encode, messages)))] == messages


@pytest.mark.parametrize("kind", ["kerberos-tcp", "icmp-echo", "nat-keepalive", "ike-noise"])
def test_what_has_no_late_replies_is_refused(kind: str) -> None:
    with pytest.raises(WrongRequest, match="cannot be measured"):
        measurable(kind)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.OPEN, 0),
        (State.REPLY_ONLY, 0),
        (State.CLOSED, 1),
        (State.NO_WAY_OUT, 1),
        (State.UNCLEAR, 3),
    ],
)
def test_exit_codes(state: State, code: int) -> None:
    result = result_of(Finding(state, "", Held(1.0, 2.0)))
    assert exit_code(Measured(result)) == code
    assert exit_code(Measured(result, "the agent went away")) == 3
    assert exit_code(Measured(result, "interrupted", interrupted=True)) == 130


def result_of(
    finding: Finding, kind: str = "esp", *, complete: bool = True, nat: bool = False
) -> StateResult:
    run = RunResult(
        "kb233256",
        1_700_000_000.0,
        12.34,
        complete,
        Host("near.example", "10.0.0.1", "0.1.0"),
        Host("far.example", "10.0.0.2", "0.1.0", "10.0.0.2"),
        PathFacts(0.5, near_behind_nat=nat),
        (),
    )
    return StateResult(run, kind, 4, 60.0, finding)
