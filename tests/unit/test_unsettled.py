"""A run that broke off: silence that was not waited out proves nothing, what was seen stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Direction, Event, Facts, Icmp, Side, Sighting, Volley
from probe import plan as planning
from probe.correlate import correlate
from probe.judge.evidence import Evidence
from probe.result import Conclusion, Outcome
from scenarios import load

PLAN = planning.make(load("kb233256"), 4, only=("esp",))
INBOUND = PLAN.requests(Direction.INBOUND)[0]
OUTBOUND = PLAN.requests(Direction.OUTBOUND)[0]
SHOTS = tuple(range(1, 21))


def seen(at: Side, event: Event, *shots: int) -> list[Sighting]:
    return [Sighting(at, event, INBOUND.number, shot, 0.0) for shot in shots]


def evidence(*sightings: Sighting) -> Evidence:
    """Inbound shots were ordered, and some of them seen."""
    return Evidence(
        sightings,
        [Volley(INBOUND.number, 1, len(SHOTS))],
        Facts(),
        Facts(),
        near_seen_as="10.0.0.1",
        near_address="10.0.0.1",
    )


def inbound(evidence: Evidence) -> Conclusion:
    return next(c for c in correlate(PLAN, evidence) if c.check == INBOUND)


LEFT = evidence(*seen(Side.FAR, Event.SENT, *SHOTS), *seen(Side.FAR, Event.LEFT, *SHOTS))


def test_silence_counts_only_when_it_was_waited_out() -> None:
    assert inbound(LEFT).outcome is Outcome.LOST
    cut = inbound(replace(LEFT, unsettled=Direction.INBOUND))
    assert cut.outcome is Outcome.UNOBSERVED
    assert cut.cause == "the run ended before its silence could count"


def test_the_other_direction_was_settled_before() -> None:
    assert inbound(replace(LEFT, unsettled=Direction.OUTBOUND)).outcome is Outcome.LOST


def test_shots_that_had_not_left_yet_were_not_stopped_by_the_host() -> None:
    assert inbound(evidence()).outcome is Outcome.NOT_SENT
    assert inbound(replace(evidence(), unsettled=Direction.INBOUND)).outcome is Outcome.UNOBSERVED


@pytest.mark.parametrize("change", [{"unsettled": Direction.INBOUND}, {"near": None}])
def test_a_part_that_was_seen_is_no_loss(change: dict[str, object]) -> None:
    got = seen(Side.NEAR, Event.ARRIVED, 1) + seen(Side.NEAR, Event.DELIVERED, 1)
    part = replace(LEFT, sightings=[*LEFT.sightings, *got])
    assert inbound(part).outcome is Outcome.LOSSY
    told = inbound(replace(part, **change))  # type: ignore[arg-type]
    assert told.outcome is Outcome.UNOBSERVED
    assert told.cause.startswith("1 of 20 shots were seen at near when the run ended")


def test_what_arrived_whole_is_delivered_whatever_happened_then() -> None:
    got = [s for e in (Event.ARRIVED, Event.DELIVERED) for s in seen(Side.NEAR, e, *SHOTS)]
    whole = replace(LEFT, sightings=[*LEFT.sightings, *got], unsettled=Direction.INBOUND)
    assert inbound(whole).outcome is Outcome.DELIVERED
    untried = next(c for c in correlate(PLAN, whole) if c.check == OUTBOUND)
    assert untried.outcome is Outcome.UNOBSERVED


@pytest.mark.parametrize("kind", ["ike", "kerberos-tcp"])
def test_who_is_left_behind_by_his_agent_refuses_by_himself(kind: str) -> None:
    """Far breaks off while near's shots are on their way: its kernel finds nobody at the port."""
    plan = planning.make(load("kb233256"), 4, only=(kind,))
    check = plan.requests(Direction.OUTBOUND)[0]
    icmp = None if kind == "kerberos-tcp" else Icmp(3, 3, "10.0.0.2")
    told = Sighting(
        Side.NEAR, Event.REFUSED, check.number, 1, 0.0, icmp=icmp, stage="" if icmp else "rst"
    )
    syn = "" if icmp else "syn"
    left = Sighting(Side.NEAR, Event.LEFT, check.number, 1, 0.0, stage=syn)
    whole = replace(
        evidence(left, told),
        volleys=[Volley(check.number, 1, 1)],
        far_address="10.0.0.2",
        far=None,
        unsettled=Direction.OUTBOUND,
    )

    def judged(evidence: Evidence) -> Conclusion:
        return next(c for c in correlate(plan, evidence) if c.check == check)

    gone = judged(whole)
    assert gone.outcome is Outcome.UNOBSERVED
    assert "the run broke off meanwhile" in gone.cause
    assert judged(replace(whole, unsettled=None)).outcome is Outcome.REFUSED
    if icmp is not None:  # somebody on the way needs no agent to refuse it
        router = replace(told, icmp=replace(icmp, sender="10.0.0.7"))
        assert judged(replace(whole, sightings=[left, router])).outcome is Outcome.REFUSED
