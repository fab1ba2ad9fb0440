"""Results of runs that never took place, for the tests of everything that reads one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.model import Check, Direction, Event, Flow, Icmp, Limits, Side, Sighting
from probe.naming import service
from probe.result import Agreed, Conclusion, Expect, Host, Outcome, PathFacts, RunResult, Verdict
from scenarios import CELLS, Row

NEAR = Host("alpha", "10.0.0.1", "0.1.0", "10.0.0.1")
FAR = Host("beta", "10.0.0.5", "0.1.0", "10.0.0.5")

_BROKEN = (Outcome.ALTERED, Outcome.REFUSED, Outcome.LOST, Outcome.HOST_DROPPED)
_FIXED_SOURCE = ("ike", "ike-nat-t")


def judge(outcome: Outcome, expected: Expect = Expect.PASS) -> Verdict:
    """As DESIGN's table has it; for tests that do not care about the correlator."""
    if outcome is Outcome.NOT_APPLICABLE:
        return Verdict.SKIP
    if expected is Expect.ANY:
        through = outcome in (Outcome.DELIVERED, Outcome.STATE_POSSIBLE)
        return Verdict.PASS if through else Verdict.SKIP
    if outcome in (Outcome.NOT_SENT, Outcome.UNOBSERVED):
        return Verdict.ERROR
    if expected is Expect.BLOCK:
        if outcome is Outcome.STATE_POSSIBLE:
            return Verdict.WARN
        return Verdict.PASS if outcome in _BROKEN else Verdict.FAIL
    if outcome is Outcome.LOSSY:
        return Verdict.WARN
    return Verdict.FAIL if outcome in _BROKEN else Verdict.PASS


def row(
    scenario_row: Row,
    *outcomes: Outcome,
    first: int = 0,
    family: int = 4,
    causes: Mapping[Outcome, str] | None = None,
) -> tuple[Conclusion, ...]:
    """One conclusion for each of CELLS, in that order, the replies joined to their requests."""
    known = service(scenario_row.kind)
    port = known.number if known.transport in ("UDP", "TCP") else None
    source = scenario_row.source_port
    if source is None and scenario_row.kind in _FIXED_SOURCE:
        source = port
    source = None if source == "fresh" else source
    conclusions = []
    for number, ((direction, flow), outcome) in enumerate(zip(CELLS, outcomes, strict=True)):
        new = flow is Flow.NEW
        check = Check(
            number=first + number,
            kind=scenario_row.kind,
            direction=direction,
            flow=flow,
            family=family,
            size=scenario_row.size,
            source_port=source if new else port,
            destination_port=port if new else source,
            partner=first + 3 - number,
        )
        expected = scenario_row.expected(direction, flow)
        text = "" if outcome is Outcome.DELIVERED else f"cause of {outcome}"
        shots = 0 if outcome in (Outcome.NOT_APPLICABLE, Outcome.UNOBSERVED) else 3
        arrived = 3 if outcome in (Outcome.DELIVERED, Outcome.STATE_POSSIBLE) else 0
        conclusions.append(
            Conclusion(
                check=check,
                outcome=outcome,
                expected=expected,
                verdict=judge(outcome, expected),
                cause=(causes or {}).get(outcome, text),
                shots=shots,
                arrived=2 if outcome is Outcome.LOSSY else arrived,
                delivered=2 if outcome is Outcome.LOSSY else arrived,
                label=scenario_row.label,
            )
        )
    return tuple(conclusions)


def result(*rows: tuple[Conclusion, ...], complete: bool = True) -> RunResult:
    """A run that concluded ``rows``, numbered anew."""
    conclusions: list[Conclusion] = []
    for block in rows:
        first = len(conclusions)
        shift = first - block[0].check.number if block else 0
        for conclusion in block:
            check = conclusion.check
            partner = None if check.partner is None else check.partner + shift
            renumbered = replace(check, number=check.number + shift, partner=partner)
            conclusions.append(replace(conclusion, check=renumbered))
    return RunResult(
        scenario="kb233256",
        started=1_700_000_000.25,
        seconds=0.84,
        complete=complete,
        near=NEAR,
        far=FAR,
        path=PathFacts(rtt_ms=0.42),
        conclusions=tuple(conclusions),
    )


def whole(kind: str) -> tuple[Conclusion, ...]:
    """A kind that passes everywhere."""
    return row(Row(kind), *[Outcome.DELIVERED] * 4)


def lost(kind: str) -> tuple[Conclusion, ...]:
    """A kind that passes nowhere, so that there is nothing to reply to."""
    gone, moot = Outcome.LOST, Outcome.NOT_APPLICABLE
    return row(Row(kind), gone, moot, gone, moot)


def only(conclusion_rows: tuple[Conclusion, ...], direction: Direction) -> tuple[Conclusion, ...]:
    return tuple(c for c in conclusion_rows if c.check.direction is direction)


def refused_ike() -> RunResult:
    """One kind that passes and one that a firewall refuses, with what was seen of it."""
    seen = (
        Sighting(
            Side.NEAR, Event.LEFT, 4, 1, 1_700_000_000.5, "10.0.0.1", "10.0.0.5", 500, 500, 64, 272
        ),
        Sighting(
            Side.NEAR,
            Event.REFUSED,
            check=4,
            shot=1,
            time=1_700_000_000.500125,
            source="10.0.0.254",
            destination="10.0.0.1",
            icmp=Icmp(3, 13, "10.0.0.254"),
        ),
    )
    ike = row(
        Row("ike"),
        Outcome.REFUSED,
        Outcome.NOT_APPLICABLE,
        Outcome.DELIVERED,
        Outcome.NOT_APPLICABLE,
        causes={Outcome.REFUSED: "10.0.0.254 answered: prohibited by a filter"},
    )
    found = result(whole("esp"), (replace(ike[0], evidence=seen), *ike[1:]))
    limits = Limits(2000.0, 800_000.0, 120.0)
    return replace(found, agreed=Agreed(limits, replace(limits, shots=100.0), 16))
