"""All that a run brought to light: what the correlator judges by, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.model import (
    Check,
    Direction,
    Event,
    Facts,
    Flow,
    PortHeld,
    Prior,
    Side,
    Sighting,
    Volley,
)
from probe.judge.tracks import is_stream, target


def came_from(checks: Iterable[Check], sightings: Iterable[Sighting], near: str) -> str:
    """The address that most of near's requests had when they reached far; "" when none did."""
    new = {c.number for c in checks if c.flow is Flow.NEW and c.direction is Direction.OUTBOUND}
    return commonest((s for s in sightings if s.at is Side.FAR and s.check in new), near)


def commonest(sightings: Iterable[Sighting], near: str) -> str:
    """Of as many shots from ``near``, its own address, as from another it is the other: a NAT.

    A few from elsewhere are not believed: somebody may have played them again from there.
    """
    came = {(s.check, s.shot, s.source) for s in sightings if s.event is Event.ARRIVED}
    count = Counter(source for _, _, source in came if source)
    own = near.partition("%")[0]
    return max(sorted(count), key=lambda source: (count[source], source != own), default="")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a run brought to light. ``near`` and ``far`` are None when a report is missing."""

    sightings: Sequence[Sighting] = ()
    volleys: Sequence[Volley] = ()  # in the order in which they were fired
    near: Facts | None = None
    far: Facts | None = None
    priors: Mapping[Side, Sequence[Prior]] = field(default_factory=dict)
    near_address: str = ""
    far_address: str = ""
    # near's address in far's eyes; another one: near is behind NAT; "": not known
    near_seen_as: str = ""
    rested: frozenset[Direction] = frozenset()  # asked after a silence in which firewalls forget
    # The requests that the run was still waiting for when it broke off; None: it did not.
    unsettled: Direction | None = None

    @property
    def near_behind_nat(self) -> bool:
        near, seen = (a.partition("%")[0] for a in (self.near_address, self.near_seen_as))
        return bool(seen) and near != seen

    def facts(self, side: Side) -> Facts | None:
        return self.near if side is Side.NEAR else self.far

    def address(self, side: Side) -> str:
        return self.near_address if side is Side.NEAR else self.far_address

    @property
    def interrupted(self) -> str:
        """Which host was not itself for a while; "" where both were, as far as they know."""
        for side in Side:
            facts = self.facts(side)
            if facts is not None and facts.interrupted:
                return (
                    f"{side} {facts.interrupted} during the run: what was silent then says nothing"
                )
        return ""

    def serves_others(self, check: Check) -> bool:
        """Do the check's shots come to a service at their target that is not ours as well?"""
        return any(held.taken for held in self._held(check))

    def overtaken(self, check: Check) -> bool:
        """Did such a service come to the port while the run went on?"""
        return any(held.lately for held in self._held(check))

    def _held(self, check: Check) -> list[PortHeld]:
        facts = self.facts(target(check))
        place = (6 if is_stream(check) else 17, check.destination_port)
        held = facts.held if facts is not None else ()
        return [port for port in held if (port.protocol, port.port) == place]
