"""What only several rows together tell: the classic ways in which IPsec and Kerberos break. Pure.

Each diagnosis names what was seen, what it does to the real service, and what to do. One that
explains what an earlier one has explained already is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent.model import Direction, Event, Flow, Sighting
from probe.advise.stopped import PASSED, STOPPED, in_fragments, talking, too_large
from probe.naming import service
from probe.result import Conclusion, Expect, Outcome, RunResult, Verdict

NAT_T = ("ike-nat-t", "esp-in-udp", "nat-keepalive")
AH_AND_NAT = (
    "AH was changed on its way, which is what NAT does: AH cannot cross NAT; use ESP, with UDP "
    "encapsulation on port 4500."
)
_NAMES = {Direction.OUTBOUND: ("near", "far"), Direction.INBOUND: ("far", "near")}


class Finding(NamedTuple):
    text: str
    explains: frozenset[int]  # numbers of checks


@dataclass(frozen=True, slots=True)
class Case:
    """A result, asked in the terms of the diagnoses."""

    result: RunResult

    @property
    def new(self) -> list[Conclusion]:
        return [c for c in self.result.conclusions if c.check.flow is Flow.NEW]

    def passing(self, *kinds: str) -> set[Direction]:
        """Where new flows of one of these kinds, of natural size, get through."""
        return {
            c.check.direction
            for c in self.new
            if c.check.kind in kinds and c.outcome in PASSED and c.check.size is None
        }

    def stopped(self, *kinds: str) -> list[Conclusion]:
        """New flows of these kinds, of natural size, that must get through and do not."""
        return [
            c
            for c in self.new
            if c.check.kind in kinds and failing(c) and c.outcome in STOPPED and not c.check.size
        ]

    def asked(self, *kinds: str) -> bool:
        return any(c.check.kind in kinds and c.outcome in (*PASSED, *STOPPED) for c in self.new)


def failing(conclusion: Conclusion) -> bool:
    return conclusion.expected is Expect.PASS and conclusion.verdict is not Verdict.PASS


def findings(result: RunResult) -> tuple[Finding, ...]:
    """The diagnoses that fit, most telling first. The hollow tunnel stands with its rule."""
    case = Case(result)
    explained: set[int] = set()
    found: list[Finding] = []
    for diagnosis in _DIAGNOSES:
        for finding in diagnosis(case):
            if not finding.explains <= explained:
                explained |= finding.explains
                found.append(finding)
    return tuple(found)


def _nothing_crosses(case: Case) -> Iterator[Finding]:
    new = [c for c in case.new if c.outcome is not Outcome.NOT_APPLICABLE]
    everything = len(new) > 1 and all(c.outcome is Outcome.LOST for c in new)
    if not everything or not any(c.check.kind == "icmp-echo" for c in new):
        return
    if case.result.path.control == "tcp":
        yield _finding(
            new,
            "Nothing that was asked crosses, not even ICMP echo, and yet the control connection "
            "between the same hosts does: routes and IP forwarding are right, and a filter drops "
            "whatever no rule of its allows.",
        )
    elif not talking(case.result):
        yield _finding(
            new,
            "Nothing that was asked crosses, not even ICMP echo, and nothing else is known to: "
            "look at addresses, routes and IP forwarding before you change a rule.",
        )


def hollow(case: Case) -> list[Conclusion]:
    """ESP that is stopped where in one direction at least IKE gets through."""
    esp = case.stopped("esp")
    ike = case.passing("ike")
    return esp if any(c.check.direction in ike for c in esp) else []


def encapsulation(case: Case) -> str:
    """How far UDP encapsulation is a way out, as far as it was asked."""
    if case.stopped("esp-in-udp"):
        return "or allow UDP port 4500 and force UDP encapsulation"
    if case.passing("esp-in-udp"):
        return "or force UDP encapsulation on port 4500, which passes"
    return "or force UDP encapsulation on port 4500"


def _fragments_of_ike(case: Case) -> Iterator[Finding]:
    large = [
        c
        for c in case.new
        if c.check.kind in ("ike", "ike-nat-t")
        and failing(c)
        and c.outcome in STOPPED
        and in_fragments(c)
        and too_large(c, case.result.conclusions)
    ]
    if large:
        size = min(c.check.size or 0 for c in large)
        yield _finding(
            large,
            f"Small IKE passes, IKE of {size:,} octets in fragments does not: IKE_AUTH with "
            "certificates is as large, so the negotiation stops after its first exchange and "
            "times out (Windows says error 809). Let the fragments through, or let the peers cut "
            "IKE up themselves (IKE fragmentation, RFC 7383).",
        )


def _nat_without_4500(case: Case) -> Iterator[Finding]:
    shut = case.stopped(*NAT_T)
    if case.result.path.near_behind_nat and shut and case.passing("ike"):
        yield _finding(
            shut,
            "UDP 500 passes, UDP 4500 does not, and near sits behind NAT: the peers find the NAT "
            "in the first exchange of IKE and go on by UDP 4500, so no tunnel ever comes up. "
            "Allow UDP port 4500.",
        )


def _nat_moves_500(case: Case) -> Iterator[Finding]:
    moved = [
        c
        for c in case.result.conclusions
        if c.check.kind == "ike"
        and failing(c)
        and c.outcome is Outcome.ALTERED
        and translated(c.evidence)
    ]
    if not moved:
        return
    rule = service("ike").rule
    if case.stopped(*NAT_T):
        then = "which does not pass yet: allow it"
    elif case.passing(*NAT_T):
        then = "which passes"
    else:
        then = "and allow it"
    yield _finding(
        moved,
        f"NAT on the path changes the source of {rule}, and a peer that insists on port 500 does "
        f"not answer: let the peers move to NAT traversal, UDP port 4500, {then}.",
    )


def translated(evidence: Sequence[Sighting]) -> bool:
    """The source as it left and as it arrived are two."""
    left = {(s.shot, s.source, s.source_port) for s in evidence if s.event is Event.LEFT}
    arrived = {(s.shot, s.source, s.source_port) for s in evidence if s.event is Event.ARRIVED}
    return bool(left and arrived) and not left & arrived


def _ah_across_nat(case: Case) -> Iterator[Finding]:
    changed = [
        c
        for c in case.result.conclusions
        if c.check.kind == "ah" and failing(c) and c.outcome is Outcome.ALTERED
    ]
    if changed:
        yield _finding(changed, AH_AND_NAT)


def _one_way(case: Case) -> Iterator[Finding]:
    shut = case.stopped("ike")
    ways = {c.check.direction for c in shut}
    passing = case.passing("ike")
    if len(ways) != 1 or ways & passing or not passing:
        return
    (way,) = ways
    mute, other = _NAMES[way]
    yield _finding(
        shut,
        f"IKE gets through in one direction only: {other} can begin a tunnel, and {mute} cannot. "
        f"It comes up and works until {mute} begins something itself (a rekey, a restart) once "
        "the firewall has forgotten the flow.",
    )


def _kerberos_by_tcp(case: Case) -> Iterator[Finding]:
    by_tcp = case.passing("kerberos-tcp")
    shut = [c for c in case.stopped("kerberos-udp") if c.check.direction in by_tcp]
    if shut:
        yield _finding(
            shut,
            "Kerberos passes by TCP and not by UDP: Windows since Vista asks by TCP first, so "
            "nothing breaks there; others wait for UDP to time out before they try TCP.",
        )


def _ah_beside_esp(case: Case) -> Iterator[Finding]:
    esp = case.passing("esp")
    shut = [c for c in case.stopped("ah") if c.check.direction in esp]
    if shut:
        yield _finding(
            shut,
            "ESP passes, AH does not: only policies that ask for AH fail (IPsec integrity without "
            "encryption by AH). ESP with integrity alone does that work and passes already.",
        )


_DIAGNOSES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _nothing_crosses,
    _nat_without_4500,
    _nat_moves_500,
    _fragments_of_ike,
    _ah_across_nat,
    _one_way,
    _kerberos_by_tcp,
    _ah_beside_esp,
)


def _finding(conclusions: Sequence[Conclusion], text: str) -> Finding:
    return Finding(text, frozenset(c.check.number for c in conclusions))
