"""``probe watch``: a run again and again, and what :mod:`probe.watch.watching` makes of it.

Each round is a whole ``probe run`` of its own, so that nothing is carried over but one conclusion a
check. What happens is handed on as it happens.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from probe.result import Verdict
from probe.run import Finished, Progress, Request, run
from probe.watch.watching import BLIND, Change, Round, Watching

SOON = 5.0  # seconds until a second look at what seems to have changed


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """``every``: seconds from one round's start to the next one's. ``rounds``: 0 is without end."""

    run: Request
    every: float = 60.0
    rounds: int = 0


Tell = Callable[[Round], None]


@dataclass(frozen=True, slots=True)
class Watched:
    """How it ended. ``first_error``: already the first round could not be made."""

    verdict: Verdict
    interrupted: bool = False
    first_error: str = ""


async def watch(request: WatchRequest, tell: Tell, progress: Progress) -> Watched:
    """Until the rounds are made, or the task is cancelled. WrongRequest as ``run`` raises it."""
    watching = Watching(request.run.settings.state_timeout)
    stopped = _on_sigterm()
    failed = number = 0
    while True:
        start = _now()
        resting = watching.resting(start)
        finished = await run(replace(request.run, resting=resting), progress)
        if finished.interrupted:
            return Watched(watching.verdict, interrupted=not stopped.is_set())
        number += 1
        if finished.error and number == 1:
            return Watched(Verdict.ERROR, first_error=finished.error)
        before, failed = failed, failed + 1 if finished.error else 0
        told = _round(watching, finished, number)
        tell(replace(told, blind=failed == BLIND, sighted=not failed and before >= BLIND))
        gc.collect()  # few objects in rings, but each holds a TLS connection's memory
        if number == request.rounds:
            return Watched(watching.verdict)
        try:
            await _pause(start, request.every, watching, progress)
        except asyncio.CancelledError:
            return Watched(watching.verdict, interrupted=not stopped.is_set())


def _on_sigterm() -> asyncio.Event:
    """Set, and this task cancelled, when a service manager ends us: that is no interruption."""
    stopped = asyncio.Event()
    this = asyncio.current_task()
    assert this is not None

    def stop() -> None:
        stopped.set()
        this.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    return stopped


def _round(watching: Watching, finished: Finished, number: int) -> Round:
    changes: list[Change] = []
    if not finished.error:  # what a broken run did not see is no change
        changes = watching.update(finished.result.conclusions, _now())
    return Round(
        time.time(),
        number,
        finished.result,
        finished.error,
        tuple(changes),
        watching.conclusions,
        watching.flapping,
    )


async def _pause(start: float, every: float, watching: Watching, progress: Progress) -> None:
    """Until the next round is due: soon when in doubt, later when all has to rest."""
    now = _now()
    due = start + (min(every, SOON) if watching.doubtful(now) else every)
    if watching.all_rest(due):
        due = watching.rested(due)
    while (left := due - _now()) > 0:
        progress(f"next round in {left:.0f} s", 0.0)
        await asyncio.sleep(min(left, 1.0))


def _now() -> float:
    """A clock that nobody steps, and that goes on while the machine sleeps: firewalls' do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def exit_code(watched: Watched) -> int:
    """0 all is as expected; 1 something is not; 3 it could not be tested; 130 interrupted."""
    if watched.interrupted:
        return 130
    if watched.verdict in (Verdict.FAIL, Verdict.WARN):
        return 1
    return 3 if watched.verdict is Verdict.ERROR else 0
