"""What to send and what to expect: TOML scenarios, and nftables rule sets for the lab."""

from __future__ import annotations

from scenarios.loader import known_kind, load, names
from scenarios.model import CELLS, Cell, Expect, Row, Scenario, ScenarioError

__all__ = [
    "CELLS",
    "Cell",
    "Expect",
    "Row",
    "Scenario",
    "ScenarioError",
    "known_kind",
    "load",
    "names",
]
