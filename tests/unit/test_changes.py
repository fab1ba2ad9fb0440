"""What a path changes without breaking it is told once; of one that changes nothing, nothing."""

from __future__ import annotations

from dataclasses import replace

from agent.model import Check, Direction, Event, Flow, Side, Sighting
from probe.judge.changes import changes
from probe.judge.evidence import Evidence
from probe.plan import Plan, Planned
from scenarios import Expect

ESP = Check(1, "esp", Direction.OUTBOUND, Flow.NEW, 4)
IKE = Check(2, "ike", Direction.OUTBOUND, Flow.NEW, 4, None, 500, 500)
KRB = Check(3, "kerberos-udp", Direction.OUTBOUND, Flow.NEW, 4, None, None, 88)
PLAN = Plan(tuple(Planned(check, Expect.PASS) for check in (ESP, IKE, KRB)))
LEFT = Sighting(Side.NEAR, Event.LEFT, 1, 1, 0.0, "10.0.0.1", "10.0.0.2", ttl=64, dscp=0)


def passage(check: Check, **changed: object) -> list[Sighting]:
    here, there = check.source_port, check.destination_port
    here = 40_001 if there and not here else here
    left = replace(LEFT, check=check.number, source_port=here, destination_port=there)
    arrived = replace(left, at=Side.FAR, event=Event.ARRIVED, ttl=63)
    return [left, replace(arrived, **changed)]  # type: ignore[arg-type]


def told(*sightings: list[Sighting], seen_as: str = "10.0.0.1") -> str:
    evidence = Evidence(
        tuple(s for some in sightings for s in some),
        near_address="10.0.0.1",
        far_address="10.0.0.2",
        near_seen_as=seen_as,
    )
    return "\n".join(changes(PLAN, evidence))


def test_a_path_that_changes_nothing_is_not_spoken_of() -> None:
    assert told(passage(ESP), passage(IKE, translated=(False, False)), passage(KRB)) == ""


def test_a_host_that_tests_itself_is_told() -> None:
    (text,) = changes(PLAN, Evidence((), near_address="10.0.0.1", far_address="10.0.0.1"))
    assert "one and the same host" in text


def test_a_new_mark_is_told_with_the_kinds_that_bear_it() -> None:
    text = told(passage(ESP, dscp=8), passage(IKE), passage(KRB, dscp=8))
    assert text == "outbound, DSCP 0 becomes 8 on the way (ESP IP 50, Kerberos UDP 88)"


def test_a_ttl_that_grows_was_set_anew() -> None:
    assert "sets the TTL anew (ESP IP 50)" in told(passage(ESP, ttl=255), passage(IKE))


def test_kinds_on_different_ways() -> None:
    text = told(passage(ESP, ttl=61), passage(IKE))
    assert "IKE UDP 500: 1 router; ESP IP 50: 3 routers" in text


def test_rewritten_fresh_ports() -> None:
    text = told(passage(KRB, source_port=1024))
    assert (
        text
        == "outbound, source ports are rewritten on the way (Kerberos UDP 88: 40001 became 1024)"
    )
    assert told(passage(IKE, source_port=1024)) == ""  # that is its outcome, not a note


def test_what_a_real_ike_would_conclude() -> None:
    text = told(passage(IKE, translated=(True, False)), seen_as="192.0.2.1")
    assert "near sits behind NAT: its address 10.0.0.1 is 192.0.2.1 in far's eyes" in text
    assert "finds the sender translated" in text
    assert "receiver" not in text
