"""Near's address in far's eyes, where the control connection is no witness of it.

An ssh that goes through a jump host comes to far from the jump host. What does come straight from
near is the shots: some that open no way for a check (each a flow of its own, and no two alike) are
sent outbound first, and whatever reaches far shows where it came from.
"""

from __future__ import annotations

from agent.model import Direction, Side
from agent.record.asked import KB, checks, read
from probe.drive import GAP, Drive
from probe.far.link import LinkLost
from probe.judge.evidence import came_from
from probe.judge.opening import tuple_of
from probe.plan import Plan, Planned
from probe.result import Expect

ROUNDS = (1, 2)  # shots of each check: a service that is not ours may get them as well


def plan(family: int) -> Plan:
    """Of what KB 233256 lists, all that leaves no trace that a check could meet."""
    return Plan(
        tuple(
            Planned(check, Expect.ANY)
            for _, request, reply in checks(read(KB), family, (Direction.OUTBOUND,))
            if tuple_of(request) is None
            for check in (request, reply)
        )
    )


class Scout(Drive):
    """``found``: where near's shots came from, by far's word; "" when none reached far."""

    async def run(self, secret: bytes) -> None:
        """As :meth:`Drive.run`."""
        await self._open(secret)
        try:
            requests = [check.number for check in self.plan.requests(Direction.OUTBOUND)]
            for shots in ROUNDS:
                await self._round(Direction.OUTBOUND, dict.fromkeys(requests, shots), GAP)
                if not self.found:
                    await self._wait(self._record.volleys, self.settings.wait)
                if self.found:
                    return
        except LinkLost:
            self._record.facts.pop(Side.FAR, None)
            raise
        finally:
            await self._close()

    @property
    def found(self) -> str:
        return came_from(self.plan.checks, self._record.sightings, self._near)
