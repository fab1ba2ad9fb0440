"""Records of a scenario: what to send, and what is expected of it. No behaviour but look-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from agent.model import Direction, Flow, Fragmenting

Cell = tuple[Direction, Flow]

CELLS: tuple[Cell, ...] = (
    (Direction.OUTBOUND, Flow.NEW),
    (Direction.OUTBOUND, Flow.REPLY),
    (Direction.INBOUND, Flow.NEW),
    (Direction.INBOUND, Flow.REPLY),
)


class ScenarioError(Exception):
    """A scenario that cannot be used. The text is fit for a user and names the file."""


class Expect(StrEnum):
    """What a scenario row asks for."""

    PASS = "pass"
    BLOCK = "block"
    ANY = "any"  # only to be told


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of packet. ``direction`` is that of the new flows; their replies travel back.

    ``source_port``: None is the kind's own (500 for IKE, fresh where the real client's is).
    ``size``: octets of the whole IP packet; None is the kind's natural size.
    ``fragmenting``: how it travels where it is larger than the path's MTU.
    ``label``: what the table calls the kind, where the usual name is not enough.
    """

    kind: str
    direction: Literal["both", "outbound", "inbound"] = "both"
    source_port: int | Literal["fresh"] | None = None
    size: int | None = None
    fragmenting: Fragmenting = Fragmenting.USUAL
    expect: Mapping[Cell, Expect] = field(default_factory=dict, hash=False)
    label: str = ""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells this row asks for: new flows in its direction, and the replies to them."""
        return tuple(
            (direction, flow)
            for direction, flow in CELLS
            if self.direction == "both" or (direction == self.direction) == (flow is Flow.NEW)
        )

    def expected(self, direction: Direction, flow: Flow) -> Expect:
        return self.expect.get((direction, flow), Expect.PASS)


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()  # what a reader of the result must know: which ports stand for all
