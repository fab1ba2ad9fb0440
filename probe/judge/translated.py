"""Which addresses NATs gave one end's shots, though not its control connection.

The other end answers no address but that of the run's peer, lest a recorded shot that is played
from elsewhere has it send to a third host. Whoever conducts the run knows better: where most shots
of a check arrived, all from one address, they came by way of a NAT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from agent.model import Check, Direction, Event, Sighting
from probe.judge.evidence import Evidence
from probe.judge.tracks import target
from probe.plan import Plan

MOST = 0.5  # the share of a check's shots above which they are not a few that somebody replayed


def sources(sightings: Iterable[Sighting], checks: Iterable[Check], peer: str) -> set[str]:
    """Other addresses than ``peer`` that requests of these came from."""
    numbers = {check.number: target(check) for check in checks}
    came = {
        sighting.source
        for sighting in sightings
        if sighting.event is Event.ARRIVED and sighting.at is numbers.get(sighting.check)
    }
    return came - {peer.partition("%")[0], ""}


def given(plan: Plan, evidence: Evidence, direction: Direction) -> list[str]:
    """The addresses that requests of ``direction`` came from, and whose answers were held back."""
    fired: Counter[int] = Counter()
    for volley in evidence.volleys:
        fired[volley.check] += volley.count
    found = {_source(check, evidence, fired[check.number]) for check in plan.requests(direction)}
    return sorted(found - {""})


def _source(request: Check, evidence: Evidence, fired: int) -> str:
    """ "" where nothing was held back, or it is not clear whose the shots were."""
    there = [sighting for sighting in evidence.sightings if sighting.at is target(request)]
    came = Counter(s.source for s in there if _is(s, request.number, Event.DELIVERED))
    held = {s.destination for s in there if _is(s, request.partner, Event.UNSENT)}
    if len(came) != 1 or came.total() <= MOST * fired:
        return ""
    source = next(iter(came))
    return source if source in held else ""


def _is(sighting: Sighting, check: int | None, event: Event) -> bool:
    return sighting.check == check and sighting.event is event
