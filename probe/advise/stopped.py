"""What stopped a check, and where: read off the evidence alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.model import Check, Event, Fragmenting, Side
from probe.advise.rule import Place, Way
from probe.judge.tracks import origin, target
from probe.result import Conclusion, Expect, Outcome, RunResult, Verdict

PASSED = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.LOSSY)
STOPPED = (Outcome.LOST, Outcome.REFUSED, Outcome.HOST_DROPPED)
_FIREWALL_SAYS = ("EPERM", "EACCES")  # of a packet that never left its own host
_SILENT = ("none", "records", "ssh")  # no agent; each by itself; perhaps through a third host
_HOST = {Side.NEAR: Place.NEAR, Side.FAR: Place.FAR}


def mendable(result: RunResult, conclusion: Conclusion) -> bool:
    """Is it a firewall's rule that is missing, as far as was seen?"""
    if conclusion.expected is not Expect.PASS or conclusion.verdict is Verdict.PASS:
        return False
    if conclusion.outcome is Outcome.NOT_SENT:
        return held_back(result, conclusion)
    return conclusion.outcome in STOPPED and not over_mtu(result, conclusion)


def held_back(result: RunResult, conclusion: Conclusion) -> bool:
    """By its own host's firewall.

    A kernel that gives no reason (TCP) has it for one as well where the two hosts talk: then the
    next hop answers.
    """
    notes = {s.note for s in conclusion.evidence if s.event is Event.UNSENT}
    return bool(notes & set(_FIREWALL_SAYS)) if notes else talking(result)


def talking(result: RunResult) -> bool:
    """Did the two hosts talk beside what was asked? Then there is a way between them."""
    return result.path.control not in _SILENT


def in_fragments(conclusion: Conclusion) -> bool:
    """Did its shots leave in several fragments?"""
    return conclusion.check.fragmenting is Fragmenting.LAST_FIRST or any(
        sighting.stage == "fragment" for sighting in conclusion.evidence
    )


def too_large(conclusion: Conclusion, conclusions: Iterable[Conclusion]) -> bool:
    """It is stopped for its size: the same in smaller passes."""
    size = conclusion.check.size
    return size is not None and any(
        _alike(other.check, conclusion.check)
        and other.outcome in PASSED
        and (other.check.size or 0) <= size
        for other in conclusions
        if other is not conclusion
    )


def over_mtu(result: RunResult, conclusion: Conclusion) -> bool:
    """It is stopped for its size, and not for being cut up: that is no rule's affair."""
    return too_large(conclusion, result.conclusions) and not in_fragments(conclusion)


def _alike(one: Check, other: Check) -> bool:
    names = ("kind", "direction", "flow", "source_port", "destination_port", "family")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def where(result: RunResult, conclusion: Conclusion) -> tuple[Place, Way, str]:
    """The firewall that stood in the way, and its address where it has told it; "" else."""
    check = conclusion.check
    if conclusion.outcome is Outcome.NOT_SENT:
        return _HOST[origin(check)], Way.OUT, ""
    sink = target(check)
    came = (Event.ARRIVED, Event.DELIVERED)
    # Of a connection, the request: a SYN that was let in may have something behind it reset.
    arrived = any(
        s.at is sink and ((s.event in came and s.stage != "syn") or s.event is Event.REFUSED)
        for s in conclusion.evidence
    )
    if conclusion.outcome is Outcome.HOST_DROPPED or (
        conclusion.outcome is Outcome.REFUSED and arrived
    ):
        return _HOST[sink], Way.IN, ""
    senders = {s.icmp.sender for s in conclusion.evidence if s.icmp is not None}
    ends = {result.near.address, result.far.address, result.far.seen_as}
    return Place.NETWORK, Way.THROUGH, min(senders - ends, default="")


def intrudes(conclusion: Conclusion) -> bool:
    return conclusion.expected is Expect.BLOCK and conclusion.verdict is Verdict.FAIL
