"""What may have opened the way before a ``new`` check was asked: then its arrival proves no rule.

A stateful firewall lets in what belongs to a flow it has seen. It has seen what crossed it, also
when a firewall behind it dropped it: with two in a row, as between two sites, a shot that was lost
may have opened the first of them for the other direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.ledger import CONTROL, TRANSLATED
from agent.model import Check, Direction, Event, Flow, Side
from probe.judge import before
from probe.judge.evidence import Evidence
from probe.judge.tracks import Track, is_stream, origin, target

CALL_SECONDS = 30.0  # that lie, at most, between the first control message and the run's begin
UNNUMBERED = ("icmp-echo",)  # kinds whose every shot is a flow of its own, without ports
ONE = 1  # routers on a path where no second firewall can stand behind the one that drops


class Openings:
    """``tracks``: by check number and shot. ``order``: check number → when it was first fired."""

    def __init__(
        self,
        checks: Sequence[Check],
        evidence: Evidence,
        tracks: Mapping[int, Mapping[int, Track]],
        order: Mapping[int, int],
    ) -> None:
        self._checks = checks
        self._evidence = evidence
        self._tracks = tracks
        self._order = order

    def before(self, check: Check) -> str:
        """In one sentence what may have opened the way; "" when nothing can have."""
        if check.flow is not Flow.NEW:
            return ""
        return self._by_others(check) or self._by_this_run(check)

    def _by_others(self, check: Check) -> str:
        for side in (Side.NEAR, Side.FAR):
            for prior in self._evidence.priors.get(side, ()):
                if prior.check != check.number:
                    continue
                if prior.crossed:
                    return before.opened_by_prior(side, prior)
                if self._remembered(check, side):
                    return before.opened_by_lost_prior(side, prior)
            facts = self._evidence.facts(side)
            if facts is not None and check.number in facts.live:
                return before.opened_by_live(check, side)
            if facts and check.number in (*facts.carried_out, *facts.carried_in):
                return before.opened_by_control(check)
        return ""

    def swayed(self, check: Check) -> bool:
        """Has near itself, by control messages on the tuple, opened what may be closed inbound?

        A run with a control connection would have asked that first, on a quiet path. (Outbound is
        asked last in either case: to call that ``state-possible`` is no more than it would be.)
        """
        if check.flow is not Flow.NEW or check.direction is not Direction.INBOUND:
            return False
        near = self._evidence.near
        if near is not None and check.number in near.carried_out:
            return True
        priors = self._evidence.priors
        left = [prior for prior in priors.get(Side.NEAR, ()) if not prior.crossed]
        came = [prior for prior in priors.get(Side.FAR, ()) if prior.crossed]
        return any(
            prior.check == check.number
            and prior.what == CONTROL
            and prior.seconds <= CALL_SECONDS  # before this run, not an earlier one
            for prior in (*left, *came)
        )

    def collided(self, check: Check) -> str:
        """What a NAT translated the other way before, in this run or an earlier one; "" if nothing.

        Its connection tracking then holds the very tuple that the answers to ``check`` would have,
        and drops its shots or gives them another port (seen with Linux).
        """
        if check.flow is not Flow.NEW:
            return ""
        for prior in self._evidence.priors.get(origin(check), ()):
            if prior.check == check.number and prior.what == TRANSLATED:
                return before.translated_before(prior)
        sent = (s for s in self._evidence.sightings if s.check == check.number)
        aimed = {s.destination.partition("%")[0] for s in sent if s.event is Event.LEFT}
        for other in self._met_before(check):
            for track in self._tracks[other.number].values():
                got = track.arrived or track.delivered
                if got is not None and got.source and got.source not in aimed:
                    return before.translated_now(check, got.source)
        return ""

    def _met_before(self, check: Check) -> list[Check]:
        """What this run asked on the same tuple the other way, before ``check``."""
        key = tuple_of(check)
        if key is None or check.direction in self._evidence.rested:
            return []
        return [
            other
            for other in self._checks
            if other.flow is Flow.NEW
            and tuple_of(other) == key
            and other.direction is not check.direction
            and self._earlier(other, check)
        ]

    def _by_this_run(self, check: Check) -> str:
        for other in self._met_before(check):
            tracks = self._tracks[other.number].values()
            if any(track.arrived or track.delivered for track in tracks):
                return before.opened_by_run(check)
            if not any(track.left for track in tracks):
                continue
            if self._deaf(target(other)):
                return before.opened_unseen(check)
            if self._tracked(target(check)):
                return before.opened_at_host(check)
            if not self._one_router(check):
                return before.opened_on_the_way(check)
        return ""

    def _remembered(self, check: Check, side: Side) -> bool:
        """Can what left ``side`` in an earlier run, and was lost, still open anything?"""
        return (side is target(check) and self._tracked(side)) or not self._one_router(check)

    def _tracked(self, side: Side) -> bool:
        facts = self._evidence.facts(side)
        return facts is not None and facts.tracked > 0

    def _deaf(self, side: Side) -> bool:
        facts = self._evidence.facts(side)
        return facts is not None and bool(facts.interrupted)

    def _one_router(self, check: Check) -> bool:
        """By the TTL that the check's own shots lost: at most one router, hence one firewall."""
        hops = [t.hops for t in self._tracks[check.number].values() if t.hops is not None]
        return bool(hops) and max(hops) <= ONE

    def _earlier(self, one: Check, other: Check) -> bool:
        order = self._order
        return order.get(one.number, len(order) + 1) < order.get(other.number, len(order))


def tuple_of(check: Check) -> tuple[object, ...] | None:
    """What a stateful firewall knows a flow by; None when each shot is a flow of its own.

    A reply travels on the tuple of the request that it answers.
    """
    source, target = check.source_port, check.destination_port
    if (source, target) == (None, None):
        return None if check.kind in UNNUMBERED else (check.family, check.kind)
    if source is None or target is None:
        return None  # a fresh port
    near, far = (source, target) if check.direction is Direction.OUTBOUND else (target, source)
    return (check.family, is_stream(check), near, far)
