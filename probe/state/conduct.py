"""``probe state``: is the way back open only as a reply, and for how long after the last packet?

Carries out the steps of :mod:`probe.state.memory` with the two ends. Three checks are all it takes:
a request and its reply, both on one tuple, and a request that gets no answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.control import Answer, Answering, Await, Awaiting, Fire, Firing, Prepare, Prepared
from agent.errors import AgentError
from agent.model import Check, Direction, Event, Flow, Late, Side, Sighting, Tag, Volley
from agent.wire import Codec, codec
from agent.wire.icmp import describe
from probe.drive import BRIEF, WORD_SECONDS, Drive
from probe.far.dial import ProbeError
from probe.far.link import LinkLost
from probe.naming import service
from probe.plan import Plan, Planned
from probe.run import Progress, Request, Session, WrongRequest
from probe.state.memory import (
    TOUCH,
    Cold,
    Exchange,
    Finding,
    Measurement,
    OneWay,
    Replies,
    Silence,
    State,
    StateResult,
    Step,
    Told,
    Wanted,
    Way,
)
from scenarios import Expect

REQUEST, REPLY, ALONE = 1, 2, 3  # the numbers of the checks
LONGEST_SILENCES = 8  # as many, one after the other, may be waited for
LATE = 30_001  # the first number of a late reply; the others have their request's
ANSWERING = ("ike", "ike-nat-t", "kerberos-udp")  # what a service that is not ours answers as well


@dataclass(frozen=True, slots=True)
class StateRequest:
    """``bound``: of one silence, in seconds. ``wait``: first until earlier traffic is forgotten."""

    run: Request
    kind: str
    bound: float = 60.0
    one_way: bool = False
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """``error`` says why the measurement is not complete; "" when it is."""

    result: StateResult
    error: str = ""
    interrupted: bool = False


async def measure(request: StateRequest, progress: Progress) -> Measured:
    """The whole measurement. Raises WrongRequest where nothing can be tried."""
    session = _Session(request, progress)
    try:
        await session.perform()
    except WrongRequest:
        raise
    except (ProbeError, AgentError) as error:
        return Measured(session.found(complete=False), str(error))
    except asyncio.CancelledError:
        return Measured(session.found(complete=False), "interrupted", interrupted=True)
    finally:
        session.close()
    return Measured(session.found(complete=True))


def exit_code(measured: Measured) -> int:
    """0 the way back is open; 1 it is closed; 3 it could not be told; 130 interrupted."""
    if measured.interrupted:
        return 130
    state = measured.result.finding.state
    if measured.error or state is State.UNCLEAR:
        return 3
    return 1 if state in (State.CLOSED, State.NO_WAY_OUT) else 0


def measurable(kind: str) -> Codec:
    """The codec of ``kind``. WrongRequest where it has no late replies."""
    found = codec(kind)
    if found.stream or found.answered_by_kernel or not found.tagged or kind.endswith("-noise"):
        raise WrongRequest(
            f"{kind} cannot be measured: a reply by itself is no packet of it. Try esp, ah, ike, "
            "ike-nat-t, esp-in-udp, kerberos-udp or udp:PORT"
        )
    return found


def checks(kind: str, family: int, port: int | None) -> tuple[Check, ...]:
    """``port``: where near's requests leave from, for a kind that has a fresh one otherwise."""
    found = codec(kind)
    service_port = found.port
    if service_port is None:
        port = None
    elif found.fixed_source:
        port = service_port
    alone = port if service_port is None or found.fixed_source else None
    out, back, new = Direction.OUTBOUND, Direction.INBOUND, Flow.NEW
    return (
        Check(REQUEST, kind, out, new, family, None, port, service_port, REPLY),
        Check(REPLY, kind, back, Flow.REPLY, family, None, service_port, port, REQUEST),
        Check(ALONE, kind, out, new, family, None, alone, service_port),
    )


def _free_port() -> int:
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET, 2) as sock:
        sock.bind(("", 0))
        return int(sock.getsockname()[1])


class _Session(Session):
    """A session whose two ends are conducted by a Conduct."""

    def __init__(self, request: StateRequest, progress: Progress) -> None:
        measurable(request.kind)
        self._asked = request
        self._port = _free_port()
        super().__init__(request.run, progress)
        self.new_drive = partial(Conduct, request)

    def _plan(self, family: int) -> Plan:
        found = checks(self._asked.kind, family, self._port)
        return Plan(tuple(Planned(check, Expect.ANY) for check in found))

    def found(self, *, complete: bool) -> StateResult:
        drive = self._drive
        finding = drive.finding if isinstance(drive, Conduct) else Finding(State.UNCLEAR, "")
        asked, family = self._asked, self.plan.checks[0].family
        return StateResult(self.result(complete=complete), asked.kind, family, asked.bound, finding)


class Conduct(Drive):
    """Carries the steps out. ``finding`` may be read at any time."""

    def __init__(self, request: StateRequest, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._request = request
        self._codec = codec(request.kind)
        self._measurement: Measurement | None = None
        self._seen: dict[tuple[int, int], set[tuple[Side, Event]]] = defaultdict(set)
        self._refusals: dict[tuple[int, int], str] = {}
        self._next = {REQUEST: 1, ALONE: 1, REPLY: LATE}
        self._last = Tag(REQUEST, 1)  # the last request that was delivered
        self._fired = self._quiet = 0.0  # when the tuple's last packet set out, and was through
        self._waited = 0.0

    @property
    def finding(self) -> Finding:
        if self._measurement is None:
            return Finding(State.UNCLEAR, "")
        return self._measurement.finding()

    def _seconds(self) -> float:
        longest = self._request.bound * LONGEST_SILENCES
        return super()._seconds() + longest + self.settings.state_timeout * self._request.wait

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # -- the run -------------------------------------------------------------------------------

    async def run(self, secret: bytes) -> None:
        """As :meth:`Drive.run`."""
        await self._open(secret)
        try:
            await self._measure()
        except LinkLost:
            self._record.facts.pop(Side.FAR, None)
            raise
        finally:
            await self._close()

    async def _measure(self) -> None:
        request = self._request
        shared = self._codec.port is None or self._codec.fixed_source
        self._measurement = measurement = Measurement(
            Wanted(
                request.bound,
                request.one_way,
                shared,
                ages=self._codec.port is not None,
                prior=await self._prior(),
                behind_nat=self.evidence().near_behind_nat,
            )
        )
        held = self._held() or self._unplaced()
        if held:
            measurement.cause = held
            return
        course = measurement.steps()
        step = next(course)
        while True:
            told = await self._carry_out(step)
            try:
                step = course.send(told)
            except StopIteration:
                return

    async def _prior(self) -> str:
        """Earlier traffic that a firewall may remember; with ``wait``, when it is forgotten: ""."""
        timeout = self.settings.state_timeout
        priors = [prior for found in self._record.priors.values() for prior in found]
        if not priors:
            return ""
        youngest = min(priors, key=lambda prior: prior.seconds)
        if not self._request.wait:
            title = service(self._request.kind).title
            what = youngest.what.rstrip(",")
            return f"{title} was seen {youngest.seconds:.0f} s ago ({what})"
        await self._keep_silent(self._now() + timeout - youngest.seconds, "until firewalls forget")
        return ""

    def _held(self) -> str:
        """A service that is not ours, whose own packets would count as signs of life."""
        if self._request.kind not in ANSWERING:
            return ""
        for side, facts in self._record.facts.items():
            for held in facts.held:
                if held.taken and held.port == self._codec.port:
                    return (
                        f"UDP {held.port} is held by another program on the {side} host, whose own "
                        "packets would keep the flow alive. Stop it while this measures"
                    )
        return ""

    def _unplaced(self) -> str:
        """By ssh through a jump host, far may not know where near's packets come from."""
        if self.evidence().near_seen_as:
            return ""
        return (
            "near's address in far's eyes is not known: ssh goes through another host, and of the "
            "shots that are no part of the flow none reached far. Use --control tcp"
        )

    # -- what came in --------------------------------------------------------------------------

    def saw(self, sightings: Sequence[Sighting]) -> None:
        family = self.plan.checks[0].family
        for sighting in sightings:
            place, icmp = (sighting.check, sighting.shot), sighting.icmp
            self._seen[place].add((sighting.at, sighting.event))
            if sighting.event is Event.UNSENT:
                self._refusals[place] = f"{sighting.at} could not send it ({sighting.note})"
            elif icmp is not None:
                words = f"{icmp.sender} says {describe(family, icmp.type, icmp.code)}"
                self._refusals.setdefault(place, words)
        super().saw(sightings)

    def _way(self, check: int, shots: range) -> Way:
        origin, target = Side.NEAR, Side.FAR
        if check == REPLY:
            origin, target = target, origin
        sent = arrived = delivered = 0
        refused = ""
        for shot in shots:
            seen = self._seen[check, shot]
            through = {(target, Event.ARRIVED), (target, Event.DELIVERED)} & seen
            arrived += bool(through)
            delivered += (target, Event.DELIVERED) in seen
            sent += bool(through) or (origin, Event.LEFT) in seen
            refused = refused or self._refusals.get((check, shot), "")
        return Way(sent, arrived, delivered, refused)

    def _spoiled(self) -> str:
        for side, facts in self._record.facts.items():
            if facts.live:
                title = service(self._request.kind).title
                return (
                    f"other {title} traffic between the two hosts was seen at {side}, which keeps "
                    "the flow alive: stop it while this measures"
                )
            if facts.carried_out or facts.carried_in:
                return (
                    "the control messages of this measurement rode in packets of the same flow, "
                    "which keeps it alive: it can only be measured with a control connection"
                )
            if facts.interrupted:
                return f"{side} {facts.interrupted} meanwhile"
            if facts.capture_dropped:
                return f"{side}'s capture dropped {facts.capture_dropped} packets: it was blind"
        return ""

    # -- the steps -----------------------------------------------------------------------------

    async def _carry_out(self, step: Step) -> Told:
        match step:
            case Cold(shots):
                self._tell("is the way back open to anything?")
                return await self._replies(Tag(REQUEST, 1), shots, cold=True)
            case Exchange(shots, gap):
                self._tell("opening the flow")
                return await self._ask(REQUEST, shots, gap)
            case OneWay():
                self._tell("opening a flow that gets no answer")
                return await self._ask(ALONE, 1, TOUCH)
            case Replies(shots):
                self._tell("a late reply")
                return await self._replies(self._last, shots, cold=False)
            case Silence(seconds, why):
                await self._keep_silent(self._quiet + seconds, why or "then a late reply")
                return Told(spoiled=self._spoiled())

    async def _ask(self, check: int, count: int, gap: float) -> Told:
        shots = self._take(check, count)
        volleys = [Volley(check, shots.start, count)]
        gap = self._paced(volleys, gap)
        near, far = self._asked[Side.NEAR], self._asked[Side.FAR]
        prepared = await near.ask(Prepare(volleys), Prepared)
        if prepared.ports:
            await far.ask(Await(prepared.ports), Awaiting)
        await near.ask(Fire(volleys, gap), Firing)
        self._fired = self._now() + (count - 1) * gap
        await self._until(lambda: self._is_done(check, shots), (count - 1) * gap + self._patience())
        self._quiet = self._now()
        await self._collect()
        there = self._way(check, shots)
        for shot in shots:
            if (Side.FAR, Event.DELIVERED) in self._seen[check, shot]:
                self._last = Tag(check, shot)
        back = self._way(REPLY, shots) if check == REQUEST else Way()
        return Told(there, back, spoiled=self._spoiled())

    def _is_done(self, check: int, shots: range) -> bool:
        """Nothing more will come of these."""
        if check == ALONE:
            return all((Side.FAR, Event.DELIVERED) in self._seen[check, shot] for shot in shots)
        return all((Side.NEAR, Event.DELIVERED) in self._seen[REPLY, shot] for shot in shots)

    async def _replies(self, request: Tag, count: int, *, cold: bool) -> Told:
        shots = self._take(REPLY, count)
        low = self._now() - self._quiet
        late = Late(request, REPLY, shots.start, count, cold)
        gap = self._paced([Volley(REPLY, shots.start, count)], TOUCH)
        await self._asked[Side.FAR].ask(Answer(late, gap), Answering)
        high = self._now() + (count - 1) * gap - self._fired
        # Where there were replies before, the rest of a silence is waited for by the last of them.
        patience = self.settings.wait if count > 3 else self._patience()
        done = partial(self._all_came, shots)
        await self._until(done, (count - 1) * gap + patience)
        await self._collect()
        back = self._way(REPLY, shots)
        self._quiet = self._now()
        return Told(back=back, quiet=(low, high), spoiled=self._spoiled())

    def _all_came(self, shots: range) -> bool:
        return all((Side.NEAR, Event.DELIVERED) in self._seen[REPLY, shot] for shot in shots)

    def _take(self, check: int, count: int) -> range:
        start = self._next[check]
        self._next[check] += count
        return range(start, start + count)

    # -- waiting -------------------------------------------------------------------------------

    def _patience(self) -> float:
        return min(self.settings.wait, BRIEF + 4 * self._asked[Side.FAR].rtt)

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        end = self._now() + seconds
        while not done():
            self._news.clear()
            lost = self._asked[Side.FAR].lost
            if lost is not None:
                raise lost
            left = end - self._now()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return

    async def _keep_silent(self, end: float, why: str) -> None:
        """Nothing on the tuple. The control connection says a word now and then."""
        start = word = self._now()
        while (left := end - self._now()) > 0:
            self._tell(f"silent for {left:.0f} s more, {why}", self._now() - start, left)
            await asyncio.sleep(min(left, 1.0))
            lost = self._asked[Side.FAR].lost
            if lost is not None:
                raise lost
            if self._now() - word > WORD_SECONDS:
                word = self._now()
                await self._collect()
        self._waited += self._now() - start
        if self._now() - start > 0.5:
            await self._collect()

    def _tell(self, text: str, passed: float = 0.0, at_least: float = 0.0) -> None:
        """``passed`` and ``at_least``: seconds of the silence that goes on, so far and to come."""
        remaining = self._measurement.remaining() if self._measurement else 0.0
        left = max(at_least, remaining - passed)
        done = self._waited + passed
        self._progress(f"{text}; about {left:.0f} s to go", done / max(done + left, 1.0))
