"""A rule, in no firewall's language: what it is about, and whose firewall it is for. Records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from agent.model import Direction, Flow

OPPOSITE = {Direction.OUTBOUND: Direction.INBOUND, Direction.INBOUND: Direction.OUTBOUND}

Ports = tuple[int, int]  # first and last


class Place(StrEnum):
    """Whose firewall a rule is for."""

    NETWORK = "network"
    NEAR = "near"
    FAR = "far"


class Way(StrEnum):
    """How the packets meet it."""

    THROUGH = "through"
    IN = "in"
    OUT = "out"


class Action(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``protocol``: "esp", "ah", "udp", "tcp" or "icmp" (echo alone, of ``family``).

    ``flow``: NEW is all packets of the tuple; REPLY those inside a flow that was opened the other
    way. Ports are None where any will do. Addresses are plain, of ``family``.
    """

    place: Place
    way: Way
    direction: Direction
    flow: Flow
    family: int
    protocol: str
    source: str
    destination: str
    source_port: Ports | None = None
    destination_port: Ports | None = None
    action: Action = Action.ALLOW
    title: str = ""  # "IKE", for a comment
    fragments: bool = False  # what it is about travels in fragments
    only_large: bool = False  # what is small passes already
    only_new: bool = False  # a denial that leaves replies alone, which are to pass
    foreseen: bool = False  # not seen to fail: nothing has been there to reply to yet
    at: str = ""  # the address of the firewall, where it has told it

    @property
    def opener(self) -> Rule:
        """Of a reply: the flow inside which it travels."""
        return replace(
            self,
            flow=Flow.NEW,
            direction=OPPOSITE[self.direction],
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )

    def covers(self, other: Rule) -> bool:
        """Does every packet that ``other`` is about fit this one as well? The action aside."""
        same = ("place", "way", "family", "protocol", "source", "destination")
        return (
            all(getattr(self, name) == getattr(other, name) for name in same)
            and self.flow in (Flow.NEW, other.flow)
            and _holds(self.source_port, other.source_port)
            and _holds(self.destination_port, other.destination_port)
        )


@dataclass(frozen=True, slots=True)
class Mending:
    """``rules`` in the order in which they are to be tried. ``limits``: what they cannot do."""

    rules: tuple[Rule, ...] = ()
    limits: tuple[str, ...] = ()


def _holds(wide: Ports | None, narrow: Ports | None) -> bool:
    if wide is None:
        return True
    return narrow is not None and wide[0] <= narrow[0] and narrow[1] <= wide[1]
