"""A picture's facts: between near and far, how far did each kind come, and who stopped it?

Only what the run itself knows: that a shot left a host, came to the other's interface, to its
socket, and who refused it. Of silence no more is known than that it fell between the two hosts;
``probe trace`` looks closer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.model import Direction, Flow, Side
from probe.judge.tracks import origin, target
from probe.report import matrix
from probe.result import Conclusion, Expect, Host, Outcome, RunResult, Verdict
from probe.trace.hops import distance
from scenarios import CELLS


class Stop(StrEnum):
    """The furthest place that a check's shots are known to have come to."""

    ORIGIN = "origin"  # they never left the host that sends them
    BETWEEN = "between"  # they left, and never came to the other host's interface
    HOST = "host"  # they came to the host that should get them, and not to its socket
    SOCKET = "socket"  # all the way
    UNKNOWN = "unknown"  # it was not observed


@dataclass(frozen=True, slots=True)
class Arrow:
    """One check on its way. ``where``: the place it comes to and what stops it there, in words."""

    name: str  # of the kind
    conclusion: Conclusion
    stop: Stop
    where: str


@dataclass(frozen=True, slots=True)
class Picture:
    """``routers``: how many lie on the way, by the TTL; of a direction in which nothing arrived
    that is not known. ``refusers``: addresses between the two hosts that refused something.
    """

    arrows: tuple[Arrow, ...]
    routers: Mapping[Direction, int]
    refusers: tuple[str, ...]


def picture(result: RunResult) -> Picture:
    """The new flow of each kind in each direction; its reply where that fares worse."""
    lines = sorted(matrix.lines(result.conclusions), key=lambda line: line.rank)
    arrows = tuple(
        _arrow(result, line.name, conclusion)
        for line in lines
        for conclusion in _worth_drawing(line)
    )
    routers = {}
    for direction in Direction:
        mine = [c for c in result.conclusions if c.check.direction is direction]
        number = distance((c.check for c in mine), (s for c in mine for s in c.evidence))
        if number is not None:
            routers[direction] = number
    refusers = {who for c in result.conclusions for who in _senders(c) if not _is_end(result, who)}
    return Picture(arrows, routers, tuple(sorted(refusers)))


def _worth_drawing(line: matrix.Line) -> Iterator[Conclusion]:
    drawn: dict[Direction, Conclusion] = {}
    for direction, flow in CELLS:  # a direction's new flow stands there before its reply
        conclusion = line.cells.get((direction, flow))
        if conclusion is None or conclusion.outcome is Outcome.NOT_APPLICABLE:
            continue
        new = drawn.get(direction)
        if flow is Flow.NEW or new is None or matrix.rank(conclusion) < matrix.rank(new):
            drawn.setdefault(direction, conclusion)
            yield conclusion


def _arrow(result: RunResult, name: str, conclusion: Conclusion) -> Arrow:
    stop, where = _end(result, conclusion)
    if conclusion.expected is Expect.BLOCK and conclusion.verdict is Verdict.PASS:
        where += ", as it should be"
    elif conclusion.expected is Expect.BLOCK and conclusion.verdict is Verdict.FAIL:
        where += ", and must not"
    return Arrow(name, conclusion, stop, where)


def _end(result: RunResult, conclusion: Conclusion) -> tuple[Stop, str]:
    check, sink = conclusion.check, target(conclusion.check)
    match conclusion.outcome:
        case Outcome.NOT_SENT:
            return Stop.ORIGIN, f"never leaves {origin(check)} itself"
        case Outcome.UNOBSERVED | Outcome.NOT_APPLICABLE:
            return Stop.UNKNOWN, "not observed"
        case Outcome.LOST:
            return Stop.BETWEEN, "lost somewhere between"
        case Outcome.HOST_DROPPED:
            return Stop.HOST, f"dropped by {sink}'s own firewall"
        case Outcome.REFUSED:
            return _refusal(result, conclusion)
        case outcome:
            stop = Stop.SOCKET if conclusion.delivered else Stop.HOST
            return stop, _arrival(outcome, conclusion)


def _arrival(outcome: Outcome, conclusion: Conclusion) -> str:
    match outcome:
        case Outcome.ALTERED:
            return "arrives, but changed"
        case Outcome.LOSSY:
            all_came = conclusion.arrived >= conclusion.shots
            what = f"reach {target(conclusion.check)}'s socket" if all_came else "arrive"
            return f"{matrix.word(conclusion)}: not all {what}"
        case Outcome.STATE_POSSIBLE:
            return f"reaches {target(conclusion.check)}, perhaps only by earlier state"
        case _:
            return f"reaches {target(conclusion.check)}"


def _refusal(result: RunResult, conclusion: Conclusion) -> tuple[Stop, str]:
    sink = target(conclusion.check)
    if conclusion.arrived:
        return Stop.HOST, f"refused by {sink} itself"
    senders = _senders(conclusion)
    others = [sender for sender in senders if not _is_end(result, sender)]
    if others:
        return Stop.BETWEEN, f"refused by {' and '.join(others)}"
    if any(_is(_host(result, origin(conclusion.check)), sender) for sender in senders):
        return Stop.ORIGIN, f"refused by {origin(conclusion.check)} itself"
    # In the name of the host that should get it. Where that host's own eyes are known, it got none.
    reported = any(s.at is sink for c in result.conclusions for s in c.evidence)
    return Stop.BETWEEN if reported else Stop.HOST, f"refused in {sink}'s name"


def _senders(conclusion: Conclusion) -> list[str]:
    """Of ICMP errors, in order."""
    return sorted({s.icmp.sender for s in conclusion.evidence if s.icmp is not None})


def _is_end(result: RunResult, address: str) -> bool:
    return _is(result.near, address) or _is(result.far, address)


def _is(host: Host, address: str) -> bool:
    """Whatever the interface that a link-local address is on."""
    own = {known.partition("%")[0] for known in (host.address, host.seen_as)}
    return address.partition("%")[0] in own


def _host(result: RunResult, side: Side) -> Host:
    return result.near if side is Side.NEAR else result.far
