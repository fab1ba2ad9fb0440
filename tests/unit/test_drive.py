"""When a round may end: with stations that are played, on a clock that is real but short."""

from __future__ import annotations

import asyncio
from typing import Any

from agent import orders
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
from agent.model import Event, Facts, Icmp, Side, Sighting, Volley
from probe import plan as planning
from probe.drive import Drive, Settings
from scenarios import load

NEAR, FAR, ROUTER = "10.1.0.2", "10.2.0.2", "10.1.0.1"
LATE = 0.03  # seconds from one shot to the next


class Played:
    """A station whose every shot is refused, one after the other."""

    rtt = 0.0
    lost = None

    def __init__(self, side: Side, log: list[tuple[Side, str, int]]) -> None:
        self.side = side
        self.log = log
        self.drive: Drive

    async def ask(self, message: Any, answer: type[Any]) -> Any:
        match message:
            case Open():
                return Opened(Facts(), [])
            case Prepare():
                return Prepared([])
            case Await():
                return Awaiting()
            case Fire(volleys=volleys):
                self.log.append((self.side, "fire", len(volleys)))
                self._fire(volleys)
                return Firing()
            case Collect():
                return Collected(Facts())
            case Close():
                return Closed()
        raise AssertionError(message)

    def _fire(self, volleys: list[Volley]) -> None:
        loop = asyncio.get_running_loop()
        for volley in volleys:
            for place in range(volley.count):
                loop.call_later(place * LATE, self._shoot, volley.check, volley.first + place)

    def _shoot(self, check: int, shot: int) -> None:
        self.log.append((self.side, "shot", shot))
        refused = Sighting(
            self.side, Event.REFUSED, check, shot, 0.0, ROUTER, FAR, icmp=Icmp(3, 13, ROUTER)
        )
        events = [
            Sighting(self.side, event, check, shot, 0.0) for event in (Event.SENT, Event.LEFT)
        ]
        self.drive.saw([*events, refused])


def test_no_direction_begins_while_the_other_still_fires() -> None:
    """One refusal answers for the check, but its last shots must not meet what comes next."""
    log: list[tuple[Side, str, int]] = []
    near, far = Played(Side.NEAR, log), Played(Side.FAR, log)
    plan = planning.make(load("all"), 4, only=("esp",))

    async def conduct() -> None:
        drive = Drive(plan, Settings(wait=0.5), near, far, (NEAR, FAR, FAR, NEAR))
        near.drive = far.drive = drive
        await drive.run(bytes(32))

    asyncio.run(conduct())
    outbound = log.index((Side.NEAR, "fire", 1))
    assert all(side is Side.FAR for side, _, _ in log[:outbound])
    assert all(side is Side.NEAR for side, _, _ in log[outbound:])
    assert sum(what == "shot" for _, what, _ in log[:outbound]) >= 3


class Pooled(Played):
    """A NAT with a large pool gives each check another address, and no answer is sent there."""

    def __init__(self, side: Side, log: list[tuple[Side, str, int]]) -> None:
        super().__init__(side, log)
        self.vouched: set[str] = set()

    async def ask(self, message: Any, answer: type[Any]) -> Any:
        if isinstance(message, Await):
            orders.check_addresses(4, message.addresses, self.vouched)
            self.vouched.update(message.addresses)
        return await super().ask(message, answer)

    def _shoot(self, check: int, shot: int) -> None:
        other = Side.FAR if self.side is Side.NEAR else Side.NEAR
        events = [
            Sighting(self.side, event, check, shot, 0.0) for event in (Event.SENT, Event.LEFT)
        ]
        source = f"192.0.2.{check}"
        came = [
            Sighting(other, event, check, shot, 0.0, source=source)
            for event in (Event.ARRIVED, Event.DELIVERED)
        ]
        partner = next(c.partner for c in self.drive.plan.checks if c.number == check)
        assert partner is not None
        held = Sighting(other, Event.UNSENT, partner, shot, 0.0, destination=source, note="held")
        self.drive.saw([*events, *came, held])


def test_no_more_addresses_are_vouched_for_than_an_agent_takes() -> None:
    near, far = Pooled(Side.NEAR, []), Pooled(Side.FAR, [])
    plan = planning.make(load("all"), 4)

    async def conduct() -> None:
        drive = Drive(plan, Settings(wait=0.1), near, far, (NEAR, FAR, FAR, NEAR))
        near.drive = far.drive = drive
        await drive.run(bytes(32))

    asyncio.run(conduct())
    assert len(near.vouched) == len(far.vouched) == orders.MAX_ADDRESSES
