"""Conducts the search for the path's MTU: rounds of one control connection each."""

from __future__ import annotations

from collections.abc import Sequence

from agent.control import Collect, Collected
from agent.model import Check, Direction, Flow, Side, Volley
from probe.drive import GAP, Drive
from probe.far.link import LinkLost
from probe.judge import pathmtu
from probe.judge.evidence import Evidence
from probe.judge.pathmtu import Question, Range, learned, sizes
from probe.judge.tracks import follow
from probe.plan import ORDER, Plan

MAX_ROUNDS = 5  # each narrows the gap fifteen times: more than IP can carry, to one step
SHOTS, SHOTS_IF_LOSSY = 3, 8  # of each size; where the path loses some, chance must not decide


class Search:
    """``full``: octets of the largest packet that both hosts' interfaces take."""

    def __init__(self, plan: Plan, evidence: Evidence, family: int, full: int) -> None:
        self._family = family
        self._full = full
        self._evidence = evidence
        self._kinds = crossing(plan, evidence)
        self.known: dict[Question, Range] = {}

    def next_plan(self) -> Plan | None:
        """The next round; None when nothing is open any more."""
        directions: tuple[Direction, ...] = ORDER
        if self._evidence.near_behind_nat:  # there inbound ends at the gateway, and harms
            directions = (Direction.OUTBOUND,)
        asked: dict[str, Sequence[int]] = {}
        for kind in self._kinds:
            wanted = {
                size
                for direction in ORDER
                if not (known := self.known.get((direction, kind), Range())).settled
                for size in sizes(known, self._family, self._full)
            }
            if wanted:
                asked[kind] = sorted(wanted, reverse=True)
        return pathmtu.plan(asked, self._family, directions) if asked else None

    def learn(self, plan: Plan, evidence: Evidence) -> None:
        self.known = learned(self.known, plan.checks, evidence.sightings)


def crossing(plan: Plan, evidence: Evidence) -> tuple[str, ...]:
    """The kinds of which something crossed.

    Left out is what a daemon answers: dozens of requests would be too many for it.
    """
    facts = [found for found in (evidence.near, evidence.far) if found is not None]
    held = {port.port for found in facts for port in found.held if port.taken}
    tracks = follow(plan.checks, evidence.sightings)
    found = [
        check.kind
        for check in plan.checks
        if check.flow is Flow.NEW
        and check.kind in pathmtu.SIZED
        and check.size is None
        and check.destination_port not in held
        and any(track.arrived for track in tracks[check.number].values())
    ]
    return tuple(dict.fromkeys(found))


class Sizing(Drive):
    """One round: every size at once, in both directions, and a wait for what does not come."""

    async def run(self, secret: bytes) -> None:
        """As :meth:`Drive.run`."""
        await self._open(secret)
        try:
            for direction in ORDER:
                await self._all(direction, self.plan.requests(direction))
        except LinkLost:
            self._record.facts.pop(Side.FAR, None)
            raise
        finally:
            await self._close()

    async def _all(self, direction: Direction, requests: Sequence[Check]) -> None:
        if not requests:
            return
        self._progress(f"{direction}: which sizes cross whole?", 0.9)
        volleys = [Volley(check.number, 1, self.settings.shots) for check in requests]
        await self._fire(direction, volleys, GAP)
        await self._wait(volleys, self.settings.wait)
        for side in Side:
            await self._asked[side].ask(Collect(), Collected)
