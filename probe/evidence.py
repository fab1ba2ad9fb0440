"""All that a run brought to light: what the correlator judges by, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.model import Direction, Facts, Prior, Side, Sighting, Volley


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
    near_seen_as: str = ""  # near's address in far's eyes; another one: near is behind NAT
    rested: frozenset[Direction] = frozenset()  # asked after a silence in which firewalls forget
    # The requests that the run was still waiting for when it broke off; None: it did not.
    unsettled: Direction | None = None

    @property
    def near_behind_nat(self) -> bool:
        near, seen = (a.partition("%")[0] for a in (self.near_address, self.near_seen_as))
        return bool(seen) and near != seen

    def facts(self, side: Side) -> Facts | None:
        return self.near if side is Side.NEAR else self.far
