"""``probe trace``: conducts the walk, from both ends, and has it concluded.

First the question of ``probe run`` for each direction: does the kind get through at all? Then shots
with a rising TTL, of that kind and of one that gets through; and at last, a second apart, what a
router's limit on ICMP errors may have hidden.

The order matters. Inbound is surveyed and walked before the kind is sent outbound at all, so that
no stateful firewall takes the walk for a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agent.errors import AgentError
from agent.model import Check, Direction, Side, Volley
from probe import plan as planning
from probe.correlate import correlate
from probe.drive import Drive
from probe.far import hostnames
from probe.far.dial import ProbeError
from probe.far.link import LinkLost
from probe.judge.evidence import Evidence
from probe.naming import service
from probe.plan import Plan
from probe.result import Conclusion, Outcome
from probe.run import Progress, Request, Session
from probe.trace.conclusion import TraceResult, Way, conclude
from probe.trace.hops import ARRIVED, DEAD, THROUGH, Case, Walked, distance, limited
from scenarios import Row, Scenario

BASELINE = "icmp-echo"
SUBJECT_SHOTS, REFERENCE_SHOTS = 3, 2  # with each TTL: together within the six that Linux answers
STEP = 4  # hops at once, where the distance is not known
SILENT = 4  # hops in a row without an answer end the walk
WALK_GAP = 0.01
POLITE_GAP = 1.1  # seconds between two shots with one TTL
MAX_POLITE = 9


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """``kind`` None: the first of the KB's kinds that does not get through."""

    run: Request
    kind: str | None = None
    max_hops: int = 30
    names: bool = False  # ask the resolver for names


@dataclass(frozen=True, slots=True)
class Traced:
    """``error`` says why the walk is not complete; "" when it is."""

    result: TraceResult
    error: str = ""
    interrupted: bool = False


async def trace(request: TraceRequest, progress: Progress) -> Traced:
    """The whole walk. Raises ScenarioError or WrongRequest where nothing can be tried."""
    session = _Tracing(request, progress)
    try:
        await session.perform()
        progress("looking up names", 1.0)
        found = session.traced(complete=True)
        names = await hostnames.names(_addresses(found), ask=request.names)
    except (ProbeError, AgentError) as error:
        return Traced(session.traced(complete=False), str(error))
    except asyncio.CancelledError:
        return Traced(session.traced(complete=False), "interrupted", interrupted=True)
    finally:
        session.close()
    return Traced(replace(found, names=names))


def _addresses(result: TraceResult) -> set[str]:
    hops = {address for way in result.ways for hop in way.hops for address in hop.addresses}
    return hops | {result.run.near.address, result.run.far.address}


def exit_code(traced: Traced) -> int:
    """0 it gets through both ways; 1 it dies somewhere; 3 it could not be tested; 130."""
    if traced.interrupted:
        return 130
    if traced.error:
        return 3
    outcomes = {way.outcome for way in traced.result.ways}
    good = {Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.NOT_APPLICABLE}
    untested = {Outcome.NOT_SENT, Outcome.UNOBSERVED}
    if outcomes - good - untested:
        return 1
    return 3 if outcomes & untested or outcomes <= {Outcome.NOT_APPLICABLE} else 0


class _Tracing(Session):
    """A session whose two ends are conducted by a Walk."""

    def __init__(self, request: TraceRequest, progress: Progress) -> None:
        self._trace = request
        super().__init__(request.run, progress)
        self.new_drive = partial(Walk, request)

    def _plan(self, family: int) -> Plan:
        rows = [row for row in self._scenario.rows if row.source_port is None]
        known = {row.kind for row in rows}
        rows += [Row(kind) for kind in (self._trace.kind, BASELINE) if kind and kind not in known]
        scenario = Scenario(self._scenario.name, "", "", tuple(rows))
        return planning.make(scenario, family)

    def traced(self, *, complete: bool) -> TraceResult:
        run = self.result(complete=complete)
        walk = self._drive
        if not isinstance(walk, Walk):
            kind = self._trace.kind or self.plan.checks[0].kind
            return TraceResult(run, kind, {}, ())
        kind = walk.kind or self.plan.checks[0].kind
        others = _others(kind, walk.conclusions())
        run = replace(run, notes=(*run.notes, *others))
        return TraceResult(run, kind, walk.references(), walk.ways())


def _others(kind: str, conclusions: Iterable[Conclusion]) -> list[str]:
    """What else did not get through: each wants a walk of its own."""
    failed: dict[str, list[str]] = {}
    for conclusion in conclusions:
        check = conclusion.check
        if check.kind not in (kind, BASELINE) and conclusion.outcome in DEAD:
            failed.setdefault(check.kind, []).append(check.direction)
    return [
        f"{service(other).rule} does not get through either, {' and '.join(directions)}: trace it "
        f"with --kind {other}"
        for other, directions in failed.items()
    ]


class Walk(Drive):
    """``kind`` is the kind whose way is walked, as soon as it is known."""

    def __init__(self, request: TraceRequest, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kind = request.kind
        self._max_hops = request.max_hops
        self._whole = self.plan
        self._walked: list[Direction] = []
        self._surveyed: list[Direction] = []

    # -- the run -------------------------------------------------------------------------------

    async def run(self, secret: bytes) -> None:
        """As :meth:`Drive.run`."""
        await self._open(secret)
        try:
            for place, direction in enumerate(self._order()):
                await self._survey(direction, place / 2)
                if self.kind is None:
                    self.kind = self._failing(direction)
                if self.kind is not None:
                    await self._walk(direction, place / 2 + 0.25)
            if self.kind is None:
                self.kind = next(c.kind for c in self._whole.checks if c.kind != BASELINE)
            for direction in self._order():
                if direction not in self._walked:
                    await self._walk(direction, 0.9)
        except LinkLost:
            self._record.facts.pop(Side.FAR, None)
            raise
        finally:
            self.plan = self._whole
            await self._close()

    async def _survey(self, direction: Direction, done: float) -> None:
        """Which kinds get through? Where one is named, no more than it takes to compare it."""
        self._record.unsettled = direction
        self._surveyed.append(direction)
        first = {self.kind, BASELINE} if self.kind else {c.kind for c in self._whole.checks}
        await self._ask(direction, first, done)
        if self.reference(direction, through=True) is None:
            await self._ask(direction, {c.kind for c in self._whole.checks} - first, done)
        self._record.unsettled = None

    async def _ask(self, direction: Direction, kinds: set[str], done: float) -> None:
        asked = tuple(p for p in self._whole.planned if p.check.kind in kinds)
        if asked:
            self.plan = Plan(asked)
            try:
                await self._one_direction(direction, done)
            finally:
                self.plan = self._whole

    def _failing(self, direction: Direction) -> str | None:
        """The first kind that dies on its way, else the first that fares ill otherwise."""
        good = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.NOT_APPLICABLE)
        ill = [
            c
            for c in self.conclusions()
            if c.check.direction is direction and c.check.kind != BASELINE and c.outcome not in good
        ]
        ill.sort(key=lambda conclusion: conclusion.outcome not in DEAD)
        return ill[0].check.kind if ill else None

    # -- the walk ------------------------------------------------------------------------------

    async def _walk(self, direction: Direction, done: float) -> None:
        self._walked.append(direction)
        subject = self.conclusion(direction)
        if subject is None or subject.outcome not in (*DEAD, *ARRIVED):
            return
        name = service(subject.check.kind).title
        self._progress(f"{direction}: walking towards the other end with {name}", done)
        await self._climb(direction)
        for number in range(MAX_POLITE):
            wanted = Case(self._evidence(direction)).wanted()
            if not wanted:
                return
            share = done + 0.2 * (1 + number) / MAX_POLITE
            self._progress(f"{direction}: asking silent hops again, a second apart", share)
            await asyncio.sleep(POLITE_GAP)
            await self._shoot(direction, [(check, ttl, 1) for check, ttl in wanted])

    async def _climb(self, direction: Direction) -> None:
        """Every hop as far as the way is long; where that is not known, until nobody answers."""
        routers = distance(self._requests(direction), self._full().sightings)
        subject, reference = self.conclusion(direction), self.reference(direction)
        assert subject is not None
        low, high = 1, STEP if routers is None else routers
        while low <= self._max_hops:
            high = min(high, self._max_hops)
            volleys = [(subject.check.number, ttl, SUBJECT_SHOTS) for ttl in range(low, high + 1)]
            if reference is not None:
                # One hop further: a firewall that sets the TTL anew makes the way look shorter.
                ttls = range(low, high + 1 + (routers is not None))
                number = reference.check.number
                volleys = [(number, ttl, REFERENCE_SHOTS) for ttl in ttls] + volleys
            if volleys:
                await self._shoot(direction, volleys)
            case = Case(self._evidence(direction))
            if case.end is not None or high - case.deepest >= SILENT:
                return
            if routers is not None and case.deepest <= routers:
                return
            routers = None
            low, high = high + 1, high + STEP

    async def _shoot(self, direction: Direction, shots: list[tuple[int, int, int]]) -> None:
        """(check, TTL, how many) each."""
        volleys: list[Volley] = []
        next_shot = self._record.next_shot.copy()
        for check, ttl, number in shots:
            volleys.append(Volley(check, next_shot[check] + 1, number, ttl))
            next_shot[check] += number
        await self._fire(direction, volleys, WALK_GAP)

    # -- what it brought to light ----------------------------------------------------------------

    def _requests(self, direction: Direction) -> tuple[Check, ...]:
        return self._whole.requests(direction)

    def _full(self) -> Evidence:
        """Without the shots whose TTL kept them from going all the way."""
        whole = super().evidence()
        short = limited(whole.volleys)
        partners = {check.number: check.partner for check in self._whole.checks}
        hidden = {*short, *((partners[check], shot) for check, shot in short)}
        return replace(
            whole,
            sightings=tuple(s for s in whole.sightings if (s.check, s.shot) not in hidden),
            volleys=tuple(volley for volley in whole.volleys if volley.ttl is None),
        )

    def evidence(self) -> Evidence:
        return self._full()

    def conclusions(self) -> tuple[Conclusion, ...]:
        """Of the requests, in the directions that were surveyed."""
        evidence = replace(self._full(), unsettled=self.unsettled)
        return tuple(
            conclusion
            for conclusion in correlate(self._whole, evidence)
            if conclusion.check.direction in self._surveyed
            and conclusion.check in self._requests(conclusion.check.direction)
            and any(v.check == conclusion.check.number for v in evidence.volleys)
        )

    def conclusion(self, direction: Direction) -> Conclusion | None:
        return next(
            (
                c
                for c in self.conclusions()
                if c.check.direction is direction and c.check.kind == self.kind
            ),
            None,
        )

    def reference(self, direction: Direction, *, through: bool = False) -> Conclusion | None:
        """The kind to compare with: ICMP echo where it gets through, or another that does.

        Where none does: ICMP echo all the same, or None if only one that is ``through`` will do.
        """
        others = [
            c
            for c in self.conclusions()
            if c.check.direction is direction and c.check.kind != self.kind
        ]
        others.sort(key=lambda c: c.check.kind != BASELINE)
        for conclusion in others:
            if conclusion.outcome in THROUGH:
                return conclusion
        return None if through else next(iter(others), None)

    def references(self) -> dict[Direction, str]:
        found = {direction: self.reference(direction) for direction in self._walked}
        return {direction: c.check.kind for direction, c in found.items() if c is not None}

    def _evidence(self, direction: Direction) -> Walked:
        subject = self.conclusion(direction)
        assert subject is not None
        everything = super().evidence()
        outbound = direction is Direction.OUTBOUND
        return Walked(
            subject,
            self.reference(direction),
            everything.volleys,
            everything.sightings,
            self._peer if outbound else self._seen_as or self._near,
            everything.interrupted,
        )

    def ways(self) -> tuple[Way, ...]:
        """In the order in which they were first asked, which decides what one opens for another."""
        found: list[Way] = []
        for direction in self._surveyed:
            if direction not in self._walked or self.conclusion(direction) is None:
                continue
            crossed = max((way.forwarder or 0 for way in found), default=0)
            found.append(conclude(self._evidence(direction), crossed))
        return tuple(found)
