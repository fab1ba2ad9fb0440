"""A clock that is set during a run without contact makes no witness of who slept through it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from agent.ledger import Ledger
from agent.model import Side
from agent.record import recorder
from agent.record.recorder import ClockSet, Recorder, TooLate
from agent.record.schedule import Schedule

AT = 1_700_000_000.0
SCHEDULE = Schedule(AT, "esp ike", 4, run="0badcafe")


class Clock:
    """Both of this host's clocks; ``step`` seconds are added to the calendar's at ``when``."""

    def __init__(self, when: float, step: float) -> None:
        self.steady, self.when, self.step = AT - 60, when, step

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.steady + (self.step if self.steady >= self.when else 0.0)


class Silent(Recorder):
    """Without sockets."""

    def _open(self) -> None: ...

    def _close(self) -> None: ...

    def _ask(self, *_: Any) -> Any: ...


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "flows.sqlite")


def run(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> Recorder:
    made = Silent(Side.FAR, bytes(32), SCHEDULE, ("10.0.0.5", "10.0.0.1"), ledger)
    sleep = asyncio.sleep

    async def pass_(seconds: float) -> None:
        clock.steady += seconds
        await sleep(0)

    monkeypatch.setattr(recorder, "time", clock)
    monkeypatch.setattr(asyncio, "sleep", pass_)
    asyncio.run(made.run())
    return made


@pytest.mark.parametrize("step", [-3600.0, -6.0, 6.0, 3600.0])
def test_a_clock_that_is_set_while_it_listens(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, step: float
) -> None:
    with pytest.raises(ClockSet, match=re.escape(f"was set by {step:+.0f} s")):
        run(monkeypatch, ledger, Clock(AT + 3, step))


@pytest.mark.parametrize("step", [-2.0, 0.0, 2.0])
def test_a_clock_that_is_put_right_a_little(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, step: float
) -> None:
    clock = Clock(AT + 3, step)
    assert run(monkeypatch, ledger, clock).record().complete
    assert clock.steady == pytest.approx(SCHEDULE.ends, abs=0.6)


def test_a_clock_that_is_put_right_while_it_waits_for_the_hour(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    clock = Clock(AT - 50, 30.0)
    assert run(monkeypatch, ledger, clock).record().complete
    assert clock.time() == pytest.approx(SCHEDULE.ends, abs=0.6)


def test_a_clock_that_leaps_over_the_hour(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    with pytest.raises(TooLate, match="3550 s ago"):
        run(monkeypatch, ledger, Clock(AT - 50, 3600.0))
