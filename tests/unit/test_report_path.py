"""How far each kind came, and who stopped it: never more than the run has seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Direction, Event, Icmp, Side, Sighting
from probe.report.path import Arrow, Stop, picture
from probe.result import Conclusion, Outcome, RunResult
from scenarios import CELLS, Expect, Row
from tests.samples import FAR, NEAR, result, row, whole

MOOT, PASS = Outcome.NOT_APPLICABLE, Outcome.DELIVERED


def outbound(outcome: Outcome, **changes: object) -> RunResult:
    """A run of which only ESP outbound was asked, and came to this."""
    new, *others = row(Row("esp"), outcome, MOOT, MOOT, MOOT)
    return result((replace(new, **changes), *others))  # type: ignore[arg-type]


def arrow(run: RunResult) -> Arrow:
    (found,) = picture(run).arrows
    return found


def refusal(sender: str | None, at: Side = Side.NEAR) -> tuple[Sighting, ...]:
    icmp = None if sender is None else Icmp(3, 13, sender)
    return (Sighting(at, Event.REFUSED, 0, 1, 1.0, icmp=icmp),)


@pytest.mark.parametrize(
    ("outcome", "stop", "where"),
    [
        (Outcome.DELIVERED, Stop.SOCKET, "reaches far"),
        (Outcome.STATE_POSSIBLE, Stop.SOCKET, "reaches far, perhaps only by earlier state"),
        (Outcome.LOSSY, Stop.SOCKET, "lossy 2/3: not all arrive"),
        (Outcome.ALTERED, Stop.HOST, "arrives, but changed"),
        (Outcome.LOST, Stop.BETWEEN, "lost somewhere between"),
        (Outcome.HOST_DROPPED, Stop.HOST, "dropped by far's own firewall"),
        (Outcome.NOT_SENT, Stop.ORIGIN, "never leaves near itself"),
        (Outcome.UNOBSERVED, Stop.UNKNOWN, "not observed"),
    ],
)
def test_every_outcome_has_its_place(outcome: Outcome, stop: Stop, where: str) -> None:
    found = arrow(outbound(outcome))
    assert (found.name, found.stop, found.where) == ("ESP IP 50", stop, where)


def test_what_was_changed_and_delivered_came_to_the_socket() -> None:
    assert arrow(outbound(Outcome.ALTERED, arrived=3, delivered=3)).stop is Stop.SOCKET


def test_what_is_lost_on_the_host_is_not_lost_on_the_way() -> None:
    found = arrow(outbound(Outcome.LOSSY, shots=3, arrived=3, delivered=2))
    assert found.where == "lossy 2/3: not all reach far's socket"


@pytest.mark.parametrize(
    ("sender", "arrived", "stop", "where"),
    [
        ("10.0.0.254", 0, Stop.BETWEEN, "refused by 10.0.0.254"),
        (FAR.address, 3, Stop.HOST, "refused by far itself"),
        (None, 3, Stop.HOST, "refused by far itself"),
        (NEAR.address, 0, Stop.ORIGIN, "refused by near itself"),
    ],
)
def test_who_refused_it(sender: str | None, arrived: int, stop: Stop, where: str) -> None:
    run = outbound(Outcome.REFUSED, evidence=refusal(sender), arrived=arrived)
    found = arrow(run)
    assert (found.stop, found.where) == (stop, where)


@pytest.mark.parametrize("sender", [FAR.address, None])
def test_an_answer_in_fars_name_is_fars_only_where_far_saw_something(sender: str | None) -> None:
    """By ICMP or by TCP RST. Without far's report nobody knows where it came from."""
    unknown = outbound(Outcome.REFUSED, evidence=refusal(sender))
    assert (arrow(unknown).stop, arrow(unknown).where) == (Stop.HOST, "refused in far's name")
    (refused, *others) = unknown.conclusions
    seen = Sighting(Side.FAR, Event.ARRIVED, 9, 1, 1.0)
    reported = replace(
        unknown, conclusions=(refused, replace(whole("ah")[0], evidence=(seen,)), *others)
    )
    (first, _) = picture(reported).arrows
    assert (first.stop, first.where) == (Stop.BETWEEN, "refused in far's name")


def test_a_link_local_address_is_the_same_on_any_interface() -> None:
    run = outbound(Outcome.REFUSED, evidence=refusal("fe80::2"))
    run = replace(run, far=replace(FAR, address="fe80::2%eth0"))
    assert arrow(run).where == "refused in far's name"
    assert picture(run).refusers == ()


def test_what_must_not_pass() -> None:
    blocked = Row("esp", expect=dict.fromkeys(CELLS, Expect.BLOCK))
    held = result(row(blocked, Outcome.LOST, MOOT, MOOT, MOOT))
    assert arrow(held).where == "lost somewhere between, as it should be"
    through = result(row(blocked, PASS, MOOT, MOOT, MOOT))
    assert arrow(through).where == "reaches far, and must not"


def drawn(*outcomes: Outcome) -> list[tuple[str, str]]:
    found = picture(result(row(Row("esp"), *outcomes))).arrows
    return [(a.conclusion.check.direction, a.conclusion.check.flow) for a in found]


def test_a_reply_is_drawn_only_where_it_fares_worse() -> None:
    assert drawn(PASS, PASS, PASS, PASS) == [("outbound", "new"), ("inbound", "new")]
    assert drawn(PASS, Outcome.LOST, PASS, PASS) == [
        ("outbound", "new"),
        ("outbound", "reply"),
        ("inbound", "new"),
    ]
    assert drawn(Outcome.LOST, Outcome.LOST, MOOT, PASS) == [
        ("outbound", "new"),
        ("inbound", "reply"),
    ]
    assert drawn(MOOT, MOOT, MOOT, MOOT) == []


def test_what_failed_stands_first() -> None:
    lost = row(Row("ah"), Outcome.LOST, MOOT, PASS, PASS)
    assert [a.name for a in picture(result(whole("esp"), lost)).arrows][:2] == ["AH IP 51"] * 2


def passage(conclusion: Conclusion, gone: int, come: int) -> Conclusion:
    """With one shot that left with a TTL and arrived with another."""
    number = conclusion.check.number
    ends = (Side.NEAR, Side.FAR)
    here, there = ends if conclusion.check.direction is Direction.OUTBOUND else ends[::-1]
    seen = (
        Sighting(here, Event.LEFT, number, 1, 1.0, ttl=gone),
        Sighting(there, Event.ARRIVED, number, 1, 1.0, ttl=come),
    )
    return replace(conclusion, evidence=seen)


def test_routers_are_counted_by_the_ttl_each_way() -> None:
    run = result(whole("esp"))
    out, _, back, _ = run.conclusions
    seen = replace(run, conclusions=(passage(out, 64, 62), passage(back, 255, 254)))
    assert picture(seen).routers == {Direction.OUTBOUND: 2, Direction.INBOUND: 1}
    assert picture(run).routers == {}
