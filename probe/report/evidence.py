"""What was seen of the shots, in words: for ``-v``.

A shot's story begins at the host that sends it and goes on at the host that should get it. Shots
that fared alike share a line. Each host's times are by its own clock: the two are not compared.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

from agent.model import TAKEN, Check, Event, Sighting
from agent.wire.icmp import describe
from probe.judge.tracks import origin
from probe.naming import carrier, service
from probe.report.matrix import rank
from probe.report.text import plain
from probe.result import Conclusion, RunResult

_WORDS = {
    Event.SENT: "handed to the kernel",
    Event.UNSENT: "not sent",
    Event.LEFT: "left",
    Event.ARRIVED: "arrived",
    Event.DELIVERED: "a socket got it",
    Event.REFUSED: "refused",
    Event.REPLIED: "another answer came",
}


def render(result: RunResult, width: int = 80) -> str:
    """A paragraph for each check of which anything was seen, the failing ones first."""
    seen = [conclusion for conclusion in result.conclusions if conclusion.evidence]
    seen.sort(key=rank)
    return "\n\n".join("\n".join(_paragraph(conclusion, width)) for conclusion in seen)


def _paragraph(conclusion: Conclusion, width: int) -> Iterator[str]:
    check = conclusion.check
    name = f"{conclusion.label or service(check.kind).title} {carrier(check)}".rstrip()
    yield f"{name}, {check.direction} {check.flow}: {conclusion.outcome}"
    for text in stories(conclusion):
        yield textwrap.fill(
            text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )


def stories(conclusion: Conclusion) -> Iterator[str]:
    """What became of its shots: "shots 1-3, 22:13:20.500 UTC, near: left …"."""
    shots: dict[str, list[Sighting]] = {}  # story → the first sighting of each shot that has it
    for sightings in _by_shot(conclusion):
        shots.setdefault(story(conclusion.check, sightings), []).append(sightings[0])
    for told, firsts in shots.items():
        numbers = _ranges([first.shot for first in firsts])
        when = _clock(firsts[0].time)
        yield plain(f"shot{'s' if len(firsts) > 1 else ''} {numbers}, {when}, {told}")


def _by_shot(conclusion: Conclusion) -> Iterator[list[Sighting]]:
    first = origin(conclusion.check)
    ordered = sorted(conclusion.evidence, key=lambda s: (s.shot, s.at is not first, s.time))
    for _, sightings in groupby(ordered, key=lambda s: s.shot):
        yield list(sightings)


def story(check: Check, sightings: Iterable[Sighting]) -> str:
    """What became of one shot: "near: left 10.0.0.1 → 10.0.0.5, 140 octets; far: arrived …"."""
    sightings = tuple(sightings)
    on_the_wire = {sighting.stage for sighting in sightings if sighting.event is Event.LEFT}
    parts = []
    for side, at_side in groupby(sightings, key=lambda sighting: sighting.at):
        facts = [
            _fact(check, sighting)
            for sighting in at_side
            if not (sighting.event is Event.SENT and sighting.stage in on_the_wire)
        ]
        if facts:
            parts.append(f"{side}: {', '.join(facts)}")
    return "; ".join(parts)


def _fact(check: Check, sighting: Sighting) -> str:
    what = _what(check, sighting)
    if sighting.icmp is not None:
        family = 6 if ":" in sighting.icmp.sender else 4
        said = describe(family, sighting.icmp.type, sighting.icmp.code)
        return f"{what} by {sighting.icmp.sender}: {said}"
    details = [*_measures(check, sighting)]
    return f"{what} ({', '.join(details)})" if details else what


def _what(check: Check, sighting: Sighting) -> str:
    if sighting.event is Event.REPLIED and sighting.stage == TAKEN:
        return "a socket got that answer"
    if sighting.event is Event.REPLIED and sighting.at is origin(check):
        return "another program answered"
    return f"{sighting.stage} {_WORDS[sighting.event]}".lstrip()


def _measures(check: Check, sighting: Sighting) -> Iterator[str]:
    if sighting.event in (Event.LEFT, Event.ARRIVED) and sighting.source:
        source = _end(sighting.source, check.source_port and sighting.source_port)
        target = _end(sighting.destination, check.destination_port and sighting.destination_port)
        yield f"{source} → {target}"
    if sighting.size is not None:
        yield f"{sighting.size} octets"
    if sighting.ttl is not None:
        yield f"TTL {sighting.ttl}"
    if not sighting.intact:
        yield "changed"
    if sighting.note:
        yield sighting.note
    if sighting.says:
        yield sighting.says


def _end(address: str, port: int | None) -> str:
    """A fresh port differs from shot to shot, and is left out."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _ranges(numbers: list[int]) -> str:
    """ "1-3, 7": shots that follow each other together."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S.%f")[:-3] + " UTC"
