"""How a path carries what it lets through: its loss, by which silence elsewhere is judged."""

from __future__ import annotations

from collections.abc import Mapping

from agent.model import Check, Direction, Event, Flow, Side
from probe.judge import loss
from probe.judge.evidence import Evidence
from probe.judge.tracks import Track, follow, is_stream
from probe.plan import Plan
from probe.result import Carriage


class Carried:
    """``tracks``: by check number and shot."""

    def __init__(
        self, plan: Plan, evidence: Evidence, tracks: Mapping[int, Mapping[int, Track]]
    ) -> None:
        self._plan = plan
        self._evidence = evidence
        self._tracks = tracks
        self._loss: dict[Direction, float] = {}

    def loss(self, direction: Direction) -> float:
        """The highest loss that what got through in ``direction`` leaves possible."""
        if direction not in self._loss:
            self._loss[direction] = loss.upper_bound(*self.counts(direction))
        return self._loss[direction]

    def counts(self, direction: Direction) -> tuple[int, int]:
        """(sent, missing) among the shots of checks that got something through."""
        sent = missing = 0
        for check in self._through(direction):
            tracks = [t for t in self._tracks[check.number].values() if t.left]
            sent += len(tracks)
            missing += sum(1 for t in tracks if not (t.arrived or t.delivered))
        return sent, missing

    def _through(self, direction: Direction) -> list[Check]:
        """Checks that got something through. TCP hides its losses behind retransmission."""
        return [
            check
            for check in self._plan.checks
            if check.direction is direction
            and not is_stream(check)
            and check.size is None  # a large one may be lost for its size alone
            and any(t.arrived or t.delivered for t in self._tracks[check.number].values())
        ]

    def reference(self, direction: Direction) -> int | None:
        """The request that gets through best: more shots of it measure the path's loss.

        One that troubles no service on the other host, if there is one.
        """
        through = [check for check in self._through(direction) if check.flow is Flow.NEW]
        harmless = [c for c in through if not self._evidence.serves_others(c)]
        through = harmless or through
        if not through:
            return None
        best = max(
            through,
            key=lambda check: sum(1 for t in self._tracks[check.number].values() if t.arrived),
        )
        return best.number

    def refusers(self, direction: Direction) -> set[str]:
        """Who refused checks that travelled this way."""
        return {
            track.refused.icmp.sender
            for check in self._plan.checks
            if check.direction is direction
            for track in self._tracks[check.number].values()
            if track.refused is not None and track.refused.icmp is not None
        }

    def carriage(self, direction: Direction) -> Carriage:
        sent, missing = self.counts(direction)
        sink = Side.FAR if direction is Direction.OUTBOUND else Side.NEAR
        facts = self._evidence.facts(sink)
        duplicates = facts.duplicates if facts else 0
        reordered = self._reordered(sink)
        return Carriage(sent, missing, loss.upper_bound(sent, missing), duplicates, reordered)

    def _reordered(self, sink: Side) -> int:
        latest: dict[int, int] = {}
        reordered = 0
        for sighting in self._evidence.sightings:
            if sighting.at is sink and sighting.event is Event.ARRIVED and not sighting.stage:
                reordered += sighting.shot < latest.get(sighting.check, 0)
                latest[sighting.check] = max(sighting.shot, latest.get(sighting.check, 0))
        return reordered


def carriage(plan: Plan, evidence: Evidence, direction: Direction) -> Carriage:
    """What the shots that got through say of the path."""
    tracks = follow(plan.checks, evidence.sightings)
    return Carried(plan, evidence, tracks).carriage(direction)
