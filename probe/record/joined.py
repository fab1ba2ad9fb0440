"""Two records made without contact → what the correlator judges by. Pure.

The two hosts' clocks are not compared. Which direction came first is read off one host's record
alone: what it sent itself, and what arrived there, by the same clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from agent.model import Direction, Event, Side, Sighting, Volley
from agent.record.file import Record
from probe.correlate import correlate
from probe.far.dial import ProbeError
from probe.judge.carried import carriage
from probe.judge.changes import changes
from probe.judge.evidence import Evidence, commonest
from probe.plan import ORDER, Plan, asked, make
from probe.remarks import of_hosts
from probe.result import Host, PathFacts, RunResult
from scenarios import Scenario

_SAME = ("run", "at", "asked", "family", "shots", "slack")


class NoPair(ProbeError):
    """These records cannot be judged together. The text says why, and what to do."""


def pair(records: Iterable[Record]) -> tuple[Record, Record]:
    """(near's, far's), in whatever order they were given."""
    by_side = {record.side: record for record in records}
    if set(by_side) != set(Side):
        (side,) = by_side
        other = Side.FAR if side is Side.NEAR else Side.NEAR
        raise NoPair(f"both records are of the {side} host; give one of the {other} host as well")
    near, far = by_side[Side.NEAR], by_side[Side.FAR]
    for name in _SAME:
        if getattr(near, name) != getattr(far, name):
            raise NoPair(
                f"the two are not of one run: near has {name} {getattr(near, name)}, far has "
                f"{getattr(far, name)}"
            )
    return near, far


def plan(near: Record, scenario: Scenario) -> Plan:
    """What was asked, and what was expected of it."""
    rows = [row for row in scenario.rows if str(asked(row)) in near.asked.split()]
    if " ".join(str(asked(row)) for row in rows) != near.asked:
        raise NoPair(
            f"scenario {scenario.name} does not ask what was recorded ({near.asked}); name with "
            "--scenario the one that the near host used"
        )
    kept = Scenario(scenario.name, scenario.title, scenario.description, tuple(rows))
    return make(kept, near.family)


def evidence(near: Record, far: Record) -> Evidence:
    """All that the two saw. A record that was cut short is no witness of silence; nor are two of
    hosts that may not have been awake at the same time.
    """
    met = apart(near, far) is not None
    sightings = [*_witnessed(near, far), *_witnessed(far, near)]
    schedule = near.schedule
    fired = {Direction.OUTBOUND: near.fired, Direction.INBOUND: far.fired}
    volleys: list[Volley] = []
    for direction in _order(near, far):
        if fired[direction]:
            volleys += schedule.volleys(direction)
    return Evidence(
        sightings=sightings,
        volleys=volleys,
        near=near.facts if near.complete and met else None,
        far=far.facts if far.complete and met else None,
        priors={Side.NEAR: near.priors, Side.FAR: far.priors},
        near_address=near.local,
        far_address=far.local,
        near_seen_as=_seen_as(near, far),
    )


def _witnessed(record: Record, other: Record) -> list[Sighting]:
    """Without the refusals of a host that had stopped to listen: they are no firewall's."""
    if other.complete:
        return list(record.sightings)
    own = {other.local, record.peer}
    return [s for s in record.sightings if s.event is not Event.REFUSED or s.source not in own]


def apart(near: Record, far: Record) -> float | None:
    """Seconds that far's clock was ahead of near's, by what crossed; None where nothing did.

    NoPair where it was more than the schedule allows: one may have shot while the other slept.
    """
    ahead: list[float] = []
    for sender, receiver, sign in ((near, far, 1), (far, near, -1)):
        sent = {(s.check, s.shot): s.time for s in _own_shots(sender)}
        for arrival in _arrivals(receiver):
            left = sent.get((arrival.check, arrival.shot))
            if left is not None:
                ahead.append(sign * (arrival.time - left))
    if not ahead:
        return None
    middle = median(ahead)
    if abs(middle) > near.slack:
        raise NoPair(
            f"the two hosts' clocks were {abs(middle):.0f} s apart, and {near.slack:g} s were "
            "allowed for: one may have shot while the other was not yet listening. Set the clocks, "
            "or give a larger --slack to both"
        )
    return middle


def hosts(near: Record, far: Record) -> tuple[Host, Host]:
    return (
        Host(near.host, near.local, near.version, _seen_as(near, far)),
        Host(far.host, far.local, far.version, near.peer),
    )


def _seen_as(near: Record, far: Record) -> str:
    """Near's address in far's eyes: where most of its shots came from, else where far shot."""
    return commonest(_arrivals(far), near.local) or far.peer or near.local


def _order(near: Record, far: Record) -> tuple[Direction, Direction]:
    """Inbound first, as the schedule has it, unless a host's own clock says otherwise.

    NoPair where the two were mixed: then neither can be said to have been asked on a quiet path.
    """
    for record in (near, far):
        sent = [s.time for s in _own_shots(record)]
        arrived = [s.time for s in _arrivals(record)]
        if not sent or not arrived:
            continue
        mine_first = max(sent) < min(arrived)
        theirs_first = max(arrived) < min(sent)
        if not mine_first and not theirs_first:
            raise NoPair(
                f"outbound and inbound shots were mixed at {record.side}: the clocks of the two "
                f"hosts were more than {record.slack:g} s apart. Set them, or give a larger "
                "--slack to both"
            )
        inbound_first = theirs_first if record.side is Side.NEAR else mine_first
        return ORDER if inbound_first else (Direction.OUTBOUND, Direction.INBOUND)
    return ORDER  # nothing crossed, so that nothing can have opened anything


def _own_shots(record: Record) -> list[Sighting]:
    mine = {check.number for check in record.schedule.requests(record.sends)}
    return [
        s
        for s in record.sightings
        if s.at is record.side and s.event is Event.SENT and s.check in mine
    ]


def _arrivals(record: Record) -> list[Sighting]:
    """Of the other end's new flows."""
    other = Direction.INBOUND if record.sends is Direction.OUTBOUND else Direction.OUTBOUND
    theirs = {check.number for check in record.schedule.requests(other)}
    return [
        s
        for s in record.sightings
        if s.at is record.side and s.event is Event.ARRIVED and s.check in theirs
    ]


def conclude(near: Record, far: Record, scenario: Scenario, *, strict: bool = False) -> RunResult:
    """The two judged, as a run between them would have been."""
    planned = plan(near, scenario)
    found = evidence(near, far)
    conclusions = correlate(planned, found, strict=strict)
    first, second = hosts(near, far)
    notes = [*changes(planned, found), *of_hosts(found), *scenario.notes]
    for record in (near, far):
        if not record.complete:
            notes.append(f"{record.side} was stopped before the end; its silence proves nothing")
    if apart(near, far) is None:
        notes.append(
            "nothing crossed in either direction, so it is not known whether the two hosts were "
            "awake at the same time, and silence is no proof: compare their clocks"
        )
    return RunResult(
        scenario=scenario.name,
        started=near.at,
        seconds=near.schedule.ends - near.at,
        complete=near.complete and far.complete,
        near=first,
        far=second,
        path=PathFacts(
            rtt_ms=None,
            control="records",
            near_behind_nat=found.near_behind_nat,
            carriage={d: carriage(planned, found, d) for d in ORDER if planned.requests(d)},
        ),
        conclusions=conclusions,
        notes=tuple(dict.fromkeys(notes)),
    )
