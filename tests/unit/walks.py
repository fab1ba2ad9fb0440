"""A path of routers as a test draws it, and what a walk along it brings to light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agent.model import Check, Direction, Event, Flow, Icmp, Side, Sighting, Volley
from agent.recognise import ANY_SHOT
from probe.result import Conclusion, Expect, Outcome, Verdict
from probe.trace.hops import Walked

FAR = "10.9.9.9"
ESP = Check(1, "esp", Direction.OUTBOUND, Flow.NEW, 4)
ECHO = Check(3, "icmp-echo", Direction.OUTBOUND, Flow.NEW, 4)
ELAPSED, PROHIBITED = (11, 0), (3, 13)


def router(hop: int) -> str:
    return f"10.0.{hop}.1"


@dataclass
class Path:
    """``drops``: kind → the hop that drops it in its forward chain (it still answers there)."""

    routers: int = 3
    drops: dict[str, int] = field(default_factory=dict)
    entrance: dict[str, int] = field(default_factory=dict)  # … before it looks at the TTL
    rejects: dict[str, int] = field(default_factory=dict)  # … and says so
    silent: tuple[int, ...] = ()  # routers that send no ICMP
    limit: int | None = None  # answers that a router sends before it falls silent for a second
    lost: set[tuple[str, int]] = field(default_factory=set)  # (kind, shot) that the path loses
    short: tuple[int, ...] = ()  # routers that quote too little to tell ESP's shots apart
    subject: Check = ESP
    reference: Check | None = ECHO
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        self.clock = 100.0
        self.shots: dict[str, int] = {}
        self.volleys: list[Volley] = []
        self.sightings: list[Sighting] = []
        self.budget: dict[int, tuple[float, float]] = {}  # hop → (answers left, at this time)

    # -- packets ---------------------------------------------------------------------------------

    def shoot(self, check: Check, ttl: int | None, count: int = 1) -> None:
        first = self.shots.get(check.kind, 0) + 1
        self.shots[check.kind] = first + count - 1
        self.volleys.append(Volley(check.number, first, count, ttl))
        for shot in range(first, first + count):
            self.clock += 0.01
            self.sightings += self._fate(check, shot, ttl or 64)

    def _fate(self, check: Check, shot: int, ttl: int) -> Iterator[Sighting]:
        yield self._seen(check, shot, Event.LEFT, ttl)
        if (check.kind, shot) in self.lost:
            return
        for hop in range(1, self.routers + 1):
            if self.entrance.get(check.kind) == hop:
                return
            if ttl == hop:
                yield from self._answer(check, shot, hop, ELAPSED)
                return
            if self.rejects.get(check.kind) == hop:
                yield from self._answer(check, shot, hop, PROHIBITED)
            if hop in (self.drops.get(check.kind), self.rejects.get(check.kind)):
                return
        yield self._seen(check, shot, Event.ARRIVED, ttl - self.routers, Side.FAR)

    def _answer(
        self, check: Check, shot: int, hop: int, what: tuple[int, int]
    ) -> Iterator[Sighting]:
        if hop in self.silent:
            return
        if self.limit is not None:
            had, when = self.budget.get(hop, (self.limit, self.clock))
            had = min(self.limit, had + self.clock - when)
            self.budget[hop] = (had - 1 if had >= 1 else had, self.clock)
            if had < 1:
                return
        unclear = hop in self.short and check is self.subject
        icmp = Icmp(*what, router(hop))
        yield self._seen(
            check, 1 if unclear else shot, Event.REFUSED, None, icmp=icmp, vague=unclear
        )

    def _seen(
        self,
        check: Check,
        shot: int,
        event: Event,
        ttl: int | None,
        at: Side = Side.NEAR,
        icmp: Icmp | None = None,
        vague: bool = False,
    ) -> Sighting:
        note = ANY_SHOT if vague else ""
        return Sighting(at, event, check.number, shot, self.clock, ttl=ttl, icmp=icmp, note=note)

    # -- a walk ----------------------------------------------------------------------------------

    def walk(self, hops: Iterable[int] | None = None) -> Walked:
        """Full shots, then a burst of each TTL, as the real walk sends them."""
        kinds = [kind for kind in (self.subject, self.reference) if kind is not None]
        for check in kinds:
            self.shoot(check, None, 3)
        for turn in range(3):
            for hop in hops or range(1, self.routers + 1):
                if self.reference is not None and turn < 2:
                    self.shoot(self.reference, hop)
                self.shoot(self.subject, hop)
        if self.reference is not None and hops is None:
            self.shoot(self.reference, self.routers + 1)
        return self.walked()

    def ask_again(self, wanted: Iterable[tuple[int, int]]) -> Walked:
        self.clock += 1.1
        for number, ttl in wanted:
            check = self.subject if number == self.subject.number else self.reference
            assert check is not None
            self.shoot(check, ttl)
        return self.walked()

    def walked(self) -> Walked:
        reference = self._judged(self.reference) if self.reference is not None else None
        subject = self._judged(self.subject, self.outcome)
        return Walked(subject, reference, tuple(self.volleys), tuple(self.sightings), FAR)

    def _judged(self, check: Check, outcome: Outcome | None = None) -> Conclusion:
        full = {
            shot
            for volley in self.volleys
            if volley.check == check.number and volley.ttl is None
            for shot in range(volley.first, volley.first + volley.count)
        }
        evidence = tuple(
            s for s in self.sightings if s.check == check.number and s.shot in full and not s.note
        )
        told = {sighting.event for sighting in evidence}
        if outcome is None:
            outcome = Outcome.REFUSED if Event.REFUSED in told else Outcome.LOST
            outcome = Outcome.DELIVERED if Event.ARRIVED in told else outcome
        cause = f"{router(self.rejects[check.kind])} says no" if outcome is Outcome.REFUSED else ""
        verdict = Verdict.PASS if outcome is Outcome.DELIVERED else Verdict.FAIL
        return Conclusion(check, outcome, Expect.PASS, verdict, cause, 3, 0, 0, evidence)
