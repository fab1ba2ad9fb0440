"""Two records are judged together only where that is sound."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agent.model import Direction, Event, Facts, Icmp, Side, Sighting
from agent.record.file import Record
from probe.record.joined import NoPair, conclude, evidence, pair, plan
from probe.result import Outcome
from scenarios import load

NEAR, FAR = "10.0.0.1", "10.0.0.5"
START = 1_700_000_000.0
KB = load("kb233256")


def record(side: Side, sightings: Sequence[Sighting] = (), **more: object) -> Record:
    ends = (NEAR, FAR) if side is Side.NEAR else (FAR, NEAR)
    known: dict[str, object] = {
        "side": side,
        "version": "0.1.0",
        "host": side.value,
        "local": ends[0],
        "peer": ends[1],
        "at": START,
        "asked": "icmp-echo esp ah ike ike+fresh kerberos-udp kerberos-tcp",
        "family": 4,
        "shots": 16,
        "slack": 5.0,
        "run": "0badcafe",
        "state_timeout": 600.0,
        "scenario": "kb233256",
        "complete": True,
        "fired": True,
        "facts": Facts(captured=100),
        "sightings": list(sightings),
    }
    return Record(**{**known, **more})  # type: ignore[arg-type]


NUMBER = {
    (check.kind, check.direction): check.number
    for check in reversed(record(Side.NEAR).schedule.checks)
    if check.flow == "new"
}


def crossing(
    kind: str, direction: Direction, at: float = 0.0, ahead: float = 0.0, shots: int = 16
) -> tuple[list[Sighting], list[Sighting]]:
    """(near's, far's) sightings of shots that got there; far's clock is ``ahead``."""
    number, found = NUMBER[kind, direction], ([], [])  # type: ignore[var-annotated]
    out = direction is Direction.OUTBOUND
    source, target = (NEAR, FAR) if out else (FAR, NEAR)
    sender, receiver = (Side.NEAR, Side.FAR) if out else (Side.FAR, Side.NEAR)
    for shot in range(1, shots + 1):
        for side, event in (
            (sender, Event.SENT),
            (sender, Event.LEFT),
            (receiver, Event.ARRIVED),
            (receiver, Event.DELIVERED),
        ):
            when = START + at + shot / 100 + (ahead if side is Side.FAR else 0.0)
            seen = Sighting(side, event, number, shot, when, source, target, size=140, ttl=63)
            found[side is Side.FAR].append(seen)
    return found


def sent(kind: str, direction: Direction, at: float = 0.0) -> tuple[list[Sighting], list[Sighting]]:
    near, far = crossing(kind, direction, at)
    gone = (Event.SENT, Event.LEFT)
    return [s for s in near if s.event in gone], [s for s in far if s.event in gone]


def judged(*told: tuple[list[Sighting], list[Sighting]], **far: object) -> dict[str, Outcome]:
    near = record(Side.NEAR, [s for one, _ in told for s in one])
    found = conclude(near, record(Side.FAR, [s for _, one in told for s in one], **far), KB)
    new = [c for c in found.conclusions if c.check.flow == "new"]
    return {f"{c.check.kind} {c.check.direction}": c.outcome for c in reversed(new)}


def test_the_order_of_the_files_does_not_matter() -> None:
    near, far = record(Side.NEAR), record(Side.FAR)
    assert pair([far, near]) == pair([near, far]) == (near, far)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([record(Side.FAR), record(Side.FAR)], "both records are of the far host"),
        ([record(Side.NEAR), record(Side.FAR, at=START + 60)], "near has at"),
        ([record(Side.NEAR), record(Side.FAR, run="00000002")], "near has run 0badcafe, far has"),
        ([record(Side.NEAR), record(Side.FAR, asked="esp")], "near has asked"),
        ([record(Side.NEAR), record(Side.FAR, shots=3)], "near has shots 16, far has 3"),
    ],
)
def test_what_is_no_pair(records: list[Record], words: str) -> None:
    with pytest.raises(NoPair, match=words):
        pair(records)


def test_another_scenario_is_told() -> None:
    with pytest.raises(NoPair, match="does not ask what was recorded"):
        plan(record(Side.NEAR), load("dc-to-dc"))


def test_inbound_first_then_outbound_is_a_reply_perhaps() -> None:
    found = judged(
        crossing("esp", Direction.INBOUND, at=6), crossing("esp", Direction.OUTBOUND, at=20)
    )
    assert found["esp inbound"] is Outcome.DELIVERED
    assert found["esp outbound"] is Outcome.STATE_POSSIBLE


def test_what_was_sent_and_did_not_come_is_lost_where_the_two_were_awake() -> None:
    found = judged(
        sent("esp", Direction.INBOUND, at=6),
        crossing("esp", Direction.OUTBOUND, at=20),
        crossing("icmp-echo", Direction.INBOUND, at=6),
    )
    assert found["esp inbound"] is Outcome.LOST
    assert found["esp outbound"] is Outcome.DELIVERED


def test_where_nothing_crossed_nothing_is_known() -> None:
    found = judged(sent("esp", Direction.INBOUND, at=6), sent("esp", Direction.OUTBOUND, at=20))
    assert found["esp inbound"] is found["esp outbound"] is Outcome.UNOBSERVED


def test_clocks_that_are_too_far_apart() -> None:
    with pytest.raises(NoPair, match="clocks were 7 s apart, and 5 s were allowed for"):
        judged(crossing("esp", Direction.OUTBOUND, at=20, ahead=-7.0))


def test_clocks_within_the_slack_change_nothing() -> None:
    found = judged(
        crossing("esp", Direction.INBOUND, at=6, ahead=4.0),
        crossing("esp", Direction.OUTBOUND, at=20, ahead=4.0),
    )
    assert found["esp inbound"] is Outcome.DELIVERED


def test_outbound_before_inbound_by_a_hosts_own_clock_turns_the_order() -> None:
    found = judged(
        crossing("esp", Direction.OUTBOUND, at=1), crossing("esp", Direction.INBOUND, at=9)
    )
    assert found["esp outbound"] is Outcome.DELIVERED
    assert found["esp inbound"] is Outcome.STATE_POSSIBLE


def test_both_at_once_is_no_run() -> None:
    with pytest.raises(NoPair, match="were mixed at near"):
        judged(crossing("esp", Direction.OUTBOUND, at=6), crossing("ike", Direction.INBOUND, at=6))


def test_a_host_that_had_stopped_refuses_nothing_and_its_silence_proves_nothing() -> None:
    near, far = sent("esp", Direction.OUTBOUND, at=20)
    number = NUMBER["esp", Direction.OUTBOUND]
    no = Sighting(Side.NEAR, Event.REFUSED, number, 1, START + 21, FAR, NEAR, icmp=Icmp(3, 2, FAR))
    by_router = Sighting(
        Side.NEAR,
        Event.REFUSED,
        number,
        2,
        START + 21,
        "10.0.0.9",
        NEAR,
        icmp=Icmp(3, 13, "10.0.0.9"),
    )
    echo = crossing("icmp-echo", Direction.INBOUND, at=6)
    stopped = {"complete": False}
    assert judged(([*near, no], far), echo, **stopped)["esp outbound"] is Outcome.UNOBSERVED
    assert judged(([*near, no], far), echo)["esp outbound"] is not Outcome.UNOBSERVED
    refused = judged(([*near, by_router], far), echo, **stopped)
    assert refused["esp outbound"] is Outcome.REFUSED


def test_near_behind_nat_is_seen_by_where_its_shots_came_from() -> None:
    near, far = crossing("esp", Direction.OUTBOUND, at=20)
    from dataclasses import replace

    mapped = [replace(s, source="192.0.2.7") if s.event is Event.ARRIVED else s for s in far]
    assert evidence(record(Side.NEAR, near), record(Side.FAR, mapped)).near_behind_nat
    assert not evidence(record(Side.NEAR, near), record(Side.FAR, far)).near_behind_nat
    first = min((s for s in far if s.event is Event.ARRIVED), key=lambda s: s.shot)
    replayed = [replace(s, source="192.0.2.7") if s is first else s for s in far]
    assert not evidence(record(Side.NEAR, near), record(Side.FAR, replayed)).near_behind_nat
