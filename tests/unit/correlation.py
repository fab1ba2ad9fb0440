"""Writes evidence for the correlator the way a run would: a small language for its tests."""

from __future__ import annotations

from dataclasses import replace

from agent.model import (
    Check,
    Direction,
    Event,
    Facts,
    Flow,
    Icmp,
    Prior,
    Side,
    Sighting,
    Volley,
)
from probe.correlate import correlate
from probe.judge.evidence import Evidence
from probe.judge.tracks import origin, target
from probe.plan import Plan, Planned
from probe.result import Conclusion, Expect

NEAR, FAR, ROUTER = "10.1.0.2", "10.2.0.2", "10.1.0.1"


def pair(
    number: int,
    kind: str,
    direction: Direction,
    *,
    source_port: int | None = None,
    destination_port: int | None = None,
    expected: Expect = Expect.PASS,
) -> tuple[Planned, Planned]:
    """A request and its reply, numbered ``number`` and ``number + 1``."""
    back = Direction.INBOUND if direction is Direction.OUTBOUND else Direction.OUTBOUND
    ask = Check(
        number, kind, direction, Flow.NEW, 4, None, source_port, destination_port, number + 1
    )
    reply = Check(
        number + 1, kind, back, Flow.REPLY, 4, None, destination_port, source_port, number
    )
    return Planned(ask, expected), Planned(reply, expected)


class Story:
    """What happened, told shot by shot."""

    def __init__(self, *pairs: tuple[Planned, Planned]) -> None:
        self.plan = Plan(tuple(planned for pair_ in pairs for planned in pair_))
        self.checks = {check.number: check for check in self.plan.checks}
        self.sightings: list[Sighting] = []
        self.volleys: list[Volley] = []
        self.near: Facts | None = Facts()
        self.far: Facts | None = Facts()
        self.priors: dict[Side, list[Prior]] = {}
        self.near_seen_as = NEAR

    def fire(self, number: int, shots: int) -> None:
        self.volleys.append(Volley(number, 1, shots))

    def see(
        self, number: int, shot: int, event: Event, at: Side | None = None, **more: object
    ) -> None:
        check = self.checks[number]
        there = event in (Event.ARRIVED, Event.DELIVERED)
        outbound = check.direction is Direction.OUTBOUND
        sighting = Sighting(
            at=at or (target(check) if there else origin(check)),
            event=event,
            check=number,
            shot=shot,
            time=1000.0,
            source=NEAR if outbound else FAR,
            destination=FAR if outbound else NEAR if there else self.near_seen_as or NEAR,
            source_port=check.source_port,
            destination_port=check.destination_port,
        )
        self.sightings.append(replace(sighting, **more))  # type: ignore[arg-type]

    def shots(
        self,
        number: int,
        sent: int,
        *,
        arrived: int = 0,
        delivered: int | None = None,
        fire: bool = True,
        hops: int = 1,
    ) -> None:
        """``sent`` shots leave; ``arrived`` reach the interface, ``delivered`` a socket."""
        if fire and self.checks[number].flow is Flow.NEW:
            self.fire(number, sent)
        for shot in range(1, sent + 1):
            self.see(number, shot, Event.SENT)
            self.see(number, shot, Event.LEFT, ttl=64)
            if shot <= arrived:
                self.see(number, shot, Event.ARRIVED, ttl=64 - hops)
            if shot <= (arrived if delivered is None else delivered):
                self.see(number, shot, Event.DELIVERED)

    def refuse(self, number: int, shot: int, sender: str = ROUTER, at: Side | None = None) -> None:
        self.see(number, shot, Event.REFUSED, at, icmp=Icmp(3, 13, sender))

    def evidence(self) -> Evidence:
        return Evidence(
            sightings=self.sightings,
            volleys=self.volleys,
            near=self.near,
            far=self.far,
            priors=self.priors,
            near_address=NEAR,
            far_address=FAR,
            near_seen_as=self.near_seen_as,
        )

    def tell(self, *, strict: bool = False) -> dict[int, Conclusion]:
        found = correlate(self.plan, self.evidence(), strict=strict)
        return {conclusion.check.number: conclusion for conclusion in found}


IN, OUT = Direction.INBOUND, Direction.OUTBOUND


def esp_both_ways() -> Story:
    """Checks 1 (inbound new), 2 (its reply), 3 (outbound new), 4 (its reply)."""
    return Story(pair(1, "esp", IN), pair(3, "esp", OUT))


def kerberos(direction: Direction = OUT) -> Story:
    return Story(pair(1, "kerberos-udp", direction, destination_port=88))


def tcp() -> Story:
    return Story(pair(1, "kerberos-tcp", OUT, destination_port=88))
