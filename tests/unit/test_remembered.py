"""What near remembers for a far host that forgets."""

from __future__ import annotations

from pathlib import Path

from agent.ledger import TRANSLATED, Ledger
from agent.model import Direction, Event, Flow, Side, Sighting
from probe import plan as planning
from probe.far.remembered import Remembered
from scenarios import load

FAR, NEAR = "10.0.0.5", "10.0.0.1"


def test_the_next_run_is_told_what_far_saw_and_what_it_sent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")
    checks = planning.make(load("kb233256"), 4, planning.ORDER).checks
    new = {
        (c.kind, c.direction): c.number
        for c in checks
        if c.flow is Flow.NEW and c.kind in ("esp", "ah", "kerberos-udp")
    }
    first = Remembered(ledger, checks, FAR, NEAR)
    assert not first.priors(600)
    first.saw(
        [
            Sighting(Side.FAR, Event.ARRIVED, new["esp", Direction.OUTBOUND], 1, 0.0),
            Sighting(Side.FAR, Event.LEFT, new["ah", Direction.INBOUND], 1, 0.0),
            Sighting(Side.FAR, Event.LEFT, new["kerberos-udp", Direction.INBOUND], 1, 0.0),
            Sighting(Side.NEAR, Event.LEFT, new["ah", Direction.OUTBOUND], 1, 0.0),
        ]
    )
    told = {(p.check, p.crossed) for p in Remembered(ledger, checks, FAR, NEAR).priors(600)}
    assert told == {
        *((new["esp", direction], True) for direction in Direction),
        *((new["ah", direction], False) for direction in Direction),
    }
    assert not Remembered(ledger, checks, "10.0.0.6", NEAR).priors(600)
    ledger.close()


def test_what_a_nat_translated_on_its_way_to_far_is_told_as_that(tmp_path: Path) -> None:
    """It stands in the way of what far sends to near's own address."""
    ledger = Ledger(tmp_path / "flows.sqlite")
    checks = planning.make(load("kb233256"), 4, planning.ORDER).checks
    new = [c for c in checks if c.flow is Flow.NEW]
    out = {c.kind: c.number for c in new if c.direction is Direction.OUTBOUND}
    first = Remembered(ledger, checks, FAR, f"{NEAR}%eth0")
    first.saw(
        [
            Sighting(Side.FAR, Event.ARRIVED, out["esp"], 1, 0.0, source="192.0.2.1"),
            Sighting(Side.FAR, Event.ARRIVED, out["ah"], 1, 0.0, source=NEAR),
        ]
    )
    told = {p.check: p.what for p in Remembered(ledger, checks, FAR, f"{NEAR}%eth0").priors(600)}
    assert told == {
        c.number: TRANSLATED if c.kind == "esp" else "an earlier run"
        for c in new
        if c.kind in ("esp", "ah")
    }
    ledger.close()
