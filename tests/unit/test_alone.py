"""What a stranger's host is asked, and how often: with a station that is played."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
from agent.ledger import Moment
from agent.model import OVER_RATION, Direction, Event, Facts, Icmp, Side, Sighting
from agent.ration import LIMIT, Ration
from agent.wire import codec
from probe import plan as planning
from probe.alone import Alone
from probe.drive import Settings
from scenarios import load

NEAR, FAR, ROUTER = "10.1.0.2", "10.2.0.2", "10.1.0.1"
BRIEF = Settings(shots=3, wait=0.01)
ALL = planning.part(planning.make(load("all"), 4), Direction.OUTBOUND)
Answer = Callable[[int, int], list[Sighting]]  # of a check's shot: what is seen of it


def sighting(event: Event, check: int, shot: int, **more: Any) -> Sighting:
    return Sighting(Side.NEAR, event, check, shot, 0.0, NEAR, FAR, **more)


def silent(check: int, shot: int) -> list[Sighting]:
    return [sighting(Event.SENT, check, shot), sighting(Event.LEFT, check, shot)]


def refused(check: int, shot: int) -> list[Sighting]:
    error = sighting(Event.REFUSED, check, shot, icmp=Icmp(3, 13, ROUTER))
    return [*silent(check, shot), error]


class Played:
    """Near's station. ``fired``: kind → shots of it, in the order in which they were."""

    rtt = 0.0
    lost = None

    def __init__(self, answer: Answer, plan: planning.Plan) -> None:
        self.answer = answer
        self.kinds = {check.number: check.kind for check in plan.checks}
        self.fired: list[str] = []
        self.closed = False
        self.alone: Alone

    async def ask(self, message: Any, answer: type[Any]) -> Any:
        match message:
            case Open():
                return Opened(Facts(), [])
            case Prepare():
                return Prepared([])
            case Fire(volleys=volleys):
                for volley in volleys:
                    assert volley.count == 1
                    self.fired.append(self.kinds[volley.check])
                    self.alone.saw(self.answer(volley.check, volley.first))
                return Firing()
            case Collect():
                return Collected(Facts())
            case Close():
                self.closed = True
                return Closed()
        raise AssertionError(message)


class Drawn(Ration):
    """A ration whose thirty seconds are over in an instant."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.left = LIMIT

    def free(self, address: str, now: Moment) -> int:
        assert address == FAR
        return self.left

    def wait(self, address: str, now: Moment) -> float:
        if not self.left:
            self.left = LIMIT
            return 0.01
        return 0.0

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


class Empty(Drawn):
    """One that cannot be kept."""

    def free(self, address: str, now: Moment) -> int:
        return 0

    def wait(self, address: str, now: Moment) -> float:
        return math.inf


def conduct(
    answer: Answer, ration: Ration, plan: planning.Plan = ALL, settings: Settings = BRIEF
) -> tuple[Played, Alone]:
    near = Played(answer, plan)

    async def run() -> None:
        near.alone = Alone(plan, settings, near, (NEAR, FAR), ration)
        await near.alone.run(bytes(32))

    asyncio.run(run())
    return near, near.alone


def rationed(kind: str) -> bool:
    return codec(kind).rationed


def test_silence_is_asked_again_but_not_by_what_others_log(tmp_path: Path) -> None:
    ration = Drawn(tmp_path / "ike")

    def answer(check: int, shot: int) -> list[Sighting]:
        assert not rationed(kinds[check]) or ration.spend()
        return silent(check, shot)

    kinds = {check.number: check.kind for check in ALL.checks}
    near, alone = conduct(answer, ration)
    asked = Counter(near.fired)
    assert asked == {
        "ike": 2, "ike-v1": 1, "ike-nat-t": 1, "kerberos-udp": 1, "kerberos-tcp": 1,
        "icmp-echo": 3, "esp": 3, "ah": 3, "esp-in-udp": 3, "nat-keepalive": 3,
    }  # fmt: skip
    assert near.closed
    assert alone.waited > 0
    assert alone.evidence().unsettled is None


def test_no_more_ike_at_once_than_the_ration_has(tmp_path: Path) -> None:
    """And first of all: a host has only so many ICMP errors in store."""
    ration = Drawn(tmp_path / "ike")
    ration.left = 1
    near, _ = conduct(silent, ration)
    first = near.fired[: near.fired.index("nat-keepalive") + 1]
    assert [kind for kind in first if rationed(kind)] == ["ike"]
    assert first[0] == "ike"
    assert set(first[1:3]) == {"kerberos-udp", "kerberos-tcp"}
    assert sum(rationed(kind) for kind in near.fired) == 4


def test_without_its_record_no_ike_is_asked(tmp_path: Path) -> None:
    near, alone = conduct(silent, Empty(tmp_path / "ike"))
    assert not any(rationed(kind) for kind in near.fired)
    assert "esp" in near.fired
    assert alone.waited == 0


def test_where_another_run_was_quicker_it_waits_again(tmp_path: Path) -> None:
    plan = planning.part(planning.make(load("all"), 4, only=("ike-v1",)), Direction.OUTBOUND)
    held: list[int] = []

    def answer(check: int, shot: int) -> list[Sighting]:
        if len(held) < 2:
            held.append(shot)
            return [sighting(Event.UNSENT, check, shot, note=OVER_RATION)]
        return silent(check, shot)

    near, _ = conduct(answer, Drawn(tmp_path / "ike"), plan)
    assert near.fired == ["ike-v1"] * 3


def test_what_was_refused_once_is_asked_once_more(tmp_path: Path) -> None:
    plan = planning.part(planning.make(load("all"), 4, only=("esp",)), Direction.OUTBOUND)
    settings = Settings(shots=10, wait=5.0)  # nothing of it is waited out
    near, _ = conduct(refused, Drawn(tmp_path / "ike"), plan, settings)
    assert near.fired == ["esp", "esp"]


def test_interrupted_it_still_closes(tmp_path: Path) -> None:
    near = Played(silent, ALL)

    async def run() -> None:
        near.alone = Alone(ALL, Settings(wait=60.0), near, (NEAR, FAR), Drawn(tmp_path / "ike"))
        task = asyncio.create_task(near.alone.run(bytes(32)))
        while not near.fired:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert near.closed
    assert near.alone.evidence().unsettled is Direction.OUTBOUND
