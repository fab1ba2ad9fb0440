"""What a path changes without breaking anything: addresses, ports, DSCP, TTL. Told as notes.

What does break a protocol is an outcome, ``altered``, and the correlator's business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.model import Check, Direction, Event, Flow, Sighting
from probe.judge.evidence import Evidence
from probe.judge.tracks import origin, target
from probe.naming import service
from probe.plan import ORDER, Plan


@dataclass(frozen=True, slots=True)
class _Passage:
    """One shot as it left and as it arrived."""

    check: Check
    left: Sighting
    arrived: Sighting


def changes(plan: Plan, evidence: Evidence) -> tuple[str, ...]:
    """A sentence for each thing that was changed."""
    told: list[str] = list(_translated(evidence))
    for direction in ORDER[::-1]:
        mine = [p for p in _passages(plan, evidence) if p.check.direction is direction]
        told += _nat_detection(direction, mine)
        told += _ports(direction, mine)
        told += _marks(direction, mine)
        told += _hops(direction, mine)
    return tuple(told)


def _passages(plan: Plan, evidence: Evidence) -> list[_Passage]:
    seen = {(s.check, s.shot, s.event, s.at): s for s in evidence.sightings if not s.stage}
    found: list[_Passage] = []
    for check in plan.checks:
        shots = {s.shot for s in evidence.sightings if s.check == check.number}
        for shot in sorted(shots):
            left = seen.get((check.number, shot, Event.LEFT, origin(check)))
            arrived = seen.get((check.number, shot, Event.ARRIVED, target(check)))
            if left is not None and arrived is not None:
                found.append(_Passage(check, left, arrived))
    return found


def _translated(evidence: Evidence) -> Iterator[str]:
    if evidence.near_address and evidence.near_address == evidence.far_address:
        yield "near and far are one and the same host: nothing left it, and no firewall was crossed"
    if evidence.near_behind_nat:
        yield (
            f"near sits behind NAT: its address {_bare(evidence.near_address)} is "
            f"{_bare(evidence.near_seen_as)} in far's eyes"
        )


def _nat_detection(direction: Direction, passages: Sequence[_Passage]) -> Iterator[str]:
    """What a real IKE would conclude from its hashes (RFC 7296, 2.23)."""
    asked = [p for p in passages if p.check.flow is Flow.NEW and p.arrived.translated]
    for place, name in ((0, "sender"), (1, "receiver")):
        if any(p.arrived.translated and p.arrived.translated[place] for p in asked):
            yield (
                f"{direction}, IKE's own NAT detection finds the {name} translated: a real tunnel "
                "moves to UDP 4500 and carries ESP inside UDP, so that IP 50 and 51 are not used"
            )


def _ports(direction: Direction, passages: Iterable[_Passage]) -> Iterator[str]:
    """Fresh ports only: where the kind's own is rewritten, that is its outcome."""
    rewritten: dict[str, tuple[int, int]] = {}
    for p in passages:
        gone, come = p.left.source_port, p.arrived.source_port
        if p.check.flow is Flow.NEW and p.check.source_port is None and gone and come != gone:
            rewritten.setdefault(_name(p.check.kind), (gone, come or 0))
    if rewritten:
        gone, come = next(iter(rewritten.values()))
        yield (
            f"{direction}, source ports are rewritten on the way ({', '.join(rewritten)}: {gone} "
            f"became {come})"
        )


def _marks(direction: Direction, passages: Iterable[_Passage]) -> Iterator[str]:
    marked: dict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    for p in passages:
        gone, come = p.left.dscp, p.arrived.dscp
        if gone is not None and come is not None and gone != come:
            marked[gone, come][_name(p.check.kind)] = None
    for (gone, come), kinds in marked.items():
        yield f"{direction}, DSCP {gone} becomes {come} on the way ({', '.join(kinds)})"


def _hops(direction: Direction, passages: Iterable[_Passage]) -> Iterator[str]:
    """Routers passed, by the TTL. Not the same for every kind: they take different ways."""
    hops: dict[int, dict[str, None]] = defaultdict(dict)
    for p in passages:
        if p.left.ttl is not None and p.arrived.ttl is not None:
            hops[p.left.ttl - p.arrived.ttl][_name(p.check.kind)] = None
    anew = {kind for number, kinds in hops.items() if number < 0 for kind in kinds}
    if anew:
        yield f"{direction}, something in between sets the TTL anew ({', '.join(sorted(anew))})"
    elif len(hops) > 1:
        ways = "; ".join(
            f"{', '.join(kinds)}: {number} router{'' if number == 1 else 's'}"
            for number, kinds in sorted(hops.items())
        )
        yield f"{direction}, not all shots pass as many routers ({ways}): they take different ways"


def _name(kind: str) -> str:
    known = service(kind)
    return (
        known.title if known.number is None else f"{known.title} {known.transport} {known.number}"
    )


def _bare(address: str) -> str:
    return address.partition("%")[0]
