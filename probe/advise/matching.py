"""From one check to what all its packets have in common, and to the rules that let them through.

A result may come from a file, and the far host's address from the far host: what becomes part of a
command is an :mod:`ipaddress` or a number, or there is no rule.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from agent.model import Check, Direction, Event, Flow
from probe.advise.rule import Place, Ports, Rule, Way
from probe.advise.stopped import held_back, in_fragments, too_large, where
from probe.judge.tracks import is_stream, origin, target
from probe.naming import service
from probe.result import Conclusion, Outcome, RunResult

_PROTOCOLS = {50: "esp", 51: "ah"}


def rules_for(result: RunResult, conclusion: Conclusion) -> Iterator[Rule]:
    """What lets the packets of one check through; nothing for a kind that no rule can name."""
    place, way, at = where(result, conclusion)
    found = match(result, conclusion.check, place, way)
    if found is None:
        return
    found = replace(
        found,
        fragments=in_fragments(conclusion),
        only_large=too_large(conclusion, result.conclusions),
        at=plain(at) if at else "",
    )
    if conclusion.outcome is Outcome.HOST_DROPPED and is_stream(conclusion.check):
        yield from _unanswered(result, conclusion, found)
    else:
        yield found


def _unanswered(result: RunResult, conclusion: Conclusion, request: Rule) -> Iterator[Rule]:
    """A SYN reached a host, which did not answer: is it its input or its output that drops?

    What became of the others tells: datagrams that it got or did not, packets that it could send.
    Where that leaves both open, the less likely rule is marked as foreseen.
    """
    if conclusion.check.flow is Flow.REPLY:
        yield request
        return
    host = target(conclusion.check)
    others = [c for c in result.conclusions if not is_stream(c.check)]
    drops_in = any(c.outcome is Outcome.HOST_DROPPED and target(c.check) is host for c in others)
    drops_out = any(
        c.outcome is Outcome.NOT_SENT and origin(c.check) is host and held_back(result, c)
        for c in others
    )
    answers = any(
        s.event is Event.LEFT and s.at is host
        for c in others
        if c.check.flow is Flow.REPLY
        for s in c.evidence
    )
    yield replace(request, foreseen=drops_out and not drops_in)
    if drops_out or not (drops_in or answers):
        yield replace(request.opener, flow=Flow.REPLY, way=Way.OUT, foreseen=not drops_out)


def match(result: RunResult, check: Check, place: Place, way: Way) -> Rule | None:
    """What all packets of a check have in common. None for a kind that no rule can name."""
    known = service(check.kind)
    protocol = known.transport.lower()
    if protocol == "ip":
        if known.number not in _PROTOCOLS:
            return None
        protocol = _PROTOCOLS[known.number]
    near, far = addresses(result, place)
    source, destination = (near, far) if check.direction is Direction.OUTBOUND else (far, near)
    if {ipaddress.ip_address(a).version for a in (source, destination)} != {check.family}:
        raise ValueError(f"the result's addresses are not of IPv{check.family}")
    ports = protocol in ("udp", "tcp")
    return Rule(
        place,
        way,
        check.direction,
        check.flow,
        check.family,
        protocol,
        source,
        destination,
        _port(check.source_port) if ports else None,
        _port(check.destination_port) if ports else None,
        title=known.title,
    )


def _port(number: int | None) -> Ports | None:
    return None if number is None else (number, number)


def addresses(result: RunResult, place: Place) -> tuple[str, str]:
    """near's and far's, as a firewall there sees them. ValueError for what is no address."""
    near, far = result.near.address, result.far.seen_as or result.far.address
    if place is Place.FAR:
        far = result.far.address
        if result.path.near_behind_nat and result.near.seen_as:
            near = result.near.seen_as
    return plain(near), plain(far)


def plain(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        raise ValueError("the result names a host by what is no IP address") from None
