"""Conducts the two stations through a run, and collects what both saw.

Round by round: source ports are opened, the other end is told of them, the shots are fired, and
the wait ends as soon as nothing is missing any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent import limits
from agent.control import (
    Await,
    Awaiting,
    Close,
    Closed,
    Collect,
    Collected,
    Fire,
    Firing,
    Open,
    Opened,
    Prepare,
    Prepared,
)
from agent.model import (
    CLIENT,
    TAKEN,
    Check,
    Client,
    Direction,
    Event,
    Facts,
    Flow,
    Kept,
    Limits,
    Prior,
    Side,
    Sighting,
    Volley,
)
from agent.orders import MAX_ADDRESSES
from probe.again import more_shots, opened, silent_beside_refused, spared
from probe.far.dial import LinkError
from probe.far.link import Asked, LinkLost
from probe.judge import translated
from probe.judge.evidence import Evidence, came_from
from probe.judge.opening import tuple_of
from probe.judge.tracks import is_stream, target
from probe.plan import ORDER, Plan
from probe.reel import Reel

GAP = 0.0005  # seconds between shots of the first round
PATIENT_GAP = 0.01  # of later rounds: spread out, so that a burst of loss cannot hit them all
BRIEF = 0.2  # seconds, and four round trips, before a silent check is asked again
WORD_SECONDS = 20  # between two words on the control connection during a long silence
POLITE_GAP = 1.1  # where a router limits its ICMP errors to one a second
CLOSE_SECONDS = 1.0
MAX_ROUNDS = 5
USUAL_SECONDS = 120.0  # for a run that waits for no firewall
SLOWEST = 4  # times the wait, at most, while news still comes in
POLITE_ROUNDS = 2
ONE = 1  # shot of a check that a service which is not ours gets as well; more only where need be


@dataclass(frozen=True, slots=True)
class Settings:
    shots: int = 3
    wait: float = 1.0  # seconds without news before silence counts
    state_timeout: float = 600.0
    rest: bool = False  # wait until firewalls have forgotten what would spoil a new flow
    keep: bool = False  # the packets themselves, of both ends
    client: Client = CLIENT  # of the Kerberos requests


@dataclass(slots=True)
class _Record:
    """What is known so far. Grows while the run goes on; read at any time."""

    sightings: list[Sighting] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    volleys: list[Volley] = field(default_factory=list)
    facts: dict[Side, Facts] = field(default_factory=dict)
    priors: dict[Side, Sequence[Prior]] = field(default_factory=dict)
    next_shot: Counter[int] = field(default_factory=Counter)
    rested: set[Direction] = field(default_factory=set)
    unsettled: Direction | None = None  # asked, and not waited for to the end


class Drive:
    """One run. ``evidence()`` is valid at any moment, also after an interruption."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        near: Asked,
        far: Asked,
        addresses: tuple[str, str, str, str],
        progress: Callable[[str, float], None] = lambda _text, _share: None,
    ) -> None:
        """``addresses``: near's own, the peer as near names it, far's own, near as far sees it
        ("" while that is not known).
        """
        self.plan = plan
        self.settings = settings
        self._asked = {Side.NEAR: near, Side.FAR: far}
        self._near, self._peer, self._far, self._seen_as = addresses
        self._progress = progress
        self.asked: Limits | None = None
        self.granted: Limits | None = None  # by the agent, as soon as the run is open
        self._record = _Record()
        self._vouched: dict[Direction, list[str]] = {direction: [] for direction in Direction}
        self._news = asyncio.Event()

    # -- what came in --------------------------------------------------------------------------

    def saw(self, sightings: Sequence[Sighting]) -> None:
        """Called with the sightings of either station as they come."""
        self._record.sightings += sightings
        self._news.set()

    def show(self, packets: Sequence[Kept]) -> None:
        """Called with the packets that either station has kept."""
        known = {check.number for check in self.plan.checks}
        self._record.kept += [kept for kept in packets if kept.check in known]

    def reel(self, purpose: str = "") -> Reel:
        """The packets so far."""
        record = self._record
        return Reel(self.plan.checks, tuple(record.volleys), tuple(record.kept), purpose)

    def wake(self) -> None:
        self._news.set()

    def evidence(self) -> Evidence:
        record = self._record
        return Evidence(
            sightings=tuple(record.sightings),
            volleys=tuple(record.volleys),
            near=record.facts.get(Side.NEAR),
            far=record.facts.get(Side.FAR),
            priors=dict(record.priors),
            near_address=self._near,
            far_address=self._far,
            near_seen_as=self._seen_as or came_from(self.plan.checks, record.sightings, self._near),
            rested=frozenset(record.rested),
        )

    @property
    def unsettled(self) -> Direction | None:
        """The requests among whose answers the run broke off: silence there proves nothing yet."""
        return self._record.unsettled

    # -- the run -------------------------------------------------------------------------------

    async def run(self, secret: bytes) -> None:
        """Opens, fires in both directions, collects. LinkLost when the far end breaks off.

        Cancelled, it still tells both ends to stop.
        """
        await self._open(secret)
        try:
            order = [direction for direction in self._order() if self.plan.requests(direction)]
            if order == [*ORDER] and await self._far_is_translated():
                order.reverse()
            for place, direction in enumerate(order):
                if self.settings.rest:
                    await self._rest(direction)
                self._record.unsettled = direction
                await self._one_direction(direction, place / 2)
                self._record.unsettled = None
        except LinkLost:
            self._record.facts.pop(Side.FAR, None)
            raise
        finally:
            await self._close()

    def _order(self) -> Sequence[Direction]:
        """Inbound first, but not where an address is translated, near's or far's.

        There inbound leaves state at the gateway that collides with the tuple outbound is mapped
        to: port 500 would be rewritten and ESP be dropped, by our own doing (seen with Linux).
        """
        far_translated = self._peer.partition("%")[0] != self._far.partition("%")[0]
        return ORDER[::-1] if far_translated or self.evidence().near_behind_nat else ORDER

    async def _far_is_translated(self) -> bool:
        """Where only what far begins is: its shots that are flows of their own show it first."""
        inbound = self.plan.requests(Direction.INBOUND)
        harmless = [check for check in inbound if tuple_of(check) is None]
        if len(harmless) in (0, len(inbound)):
            return False
        self._record.unsettled = Direction.INBOUND
        self._progress("inbound: asking", 0.0)
        await self._round(Direction.INBOUND, self._first(harmless), GAP)
        if not translated.sources(self._record.sightings, harmless, self._peer):
            return False
        await self._wait(self._record.volleys, self.settings.wait)
        await self._collect()
        return True

    async def _rest(self, direction: Direction) -> None:
        """Silence until what earlier runs, or this one, may have opened for ``direction`` is shut.

        The control connection says a word now and then: it is no part of any tuple that is asked.
        """
        record, timeout = self._record, self.settings.state_timeout
        ages = [prior.seconds for priors in record.priors.values() for prior in priors]
        seconds = max((timeout - age for age in ages), default=0.0)
        if opened(self.plan, replace(self.evidence(), priors={}), direction):
            seconds = timeout
            record.rested.add(direction)
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            share = 1 - left / seconds
            self._progress(f"{direction}: quiet for {left:.0f} s more, so firewalls forget", share)
            await asyncio.sleep(min(left, 1.0))
            if int(left) % WORD_SECONDS == 0:
                await self._collect()
        record.priors = {}

    async def _open(self, secret: bytes) -> None:
        checks = list(self.plan.checks)
        timeout, keep, client = (
            self.settings.state_timeout,
            self.settings.keep,
            self.settings.client,
        )
        self.asked = asked = self._wish()
        seen_as = self._seen_as or self._near
        ends = {
            Side.FAR: Open(secret, checks, self._far, seen_as, timeout, keep, asked, client),
            Side.NEAR: Open(secret, checks, self._near, self._peer, timeout, keep, asked, client),
        }
        for side, message in ends.items():
            opened = await self._asked[side].ask(message, Opened)
            self._record.facts[side] = opened.facts
            self._record.priors[side] = opened.priors
            if side is Side.FAR:
                self.granted = opened.granted

    def _wish(self) -> Limits:
        """What this run would like to have sent for it: its own pace, whatever it sends."""
        largest = max(map(limits.octets, self.plan.checks), default=limits.NATURAL)
        return Limits(1 / GAP, largest / GAP, self._seconds())

    def _seconds(self) -> float:
        """How long it takes at most, by all experience."""
        return USUAL_SECONDS + (2 * self.settings.state_timeout if self.settings.rest else 0.0)

    def _paced(self, volleys: Sequence[Volley], gap: float) -> float:
        """``gap``, or as many seconds more between two shots as the agent's limits ask for.

        Also where near sends: the agent answers as often.
        """
        if self.granted is None:
            return gap
        checks = {check.number: check for check in self.plan.checks}
        asked = [checks[volley.check] for volley in volleys]
        replies = [checks[check.partner] for check in asked if check.partner is not None]
        return max(gap, limits.gap(self.granted, [*asked, *replies]))

    async def _one_direction(self, direction: Direction, done: float) -> None:
        """Asks, asks again where the answer is not firm, and waits in full before it is silence."""
        start = len(self._record.volleys)
        fired = {volley.check for volley in self._record.volleys}
        requests = self.plan.requests(direction)
        first = self._first([check for check in requests if check.number not in fired])
        self._progress(f"{direction}: asking", done)
        if direction is Direction.INBOUND and spared(self.plan, self.evidence()):
            first = await self._towards_nat(first)
        await self._round(direction, first, GAP)
        for _ in range(POLITE_ROUNDS):
            silent = silent_beside_refused(self.plan, self.evidence(), direction)
            if not silent:
                break
            self._progress(f"{direction}: waiting for a router that limits its answers", done + 0.1)
            await self._round(direction, dict.fromkeys(silent, 1), POLITE_GAP)
        for number in range(MAX_ROUNDS):
            wanted = more_shots(self.plan, self.evidence(), direction)
            if not wanted:
                break
            share = done + (1 + number) / (2 * MAX_ROUNDS + 2)
            self._progress(f"{direction}: asking again, to be sure", share)
            await self._round(direction, wanted, PATIENT_GAP)
        await self._wait(self._record.volleys[start:], self.settings.wait)
        await self._collect()

    def _first(self, checks: Sequence[Check]) -> dict[int, int]:
        """With how many shots each is asked first."""
        known = self.evidence()
        shots = self.settings.shots
        return {c.number: ONE if known.serves_others(c) else shots for c in checks}

    async def _towards_nat(self, first: dict[int, int]) -> dict[int, int]:
        """Asks what does no harm; returns what may be asked as well, now that this is known."""
        held_back = spared(self.plan, self.evidence())
        harmless = {number: n for number, n in first.items() if number not in held_back}
        if harmless:
            await self._round(Direction.INBOUND, harmless, GAP)
        still = spared(self.plan, self.evidence())
        return {number: first[number] for number in held_back - still}

    async def _round(self, direction: Direction, wanted: Mapping[int, int], gap: float) -> None:
        if not wanted:
            return
        volleys = [
            Volley(number, self._record.next_shot[number] + 1, shots)
            for number, shots in wanted.items()
        ]
        await self._fire(direction, volleys, gap)

    async def _fire(self, direction: Direction, volleys: Sequence[Volley], gap: float) -> None:
        """Has one end send these shots, and waits for what becomes of them."""
        gap = self._paced(volleys, gap)
        origin = Side.NEAR if direction is Direction.OUTBOUND else Side.FAR
        other = Side.FAR if origin is Side.NEAR else Side.NEAR
        prepared = await self._asked[origin].ask(Prepare(list(volleys)), Prepared)
        await self._asked[other].ask(Await(prepared.ports, self._vouched_for(direction)), Awaiting)
        for volley in volleys:
            self._record.next_shot[volley.check] += volley.count
        self._record.volleys += volleys
        await self._asked[origin].ask(Fire(list(volleys), gap), Firing)
        duration = sum(volley.count for volley in volleys) * gap
        # What comes later than this is not lost by it: it counts whenever it comes.
        patience = min(self.settings.wait, BRIEF + 4 * self._asked[Side.FAR].rtt)
        await self._wait(volleys, duration + patience)
        await self._collect()

    def _vouched_for(self, direction: Direction) -> list[str]:
        """Where this direction's shots come from, as many as an agent takes."""
        vouched = self._vouched[direction]
        found = translated.given(self.plan, self.evidence(), direction)
        vouched += [address for address in found if address not in vouched]
        del vouched[MAX_ADDRESSES:]
        return list(vouched)

    async def _wait(self, volleys: Sequence[Volley], seconds: float) -> None:
        """Until every shot is accounted for, or for ``seconds`` without news of one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        last = loop.time() + SLOWEST * seconds
        missing = _Missing(self.plan, volleys)
        place = 0
        while True:
            self._news.clear()
            lost = self._asked[Side.FAR].lost
            if lost is not None:
                raise lost
            before = len(missing.shots)
            place = missing.update(self._record.sightings, place)
            if len(missing.shots) < before:  # news: a slow path is not a silent one
                end = max(end, min(loop.time() + seconds, last))
            left = end - loop.time()
            if not missing.shots or left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _collect(self) -> None:
        for side in (Side.FAR, Side.NEAR):
            collected = await self._asked[side].ask(Collect(), Collected)
            self._record.facts[side] = collected.facts

    async def _close(self) -> None:
        """Stops both ends. A far end that does not confirm it stops with the connection."""
        far = self._asked[Side.FAR]
        for side in (Side.NEAR, Side.FAR):
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS + 4 * far.rtt):
                    await self._asked[side].ask(Close(), Closed)


class _Missing:
    """The shots of one round whose fate is still open."""

    def __init__(self, plan: Plan, volleys: Sequence[Volley]) -> None:
        self._checks = {check.number: check for check in plan.checks}
        self.shots: set[tuple[int, int]] = set()
        self._limited: set[tuple[int, int]] = set()  # by a TTL: each fares as it fares
        # What is still to be fired is waited for, whatever became of the check's other shots: sent
        # after the other direction has opened the way, it would get in as a reply.
        self._unfired: set[tuple[int, int]] = set()
        self._gone: set[int | None] = set()
        for volley in volleys:
            partner = self._checks[volley.check].partner
            for shot in range(volley.first, volley.first + volley.count):
                self.shots.add((volley.check, shot))
                self._unfired.add((volley.check, shot))
                if volley.ttl is not None:
                    self._limited.add((volley.check, shot))
                elif partner is not None:
                    self.shots.add((partner, shot))

    def update(self, sightings: Sequence[Sighting], start: int) -> int:
        """Strikes off what ``sightings[start:]`` settles; returns where to go on from."""
        for sighting in sightings[start:]:
            check = self._checks.get(sighting.check)
            if sighting.event in (Event.SENT, Event.UNSENT):
                self._unfired.discard((sighting.check, sighting.shot))
            if (sighting.check, sighting.shot) in self._limited:
                if sighting.event in (Event.REFUSED, Event.ARRIVED, Event.UNSENT):
                    self.shots.discard((sighting.check, sighting.shot))
                continue
            if check is None or not self._settles(check, sighting):
                continue
            if sighting.event in (Event.DELIVERED, Event.REPLIED):
                self.shots.discard((check.number, sighting.shot))
                continue
            # Refused, or not sent: the check's other shots fare alike, and none is answered.
            self._gone |= {check.number, check.partner}
        self.shots = {
            pair for pair in self.shots if pair[0] not in self._gone or pair in self._unfired
        }
        return len(sightings)

    @staticmethod
    def _settles(check: Check, sighting: Sighting) -> bool:
        match sighting.event:
            case Event.DELIVERED if sighting.at is target(check):
                last = "request" if check.flow is Flow.NEW else "answer"
                return not is_stream(check) or sighting.stage == last
            case Event.REPLIED if sighting.stage == TAKEN:
                return sighting.at is target(check)
            case Event.REFUSED:
                return sighting.at is not target(check)
            case Event.UNSENT:
                return True
            case _:
                return False
