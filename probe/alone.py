"""Conducts near's station alone, where the far host has no agent: asks, listens, and asks again.

What a stranger's host is to be asked is little: Kerberos once a check, IKE no more often than its
ration allows (:mod:`agent.ration`), everything else until it was answered, a few times at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Sequence

from agent.control import (
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
from agent.model import OVER_RATION, Direction, Facts, Prior, Side, Sighting, Volley
from agent.ration import Ration
from agent.station import moment
from agent.wire import codec
from probe.drive import GAP, PATIENT_GAP, POLITE_GAP, Settings
from probe.far.link import Asked
from probe.judge.evidence import Evidence
from probe.judge.onesided import asked_once, doubtful, unanswered
from probe.judge.tracks import is_stream
from probe.plan import Plan

WAITS = 20  # for the ration, at most; other runs may draw on it as well


class Alone:
    """One run. ``evidence()`` is valid at any moment, also after an interruption."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        near: Asked,
        addresses: tuple[str, str],
        ration: Ration,
        progress: Callable[[str, float], None] = lambda _text, _share: None,
    ) -> None:
        """``plan``: outbound requests and the replies to them. ``addresses``: near's, far's."""
        self.plan = plan
        self.waited = 0.0  # seconds, for IKE's ration
        self._settings = settings
        self._near = near
        self._local, self._peer = addresses
        self._ration = ration
        self._progress = progress
        self._sightings: list[Sighting] = []
        self._volleys: list[Volley] = []
        self._next: Counter[int] = Counter()
        self._facts: Facts | None = None
        self._priors: Sequence[Prior] = ()
        self._unsettled: Direction | None = None
        self._news = asyncio.Event()

    def saw(self, sightings: Sequence[Sighting]) -> None:
        """Called with the station's sightings as they come."""
        self._sightings += sightings
        self._news.set()

    def evidence(self) -> Evidence:
        return Evidence(
            sightings=tuple(self._sightings),
            volleys=tuple(self._volleys),
            near=self._facts,
            priors={Side.NEAR: self._priors},
            near_address=self._local,
            far_address=self._peer,
            unsettled=self._unsettled,
        )

    async def run(self, secret: bytes) -> None:
        """Opens, asks, listens. Cancelled, it still stops the station."""
        settings, checks = self._settings, list(self.plan.checks)
        message = Open(
            secret,
            checks,
            self._local,
            self._peer,
            settings.state_timeout,
            settings.keep,
            client=settings.client,
        )
        opened = await self._near.ask(message, Opened)
        self._facts, self._priors = opened.facts, opened.priors
        self._unsettled = Direction.OUTBOUND
        try:
            await self._ask()
            self._unsettled = None
        finally:
            with contextlib.suppress(TimeoutError):
                await self._near.ask(Close(), Closed)

    async def _ask(self) -> None:
        requests = self.plan.requests(Direction.OUTBOUND)
        rationed = [c.number for c in requests if codec(c.kind).rationed]
        # What is asked once goes first: hosts limit their ICMP errors, and have some in store.
        once = [c.number for c in requests if asked_once(c) and c.number not in rationed]
        others = [c.number for c in requests if not asked_once(c)]
        first = rationed[: self._ration.free(self._peer, moment())]
        self._progress("asking", 0.0)
        await self._round([*first, *once, *others], GAP)
        await self._again()
        rest = [number for number in rationed if number not in first or self._held_back(number)]
        await self._rest_of_the_ration(rest)

    async def _again(self) -> None:
        """What was not answered may have been lost, or be refused unheard."""
        for number in range(1, self._settings.shots):
            again = doubtful(self.plan, self.evidence())
            if not again:
                return
            share = number / self._settings.shots
            self._progress(f"asking again what nobody answered ({len(again)})", share)
            streams = {c.number for c in self.plan.checks if is_stream(c)}
            limited = any(s.icmp is not None for s in self._sightings)
            await self._round([n for n in again if n in streams], PATIENT_GAP)
            gap = POLITE_GAP if limited else PATIENT_GAP
            await self._round([n for n in again if n not in streams], gap)

    async def _rest_of_the_ration(self, rest: Sequence[int]) -> None:
        """The IKE requests that had to wait. Without a record of them, none is sent."""
        for _ in range(WAITS):
            seconds = self._ration.wait(self._peer, moment()) if rest else math.inf
            if math.isinf(seconds):
                return
            await self._sleep(seconds, len(rest))
            now = rest[: max(1, self._ration.free(self._peer, moment()))]
            await self._round(now, GAP)
            rest = [number for number in rest if number not in now or self._held_back(number)]

    def _held_back(self, number: int) -> bool:
        """Another run was quicker."""
        notes = [s.note for s in self._sightings if (s.check, s.shot) == self._last(number)]
        return OVER_RATION in notes

    def _last(self, number: int) -> tuple[int, int]:
        return number, self._next[number]

    async def _sleep(self, seconds: float, count: int) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (left := start + seconds - loop.time()) > 0:
            self._progress(
                f"waiting {left:.0f} s: no daemon of others gets more than two IKE requests in "
                f"30 s ({count} to go)",
                1 - left / seconds,
            )
            await asyncio.sleep(min(left, 1.0))
        self.waited += loop.time() - start

    async def _round(self, numbers: Sequence[int], gap: float) -> None:
        """One shot of each, and what comes of it."""
        if not numbers:
            return
        volleys = [Volley(number, self._next[number] + 1, 1) for number in numbers]
        await self._near.ask(Prepare(volleys), Prepared)
        self._next.update(numbers)
        self._volleys += volleys
        await self._near.ask(Fire(volleys, gap), Firing)
        await self._wait(volleys, len(numbers) * gap + self._settings.wait)
        collected = await self._near.ask(Collect(), Collected)
        self._facts = collected.facts

    async def _wait(self, volleys: Sequence[Volley], seconds: float) -> None:
        """Until each was answered, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while unanswered(self.plan, self.evidence(), volleys):
                    self._news.clear()
                    await self._news.wait()
