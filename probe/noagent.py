"""``probe run --no-agent``: what can be judged of a far host where no agent can be installed."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace

from agent.ledger import state_directory
from agent.model import Direction, Event, Flow, Side, Sighting
from agent.ration import LIMIT, SECONDS, Ration
from agent.station import Station
from probe import plan as planning
from probe.alone import Alone
from probe.far.link import Here
from probe.judge import onesided
from probe.judge.evidence import Evidence
from probe.remarks import of_hosts
from probe.result import Conclusion
from probe.run import Progress, Request, Session, WrongRequest
from scenarios import Expect, Row, Scenario

ECHO = Row(
    "icmp-echo",
    "outbound",
    expect=dict.fromkeys(
        [(Direction.OUTBOUND, Flow.NEW), (Direction.INBOUND, Flow.REPLY)], Expect.ANY
    ),
)


class NoAgentSession(Session):
    """Near's side of a run that has no other side."""

    control = "none"

    def __init__(self, request: Request, progress: Progress) -> None:
        _check(request)
        self._alone: Alone | None = None
        super().__init__(request, progress)
        self._ration = Ration(state_directory(os.environ) / "ike.sqlite")

    def _scenario_asked(self) -> Scenario:
        """With an echo in any case: who speaks in far's name is known by the TTL of far's own."""
        scenario = super()._scenario_asked()
        rows = list(scenario.rows)
        if rows and not any(r.kind == "icmp-echo" and r.direction != "inbound" for r in rows):
            rows.append(ECHO)
        return replace(scenario, rows=tuple(rows))

    def _saw(self, sightings: list[Sighting]) -> None:
        if self._alone is not None:
            self._alone.saw(sightings)

    async def perform(self) -> None:
        await self._find_the_way()
        plan = planning.part(self.plan, Direction.OUTBOUND)
        self._station = Station(
            Side.NEAR, self._sockets, self._ledger, self._saw, ration=self._ration
        )
        self._alone = Alone(
            plan,
            self.request.settings,
            Here(self._station),
            (self._near, self._address),
            self._ration,
            self.progress,
        )
        await self._alone.run(secrets.token_bytes(32))
        self._rtt = _round_trip(plan, self._alone.evidence())

    def _conclude(self) -> tuple[tuple[Conclusion, ...], list[str]]:
        evidence = Evidence() if self._alone is None else self._alone.evidence()
        found = onesided.conclude(self.plan, evidence, strict=self.request.strict)
        notes = [*onesided.notes(self.plan, evidence), *of_hosts(evidence)]
        if self._ration.trouble:
            notes.append(self._ration.trouble)
        elif self._alone is not None and self._alone.waited:
            notes.append(
                f"the run waited {self._alone.waited:.0f} s: a daemon of others gets no more than "
                f"{LIMIT} IKE requests in {SECONDS:.0f} s from this host, earlier runs included"
            )
        return found, notes

    def close(self) -> None:
        super().close()
        self._ration.close()


def _check(request: Request) -> None:
    """WrongRequest for what takes two ends."""
    asked = {
        "--sizes": request.sizes,
        "--inspect": request.inspect,
        "--pcap": request.settings.keep,
        "--alias": request.alias,
        "--control inband": request.control == "inband",
        "--control ssh": request.control == "ssh",
        "--fresh": request.fresh_address or request.settings.rest,
        "--direction inbound": Direction.OUTBOUND not in request.directions,
    }
    for option, given in asked.items():
        if given:
            raise WrongRequest(f"{option} takes an agent on the far host; leave out --no-agent")


def _round_trip(plan: planning.Plan, evidence: Evidence) -> float | None:
    """Milliseconds that the quickest echo took; None where none came back."""
    echoes = {c.number: c.partner for c in plan.checks if c.kind == "icmp-echo"}
    left = {
        (echoes[s.check], s.shot): s.time
        for s in evidence.sightings
        if s.event is Event.LEFT and s.check in echoes
    }
    took = [
        s.time - left[s.check, s.shot]
        for s in evidence.sightings
        if s.event is Event.ARRIVED and (s.check, s.shot) in left
    ]
    return max(0.0, min(took)) * 1e3 if took else None
