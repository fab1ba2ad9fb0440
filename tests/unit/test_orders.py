"""An order is carried out whole or refused in words; nothing in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.control import Open
from agent.engine import Engine
from agent.model import Check, Client, Direction, Flow, PortUse, Side, Volley
from agent.orders import (
    MAX_ADDRESSES,
    MAX_SHOTS,
    BadOrder,
    check_addresses,
    check_gap,
    check_open,
    check_ports,
    check_volleys,
)
from agent.wire import KINDS
from agent.wire.base import Keys
from probe import plan as planning
from scenarios import load, names

ADDRESSES = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fe80::1%eth0", "2001:db8::2")}
REQUEST = Check(1, "kerberos-udp", Direction.INBOUND, Flow.NEW, 4, None, None, 88, 2)
REPLY = Check(2, "kerberos-udp", Direction.OUTBOUND, Flow.REPLY, 4, None, 88, None, 1)
CHECKS = {1: REQUEST, 2: REPLY}


def order(*checks: Check, family: int = 4) -> Open:
    return Open(bytes(32), list(checks), *ADDRESSES[family], 600.0)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", names())
def test_all_that_a_plan_asks_for_is_taken(name: str, family: int) -> None:
    plan = planning.make(load(name), family)
    check_open(order(*plan.checks, family=family))
    checks = {check.number: check for check in plan.checks}
    for direction in planning.ORDER:
        requests = plan.requests(direction)
        check_volleys(checks, requests, [Volley(check.number, 1, 60) for check in requests])


def test_a_client_that_no_kdc_could_be_asked_for() -> None:
    good = order(REQUEST, REPLY)
    asked = Open(
        good.secret, good.checks, good.local, good.peer, 600.0, client=Client("u", "R" * 129)
    )
    with pytest.raises(BadOrder, match="realm has 1 to 128"):
        check_open(asked)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"destination_port": None}, "another port"),
        ({"destination_port": 89}, "another port"),
        ({"source_port": 0}, "0 is no port"),
        ({"size": 0}, "no packet has 0 octets"),
        ({"number": -1}, "numbered from 0"),
        ({"partner": 3}, "does not know it"),
        ({"direction": Direction.OUTBOUND}, "no reply to it"),
        ({"family": 6}, "another family"),
    ],
)
def test_a_check_that_makes_no_sense(changes: dict[str, object], words: str) -> None:
    request = replace(REQUEST, **changes)  # type: ignore[arg-type]
    reply = replace(REPLY, partner=request.number)
    with pytest.raises(BadOrder, match=words):
        check_open(order(request, reply))


def test_two_requests_are_no_pair() -> None:
    other = replace(REQUEST, number=2, direction=Direction.OUTBOUND, partner=1)
    with pytest.raises(BadOrder, match="a request and its reply"):
        check_open(order(REQUEST, other))


def test_addresses_and_time_are_looked_at() -> None:
    with pytest.raises(BadOrder, match="'nowhere' is not an IP address"):
        check_open(Open(bytes(32), [REQUEST, REPLY], "10.0.0.1", "nowhere", 600.0))
    with pytest.raises(BadOrder, match="a number of seconds"):
        check_open(Open(bytes(32), [REQUEST, REPLY], *ADDRESSES[4], float("nan")))


@pytest.mark.parametrize(
    "volley", [Volley(3, 1, 1), Volley(2, 1, 1), Volley(1, 0, 1), Volley(1, 1, 0)]
)
def test_volleys_that_are_refused(volley: Volley) -> None:
    with pytest.raises(BadOrder):
        check_volleys(CHECKS, [REQUEST], [volley])


def test_numbers_are_bounded() -> None:
    check_volleys(CHECKS, [REQUEST], [Volley(1, 1, MAX_SHOTS)])
    with pytest.raises(BadOrder, match="at once"):
        check_volleys(CHECKS, [REQUEST], [Volley(1, 1, MAX_SHOTS), Volley(1, 1, 1)])
    for gap in (-0.1, 61.0, float("nan")):
        with pytest.raises(BadOrder):
            check_gap(gap)
    for use in (PortUse(3, 1, 1), PortUse(1, 0, 1), PortUse(1, 1, 0), PortUse(1, 1, 65_536)):
        with pytest.raises(BadOrder):
            check_ports(CHECKS, [use])


def test_addresses_that_a_nat_may_have_given() -> None:
    many = [f"192.0.2.{n}" for n in range(1, MAX_ADDRESSES + 1)]
    check_addresses(4, many, [])
    check_addresses(4, many, many)
    check_addresses(6, ["fe80::1%eth0"], [])
    for family, wrong in ((4, "far"), (4, "2001:db8::1"), (6, "192.0.2.1"), (4, "224.0.0.1")):
        with pytest.raises(BadOrder):
            check_addresses(family, [wrong], [])
    with pytest.raises(BadOrder, match="no host has more"):
        check_addresses(4, ["192.0.2.100"], many)


INTEGERS = st.integers(-2, 70_000) | st.sampled_from([None, 1, 2, 88, 500, 4500])
ANY_CHECK = st.builds(
    Check,
    number=st.integers(-1, 3),
    kind=st.sampled_from([*KINDS, "udp:1701", "tcp:445", "udp:0", ""]),
    direction=st.sampled_from(Direction),
    flow=st.sampled_from(Flow),
    family=st.sampled_from([4, 6, 5]),
    size=INTEGERS,
    source_port=INTEGERS,
    destination_port=INTEGERS,
    partner=st.none() | st.integers(-1, 3),
)


@given(checks=st.lists(ANY_CHECK, max_size=3), family=st.sampled_from([4, 6]))
def test_what_is_taken_makes_an_engine(checks: list[Check], family: int) -> None:
    asked = order(*checks, family=family)
    try:
        check_open(asked)
    except BadOrder:
        return
    Engine(Side.FAR, Keys(asked.secret), asked.checks, asked.local, asked.peer)
