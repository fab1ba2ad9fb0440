"""One end of a run without contact: waits for its hour, shoots, listens, and returns its record.

The other end does the same by its own clock. Nothing is asked of it, and nothing told.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from agent import __version__
from agent.control import (
    Await,
    Awaiting,
    Close,
    Closed,
    Collect,
    Collected,
    Fire,
    Firing,
    Message,
    Open,
    Opened,
    Prepare,
    Prepared,
)
from agent.errors import AgentError
from agent.ledger import Ledger
from agent.linux.host import Host
from agent.model import Direction, Facts, Side, Sighting
from agent.record.file import Record
from agent.record.schedule import GAP, Schedule
from agent.station import Station, no_sockets

EARLY = 1.0  # seconds before the hour at which the sockets are open

M = TypeVar("M", bound=Message)
Tell = Callable[[str, float], None]  # what goes on, and the share of it that is done


class TooLate(AgentError):
    """The hour is over."""


class ClockSet(AgentError):
    """This host's clock was set during the run, or the host was suspended."""


class Recorder:
    """``record()`` is valid at any moment, also after an interruption."""

    def __init__(
        self,
        side: Side,
        key: bytes,
        schedule: Schedule,
        ends: tuple[str, str],  # this host's address, and the other's as this host names it
        ledger: Ledger,
        *,
        state_timeout: float = 600.0,
        scenario: str = "",
        tell: Tell = lambda _text, _share: None,
    ) -> None:
        self._side = side
        self._schedule = schedule
        self._secret = schedule.secret(key)
        self._local, self._peer = ends
        self._state_timeout = state_timeout
        self._scenario = scenario
        self._tell = tell
        self._host = Host()
        self._sightings: list[Sighting] = []
        self._station = Station(side, self._host, ledger, self._sightings.extend)
        self._opened: Opened | None = None
        self._facts: Facts | None = None
        self._fired = self._complete = False

    def open(self) -> None:
        """What is better had as root. TooLate; AgentError without the privilege to work."""
        self._check_hour()
        try:
            self._host.open()
        except OSError as error:
            raise AgentError(no_sockets(self._side, error)) from error

    def read_tracking_by(self, opened: Callable[[], int]) -> None:
        """``opened`` gives a descriptor of the host's connection tracking in our stead."""
        self._host.open_tracking = opened

    async def run(self) -> None:
        """To the end of the schedule. TooLate; ClockSet; AgentError where the sockets cannot be
        had.
        """
        schedule = self._schedule
        self.open()
        out = Direction.OUTBOUND if self._side is Side.NEAR else Direction.INBOUND
        back = Direction.INBOUND if out is Direction.OUTBOUND else Direction.OUTBOUND
        await self._until(schedule.at - EARLY, "waiting for the hour", time.time)
        self._check_hour()
        begun = time.time() - time.monotonic()

        def now() -> float:
            """The calendar's time, as it would be had nobody set the clock since."""
            return begun + time.monotonic()

        try:
            self._open()
            self._ask(
                Prepare(list(schedule.volleys(out)), schedule.ports(self._secret, out)), Prepared
            )
            self._ask(Await(schedule.ports(self._secret, back)), Awaiting)
            await self._until(schedule.begins(out), "listening", now)
            self._ask(Fire(list(schedule.volleys(out)), GAP), Firing)
            self._fired = True
            await self._until(schedule.ends, "listening", now)
            self._complete = True
        finally:
            self._close()

    def record(self) -> Record:
        schedule = self._schedule
        return Record(
            side=self._side,
            version=__version__,
            host=socket.gethostname(),
            local=self._local,
            peer=self._peer,
            at=schedule.at,
            asked=schedule.asked,
            family=schedule.family,
            shots=schedule.shots,
            slack=schedule.slack,
            run=schedule.run,
            state_timeout=self._state_timeout,
            scenario=self._scenario,
            complete=self._complete,
            facts=self._facts,
            priors=self._opened.priors if self._opened is not None else [],
            fired=self._fired,
            sightings=self._sightings,
        )

    def _open(self) -> None:
        message = Open(
            self._secret,
            list(self._schedule.checks),
            self._local,
            self._peer,
            self._state_timeout,
        )
        self._opened = self._ask(message, Opened)

    def _close(self) -> None:
        if self._opened is not None:
            self._facts = self._ask(Collect(), Collected).facts
            self._ask(Close(), Closed)
        self._host.close()

    def _ask(self, message: Message, answer: type[M]) -> M:
        found = self._station.handle(message)
        if not isinstance(found, answer):
            raise AgentError(f"{self._side}: {found}")
        return found

    def _check_hour(self) -> None:
        late = time.time() - self._schedule.at
        if late > 0:
            raise TooLate(
                f"the hour given is {late:.0f} s ago by this host's clock; agree on a later one"
            )

    async def _until(self, moment: float, what: str, now: Callable[[], float]) -> None:
        """The hour comes by the calendar's clock, which is what both agreed on and may be set while
        we wait. From then on only a steady one tells how long we have listened.
        """
        whole = max(moment - now(), 0.001)
        while (left := moment - now()) > 0:
            self._tell(f"{what}, {left:.0f} s more", 1 - left / whole)
            await asyncio.sleep(min(left, 0.5))
        leap = time.time() - now()
        if abs(leap) > self._schedule.slack:
            raise ClockSet(
                f"this host's clock was set by {leap:+.0f} s during the run, which is therefore "
                "void; do it again on both hosts"
            )
