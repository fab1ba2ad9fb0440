"""The path's MTU, by direction and by kind: the largest packet that crosses whole. Pure.

Sizes are tried many at once, spread over what is still open, until two neighbours differ by one
step. What counts is what arrived; an ICMP error that names an MTU is told beside it, and where
none came the path is a black hole for what is larger (RFC 1191, RFC 8201, RFC 8899).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.model import Check, Direction, Event, Flow, Fragmenting, Sighting
from probe.judge.tracks import origin, target
from probe.naming import service
from probe.plan import Plan, make
from probe.result import PathMtu
from scenarios import CELLS, Expect, Row, Scenario

STEP = 4  # octets: what ESP is rounded to
AT_ONCE = 16  # sizes of one round
SMALLEST = {4: 576, 6: 1280}  # what every host must take, or every link carry (RFC 791, RFC 8200)
SIZED = ("esp", "ah", "ike", "ike-nat-t", "esp-in-udp", "kerberos-udp")  # can have any size

Question = tuple[Direction, str]  # of the packet itself, and its kind


@dataclass(frozen=True, slots=True)
class Range:
    """What is known of one question: ``low`` crossed (0: nothing did), ``high`` did not.

    ``octets``: what crossed, as it was seen; a kind whose sizes come in steps is rounded down.
    """

    low: int = 0
    high: int | None = None
    octets: int = 0
    flows: frozenset[Flow] = frozenset()  # of which anything crossed
    told: int | None = None
    told_by: str = ""

    @property
    def settled(self) -> bool:
        return bool(self.low) and (self.high is None or self.high - self.low <= STEP)


def sizes(known: Range, family: int, full: int) -> tuple[int, ...]:
    """What to try next, the largest first; ``full``: the most that both hosts can send at once."""
    high = full + STEP if known.high is None else known.high
    low = known.low or SMALLEST[family] - STEP
    room = range(high - STEP, low, -STEP)
    last = AT_ONCE - 1
    spread = {room[(len(room) - 1) * n // last] for n in range(AT_ONCE)} if room else set()
    if known.told is not None:  # somebody named the answer: it and its neighbour settle it
        spread |= {size for size in (known.told, known.told + STEP) if low < size < high}
    return tuple(sorted(spread, reverse=True))


def plan(asked: Mapping[str, Sequence[int]], family: int, directions: Iterable[Direction]) -> Plan:
    """A request and its reply for each kind, size and direction; none may be fragmented."""
    rows = tuple(
        Row(kind, size=size, fragmenting=Fragmenting.NEVER, expect=dict.fromkeys(CELLS, Expect.ANY))
        for kind, sizes_ in asked.items()
        for size in sizes_
    )
    return make(Scenario("path-mtu", "", "", rows), family, directions)


def learned(
    known: Mapping[Question, Range], asked: Iterable[Check], sightings: Iterable[Sighting]
) -> dict[Question, Range]:
    """``known``, and what one round brought to light.

    A filter is not to be taken for a small MTU: where no new flow gets in at all, its silence
    says nothing, and the replies alone count.
    """
    seen: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        seen[sighting.check].append(sighting)
    by_question: dict[Question, list[Check]] = defaultdict(list)
    for check in asked:
        by_question[check.direction, check.kind].append(check)
    found = dict(known)
    for question, mine in by_question.items():
        found[question] = _narrowed(known.get(question, Range()), mine, seen)
    return found


def _narrowed(known: Range, mine: Sequence[Check], seen: Mapping[int, Sequence[Sighting]]) -> Range:
    through = {check.number for check in mine if _event(check, seen, Event.ARRIVED)}
    flows = known.flows | {check.flow for check in mine if check.number in through}
    low = max([known.low, *(_size(check) for check in mine if check.number in through)])
    stopped = [
        _size(check)
        for check in mine
        if check.number not in through
        and check.flow in flows
        and _size(check) > low
        and (_event(check, seen, Event.LEFT) or _event(check, seen, Event.REFUSED))
    ]
    arrived = [
        sighting.size or 0
        for check in mine
        for sighting in seen.get(check.number, ())
        if sighting.event is Event.ARRIVED and sighting.at is target(check)
    ]
    high = min([*stopped, *([known.high] if known.high and known.high > low else [])], default=None)
    told, told_by = known.told, known.told_by
    for check in mine:
        for sighting in seen.get(check.number, ()):
            if sighting.icmp is not None and sighting.icmp.mtu and sighting.at is origin(check):
                told, told_by = sighting.icmp.mtu, sighting.icmp.sender
    return Range(low, high, max([known.octets, *arrived]), flows, told, told_by)


def _event(check: Check, seen: Mapping[int, Sequence[Sighting]], event: Event) -> bool:
    where = target(check) if event is Event.ARRIVED else origin(check)
    return any(s.event is event and s.at is where for s in seen.get(check.number, ()))


def _size(check: Check) -> int:
    assert check.size is not None
    return check.size


def conclude(known: Mapping[Question, Range]) -> dict[Direction, dict[str, PathMtu]]:
    """Of every kind that crossed at all in some size."""
    found: dict[Direction, dict[str, PathMtu]] = {}
    for (direction, kind), range_ in known.items():
        if range_.low:
            mtu = PathMtu(range_.octets, range_.high, range_.told, range_.told_by)
            found.setdefault(direction, {})[kind] = mtu
    return found


def sentences(found: Mapping[Direction, Mapping[str, PathMtu]]) -> tuple[str, ...]:
    """One for each direction and figure, the kinds that share it named together."""
    told: list[str] = []
    for direction, by_kind in found.items():
        alike: dict[PathMtu, list[str]] = defaultdict(list)
        for kind, mtu in by_kind.items():
            alike[mtu].append(_name(kind))
        tellers = sorted({mtu.told_by for mtu in alike if mtu.told_by})
        told += [
            f"path MTU {direction}, {', '.join(names)}: {_figure(mtu, tellers)}"
            for mtu, names in alike.items()
        ]
    return tuple(told)


def _name(kind: str) -> str:
    known = service(kind)
    return f"{known.title} {known.transport} {known.number}"


def _figure(mtu: PathMtu, tellers: Sequence[str]) -> str:
    if mtu.stopped is None:
        return f"{mtu.octets:,} octets, as much as the hosts' own links carry"
    text = f"{mtu.octets:,} octets cross whole and {mtu.stopped:,} do not; "
    if mtu.told_by:
        return f"{text}{mtu.told_by} says so by ICMP (MTU {mtu.told:,})"
    if tellers:  # a router may limit how often it says so: no black hole is proved
        return f"{text}no ICMP error said so of these, though {' and '.join(tellers)} did of others"
    return (
        f"{text}no ICMP error says so, so hosts that rely on path MTU discovery send into a black "
        "hole"
    )
