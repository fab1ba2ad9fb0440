"""``probe run``: from a host name to a judged result."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.control import Welcome
from agent.errors import AgentError, in_one_line
from agent.ledger import Ledger, state_directory
from agent.linux.host import Host as Sockets
from agent.linux.sockets import interface_mtu
from agent.model import Direction, Kept, Side, Sighting
from agent.station import Station, no_sockets
from probe import fresh, remarks
from probe import plan as planning
from probe.correlate import correlate
from probe.drive import Drive, Settings
from probe.far import agreement
from probe.far.dial import ProbeError, resolve, route
from probe.far.link import Here, There
from probe.far.reach import Far, Reach
from probe.judge import pathmtu
from probe.judge.carried import carriage
from probe.judge.changes import changes
from probe.judge.evidence import Evidence
from probe.judge.inspection import findings, with_noise
from probe.result import Conclusion, Host, Outcome, PathFacts, RunResult, Verdict
from probe.sizing import MAX_ROUNDS, SHOTS, SHOTS_IF_LOSSY, Search, Sizing
from scenarios import Scenario, load

if TYPE_CHECKING:
    from probe.far.ssh import Ssh

Progress = Callable[[str, float], None]
MTU_SEARCH = "one size of many that were tried for the path's MTU"
KB = "kb233256"  # the scenario, unless another is asked for


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator asked for."""

    peer: str
    key: bytes
    port: int = 5088
    family: int | None = None  # None: as the name resolves
    older_keys: tuple[bytes, ...] = ()  # for an agent that does not know ``key`` yet
    scenario: str = KB
    only: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = planning.ORDER
    strict: bool = False
    sizes: bool = False  # what can be large in real life is tried large as well
    alias: str = ""  # another address of near's, for the inbound half: a tuple of its own
    fresh_address: bool = False  # the same with an address drawn out of near's /64 (IPv6)
    control: str = "auto"  # "tcp", "inband", "ssh", or the second where the first fails
    ssh: Ssh | None = None  # how the agent is started, with control "ssh"
    inspect: bool = False  # beside the real messages, noise of the same size
    resting: frozenset[tuple[object, ...]] = frozenset()  # tuples that are left alone this time
    settings: Settings = field(default_factory=Settings)

    @property
    def options(self) -> tuple[str, ...]:
        """What was asked for beyond the usual and can make two runs differ, as it is typed."""
        settings, usual = self.settings, Settings()
        typed = {
            "--only": ",".join(self.only),
            "--direction": self.directions[0] if len(self.directions) == 1 else "",
            "--strict": self.strict,
            "--sizes": self.sizes,
            "--inspect": self.inspect,
            "--control": self.control if self.control in ("inband", "ssh") else "",
            "--alias": self.alias,
            "--fresh": "address" if self.fresh_address else "wait" if settings.rest else "",
            "--shots": settings.shots if settings.shots != usual.shots else "",
            "--timeout": f"{settings.wait:g}" if settings.wait != usual.wait else "",
            "--state-timeout": (
                f"{settings.state_timeout:g}"
                if settings.state_timeout != usual.state_timeout
                else ""
            ),
        }
        return tuple(
            name if value is True else f"{name}={value}" for name, value in typed.items() if value
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """``error`` says why the run is not complete; "" when it is."""

    result: RunResult
    error: str = ""
    interrupted: bool = False


async def run(request: Request, progress: Progress, new: type[Session] | None = None) -> Finished:
    """Runs the whole test. Raises ScenarioError or WrongRequest where nothing can be tried.

    ``new``: makes a session of another sort than the one with an agent.
    """
    run_ = (new or Session)(request, progress)
    try:
        await run_.perform()
    except WrongRequest:
        raise
    except (ProbeError, AgentError) as error:
        return Finished(run_.result(complete=False, error=str(error)), str(error))
    except asyncio.CancelledError:
        return Finished(
            run_.result(complete=False, error="interrupted"), "interrupted", interrupted=True
        )
    finally:
        run_.close()
    return Finished(run_.result(complete=True))


class WrongRequest(ProbeError):
    """What was asked for makes no sense: the command line is wrong, not the path."""


class Session:
    """Near's side of a run, from the peer's name on.

    ``plan`` is there as soon as there is something to show; ``new_drive`` makes what conducts the
    two ends.
    """

    new_drive: Callable[..., Drive]
    control = "tcp"  # what the two ends talk by

    def __init__(self, request: Request, progress: Progress) -> None:
        self.request = request
        self.progress = progress
        self.new_drive = Drive
        self._scenario: Scenario = load(request.scenario)
        self._mtu = 1500  # until the route is known
        self.plan = self._plan(request.family or 4)
        self._started = time.time()
        self._clock = time.monotonic()
        self._drive: Drive | None = None  # the one under way, and of each leg so far
        self._drives: list[Drive] = []
        self._sockets = Sockets()
        self._ledger = Ledger(state_directory(os.environ) / "flows.sqlite")
        self._station = Station(Side.NEAR, self._sockets, self._ledger, self._saw, self._show)
        self._welcome: Welcome | None = None
        self._address = ""
        self._near = ""
        self._rtt: float | None = None
        self._faults: list[str] = []
        self._remarks: list[str] = []
        self._searches: list[Drive] = []  # for the path's MTU
        self._reach: Reach | None = None  # once the far host's address is known
        self._ranges: dict[pathmtu.Question, pathmtu.Range] = {}

    def _plan(self, family: int) -> planning.Plan:
        plan = planning.make(self._scenario_asked(), family, self.request.directions)
        if not plan.planned:
            raise WrongRequest(
                f"scenario {self._scenario.name} has no row left to test: "
                "look at --only and --direction"
            )
        return planning.without(plan, self.request.resting)

    def _scenario_asked(self) -> Scenario:
        """The scenario, with what the options add to it and take from it."""
        request, scenario = self.request, self._scenario
        if request.scenario == KB:  # who names a kind himself has no scenario in mind
            scenario = planning.with_kinds(scenario, request.only)
        if request.sizes:
            scenario = planning.with_sizes(scenario, self._mtu)
        if request.inspect:
            scenario = with_noise(scenario)
        return planning.only(scenario, request.only)

    def _show(self, packets: list[Kept]) -> None:
        if self._drive is not None:
            self._drive.show(packets)

    def _saw(self, sightings: list[Sighting]) -> None:
        if self._drive is not None:
            self._drive.saw(sightings)

    async def perform(self) -> None:
        request = self.request
        family = await self._find_the_way()
        if request.alias or request.fresh_address:
            await self._from_two_addresses(family)
        else:
            await self._leg(planning.ORDER, self._near, family)
        if request.sizes:
            await self._measure_mtu(family)

    async def _find_the_way(self) -> int:
        """The family of the addresses, now that both are known. LinkError, AgentError if not."""
        request = self.request
        asyncio.get_running_loop().set_exception_handler(self._note_fault)
        family, self._address = await resolve(request.peer, request.port, request.family)
        self._near = route(self._address, family)
        self._mtu = interface_mtu(self._address)
        self.plan = self._plan(family)
        try:
            self._sockets.open()  # before the far host is troubled
        except OSError as error:
            raise AgentError(no_sockets(Side.NEAR, error)) from error
        return family

    async def _from_two_addresses(self, family: int) -> None:
        # Inbound towards another address of ours: whatever it opens, outbound travels elsewhere.
        other = self._other_address(family)
        self._remarks.append(f"inbound was asked towards {other}, outbound from {self._near}")
        async with fresh.borrowed(other, family, self._address):
            # Outbound first: towards a NAT, inbound would leave state in its way (see Drive).
            for direction in planning.ORDER[::-1]:
                if planning.part(self.plan, direction).planned:
                    near = other if direction is Direction.INBOUND else self._near
                    await self._leg((direction,), near, family)

    async def _measure_mtu(self, family: int) -> None:
        """The path's MTU for what crossed, in rounds of many sizes at once."""
        for drive in tuple(self._drives):
            missing = sum(
                carriage(drive.plan, drive.evidence(), direction).missing
                for direction in planning.ORDER
            )
            settings = replace(
                self.request.settings, shots=SHOTS_IF_LOSSY if missing else SHOTS, rest=False
            )
            search = Search(drive.plan, drive.evidence(), family, self._mtu)
            for _ in range(MAX_ROUNDS):
                plan = search.next_plan()
                if plan is None:
                    break
                there, welcome = await self._connect(family, "")
                try:
                    round_ = self._new_drive(Sizing, plan, self._near, there, welcome, settings)
                    self._searches.append(round_)
                    await round_.run(secrets.token_bytes(32))
                finally:
                    await there.close()
                search.learn(plan, round_.evidence())
            self._ranges |= search.known

    def _other_address(self, family: int) -> str:
        if not self.request.alias and family != 6:
            raise WrongRequest(
                f"--fresh address is drawn in IPv6, and {self._address} is an IPv4 address: give "
                "--alias and a free address of this host's network, or --fresh wait"
            )
        other = self.request.alias or fresh.draw(self._near)
        if other in (self._near, self._address) or (":" in other) != (family == 6):
            raise WrongRequest(
                f"--alias {other}: give a free IPv{family} address of this host's network, other "
                f"than {self._near}, from which it talks to the peer anyway"
            )
        return other

    async def _leg(self, directions: Sequence[Direction], near: str, family: int) -> None:
        """One control connection from ``near``, and the checks of ``directions`` beside it."""
        self.progress("connecting to the agent", 0.0)
        there, welcome = await self._connect(family, near if near != self._near else "")
        try:
            if 0 < welcome.mtu < self._mtu and self.request.sizes:
                self._mtu = welcome.mtu  # no host can take what is larger than its own link
                self.plan = self._plan(family)
            plan = self.plan
            if len(directions) == 1:
                plan = planning.part(plan, directions[0])
            await self._conduct(plan, near, there, welcome)
        finally:
            await there.close()

    async def _connect(self, family: int, source: str) -> tuple[There, Welcome]:
        if self._reach is None:
            request = self.request
            keys = request.key, *request.older_keys
            far = Far(self._address, request.port, keys, request.control, request.peer, request.ssh)
            host = self._near, self._sockets, self._ledger
            self._reach = Reach(far, *host, self._saw, self._show, self.progress)
        return await self._reach.connect(family, source)

    async def _conduct(
        self, plan: planning.Plan, near: str, there: There, welcome: Welcome
    ) -> None:
        self._welcome = welcome
        self._rtt = there.rtt * 1e3
        settings = self.request.settings
        drive = self._new_drive(self.new_drive, plan, near, there, welcome, settings)
        self._drives.append(drive)
        await drive.run(secrets.token_bytes(32))

    def _new_drive(
        self,
        new: Callable[..., Drive],
        plan: planning.Plan,
        near: str,
        there: There,
        welcome: Welcome,
        settings: Settings,
    ) -> Drive:
        """What conducts near's new station and ``there``; both report to it from now on."""
        self._station = Station(
            Side.NEAR,
            self._sockets,
            self._ledger,
            self._saw,
            self._show,
            peer_own=welcome.address,
        )
        self._drive = drive = new(
            plan,
            settings,
            Here(self._station),
            there,
            (near, self._address, welcome.address, welcome.seen_as),
            self.progress,
        )
        there.on_lost = drive.wake
        return drive

    # -- the result ----------------------------------------------------------------------------

    def result(self, *, complete: bool, error: str = "") -> RunResult:
        conclusions, notes = self._conclude()
        mtu = pathmtu.conclude(self._ranges)
        agreed = agreement.agreed(self._drives, self._welcome)
        welcome = self._welcome
        return RunResult(
            scenario=self._scenario.name,
            started=self._started,
            seconds=time.monotonic() - self._clock,
            complete=complete,
            near=Host(
                socket.gethostname(),
                self._near,
                __version__,
                welcome.seen_as if welcome else "",
            ),
            far=Host(
                welcome.name if welcome else self.request.peer,
                welcome.address if welcome else self._address,
                welcome.version if welcome else "",
                self._address,
            ),
            path=PathFacts(
                rtt_ms=self._rtt,
                control=self._reach.control if self._reach else self.control,
                near_behind_nat=any(d.evidence().near_behind_nat for d in self._drives),
                carriage={
                    direction: carriage(drive.plan, drive.evidence(), direction)
                    for drive in self._drives
                    for direction in planning.ORDER
                    if drive.plan.requests(direction)
                },
                mtu=mtu,
            ),
            agreed=agreed,
            conclusions=conclusions,
            reels=(
                *(drive.reel() for drive in self._drives),
                *(drive.reel(MTU_SEARCH) for drive in self._searches),
            ),
            notes=tuple(
                dict.fromkeys(
                    [
                        *findings(conclusions),
                        *pathmtu.sentences(mtu),
                        *(() if self.request.only else self._scenario.notes),
                        *(self._reach.notes() if self._reach else ()),
                        *self._remarks,
                        *agreement.sentences(agreed),
                        *notes,
                        *self._troubles(),
                    ]
                )
            ),
            options=self.request.options,
            error=error,
        )

    def _conclude(self) -> tuple[tuple[Conclusion, ...], list[str]]:
        """What the legs so far say of the plan's checks, in its order, and notes on the hosts."""
        strict = self.request.strict
        found = {c.check.number: c for c in correlate(self.plan, Evidence(), strict=strict)}
        notes: list[str] = []
        for drive in self._drives:
            notes += changes(drive.plan, drive.evidence())
            evidence = replace(drive.evidence(), unsettled=drive.unsettled)
            told = correlate(drive.plan, evidence, strict=strict)
            found |= {conclusion.check.number: conclusion for conclusion in told}
            notes += remarks.of_hosts(evidence)
        for drive in self._searches:
            notes += remarks.troubles(drive.evidence())
        return tuple(found[check.number] for check in self.plan.checks), notes

    def _troubles(self) -> list[str]:
        """What came up since the station was last asked, its closing words included."""
        return [f"{Side.NEAR}: {trouble}" for trouble in (*self._ledger.troubles, *self._faults)]

    def _note_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = in_one_line(error) if error is not None else context.get("message", "")
        self._faults.append(f"a fault in this program: {what}")

    def close(self) -> None:
        if self._reach is not None:
            self._reach.close()
        self._station.close()
        self._sockets.close()
        self._ledger.close()


def exit_code(finished: Finished) -> int:
    """0 as expected; 1 something is not; 3 it could not be tested; 130 interrupted."""
    if finished.interrupted:
        return 130
    if finished.error:
        return 3
    conclusions = finished.result.conclusions
    if all(conclusion.outcome is Outcome.NOT_APPLICABLE for conclusion in conclusions):
        return 3
    verdicts = {conclusion.verdict for conclusion in conclusions}
    if verdicts & {Verdict.FAIL, Verdict.WARN}:
        return 1
    return 3 if Verdict.ERROR in verdicts else 0
