"""What only several rows together tell: each classic, the evidence it needs, and its silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Event, Side, Sighting
from probe.advise import advise
from probe.advise.joint import findings
from probe.result import Conclusion, Outcome, RunResult
from scenarios import Row
from tests.samples import lost, result, row, whole

PASS, GONE, MOOT = Outcome.DELIVERED, Outcome.LOST, Outcome.NOT_APPLICABLE
ALTERED = Outcome.ALTERED
OUT_ONLY = (PASS, MOOT, GONE, PASS)

CUT = Sighting(Side.NEAR, Event.LEFT, 0, 1, 0.0, stage="fragment")
LEFT = Sighting(Side.NEAR, Event.LEFT, 0, 1, 0.0, source="10.0.0.1", source_port=500)
MOVED = replace(LEFT, at=Side.FAR, event=Event.ARRIVED, source="192.0.2.1", source_port=1024)


def seen(conclusions: tuple[Conclusion, ...], *sightings: Sighting) -> tuple[Conclusion, ...]:
    return tuple(replace(conclusion, evidence=sightings) for conclusion in conclusions)


def behind_nat(run: RunResult) -> RunResult:
    return replace(run, path=replace(run.path, near_behind_nat=True))


LARGE = seen(row(Row("ike", size=2000), GONE, MOOT, GONE, MOOT), CUT)
MOVED_IKE = seen(row(Row("ike"), ALTERED, MOOT, MOOT, MOOT), LEFT, MOVED)
NO_AH = row(Row("ah"), *[ALTERED] * 4)

CASES = {
    "error 809": result(whole("ike"), LARGE),
    "find the NAT in the first exchange": behind_nat(result(whole("ike"), lost("ike-nat-t"))),
    "UDP port 4500, which passes": result(MOVED_IKE, whole("ike-nat-t")),
    "which does not pass yet: allow it": result(MOVED_IKE, lost("esp-in-udp")),
    "UDP port 4500, and allow it": result(MOVED_IKE),
    "AH cannot cross NAT": result(NO_AH),
    "near can begin a tunnel, and far cannot": result(row(Row("ike"), *OUT_ONLY)),
    "far can begin a tunnel, and near cannot": result(row(Row("ike"), GONE, PASS, PASS, MOOT)),
    "Windows since Vista asks by TCP": result(lost("kerberos-udp"), whole("kerberos-tcp")),
    "ESP passes, AH does not": result(whole("esp"), lost("ah")),
    "a filter drops whatever": result(lost("icmp-echo"), lost("esp"), lost("ike")),
}


@pytest.mark.parametrize("words", CASES)
def test_the_fitting_one_stands_on_top(words: str) -> None:
    assert words in advise(CASES[words])[0]


@pytest.mark.parametrize(
    "run",
    [
        result(whole("ike"), whole("ike-nat-t")),
        result(whole("ike"), row(Row("ike", size=2000), GONE, MOOT, GONE, MOOT)),  # the MTU
        result(lost("ike"), LARGE),  # small IKE does not pass either
        result(whole("ike"), lost("ike-nat-t")),  # no NAT in sight
        behind_nat(result(lost("ike"), lost("ike-nat-t"))),
        result(lost("ike")),  # both directions
        result(lost("kerberos-udp"), lost("kerberos-tcp")),
        result(lost("esp"), lost("ah")),
        result(whole("icmp-echo"), lost("esp"), lost("ike")),
    ],
)
def test_none_without_its_evidence(run: RunResult) -> None:
    assert findings(run) == ()


def test_ike_from_one_port_alone_is_not_one_direction_alone() -> None:
    fresh = row(Row("ike", source_port="fresh"), GONE, MOOT, PASS, PASS)
    assert findings(result(whole("ike"), fresh)) == ()


def test_the_hollow_tunnel_stands_before_all_others() -> None:
    run = result(whole("ike"), lost("esp"), whole("esp-in-udp"), whole("kerberos-tcp"), LARGE)
    first, second, *_ = advise(run)
    assert first.startswith("IKE passes, ESP does not: the tunnel will come up and carry nothing.")
    assert first.endswith("or force UDP encapsulation on port 4500, which passes.")
    assert "error 809" in second


def test_what_is_explained_already_is_not_explained_twice() -> None:
    run = result(lost("icmp-echo"), lost("kerberos-udp"), lost("ike"))
    assert len(findings(run)) == 1
