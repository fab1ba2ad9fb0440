from __future__ import annotations

import pytest

from agent.model import Direction, Flow
from probe import plan as planning
from scenarios import Expect, Row, Scenario, ScenarioError, load, names


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("family", [4, 6])
def test_every_scenario_makes_a_sound_plan(name: str, family: int) -> None:
    plan = planning.make(load(name), family)
    numbers = [check.number for check in plan.checks]
    assert numbers == list(range(1, len(numbers) + 1))
    by_number = {check.number: check for check in plan.checks}
    for check in plan.checks:
        partner = by_number[check.partner or 0]
        assert partner.partner == check.number
        assert {check.flow, partner.flow} == {Flow.NEW, Flow.REPLY}
        assert {check.direction, partner.direction} == set(Direction)
        assert check.kind == partner.kind
        assert check.family == family


def test_inbound_goes_first() -> None:
    """The way more likely to be closed is asked before our own traffic can open it."""
    requests = [c for c in planning.make(load("kb233256"), 4).checks if c.flow is Flow.NEW]
    directions = [check.direction for check in requests]
    half = len(directions) // 2
    assert directions == [Direction.INBOUND] * half + [Direction.OUTBOUND] * half


def test_ike_is_asked_from_500_and_from_a_fresh_port() -> None:
    plan = planning.make(load("kb233256"), 4, only=("ike",))
    asked = plan.requests(Direction.OUTBOUND)
    assert {c.source_port for c in asked} == {500, None}
    assert {c.destination_port for c in asked} == {500}


def test_a_reply_travels_back_between_the_same_ports() -> None:
    plan = planning.make(load("kb233256"), 4, only=("ike",))
    request = next(c for c in plan.checks if c.flow is Flow.NEW and c.source_port == 500)
    reply = next(c for c in plan.checks if c.number == request.partner)
    assert (reply.source_port, reply.destination_port) == (500, 500)


def test_only_and_direction_narrow_it() -> None:
    plan = planning.make(load("kb233256"), 4, (Direction.OUTBOUND,), ("esp",))
    assert [(c.direction, c.flow) for c in plan.checks] == [
        (Direction.OUTBOUND, Flow.NEW),
        (Direction.INBOUND, Flow.REPLY),
    ]


def test_a_kind_that_has_no_row_gets_a_plain_one() -> None:
    scenario = planning.with_kinds(load("kb233256"), ("ike-v1", "esp", "udp:1701"))
    assert [row.kind for row in scenario.rows[-2:]] == ["ike-v1", "udp:1701"]
    assert sum(row.kind == "esp" for row in scenario.rows) == 1
    few = planning.only(scenario, ("ike-v1", "ike"))
    assert {row.kind for row in few.rows} == {"ike", "ike-v1"}
    assert planning.only(scenario, ()).rows == scenario.rows


def test_l2tp_in_the_clear_must_not_pass() -> None:
    plan = planning.make(load("l2tp-ipsec"), 4, only=("udp:1701",))
    new = [p.expected for p in plan.planned if p.check.flow is Flow.NEW]
    assert new
    assert set(new) == {Expect.BLOCK}


@pytest.mark.parametrize("kind", ["nat-keepalive", "kerberos-tcp", "tcp:445"])
def test_a_source_port_that_cannot_be_fixed_is_refused(kind: str) -> None:
    scenario = Scenario("mine", "", "", (Row(kind, source_port=4500),))
    with pytest.raises(ScenarioError, match="fresh"):
        planning.make(scenario, 4)
