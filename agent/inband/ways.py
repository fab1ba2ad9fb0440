"""By which ways a packet can travel, which of them do harm, and which are known to arrive.

A *way* is a kind, on a flow of its own or on the fixed tuple that real traffic of that kind has
(500→500, 4500→4500, ESP, AH), begun by the sender or as the answer in a flow that the other began.

What harms least is tried first. Packets on a fixed tuple may open it for a check that follows, so
near goes through ``STAGES``: first neither end uses any, then far does, one after the other (what
it sends reaches near or opens nothing on near's side of the firewall), and only then near.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.inband.carriers import KINDS, PORTS, Ridden
from agent.wire.ah import DISCARD
from agent.wire.base import Path

FRESH = ("esp-in-udp", "ike-nat-t", "ike", "icmp-echo", "kerberos-udp")  # in order of preference
# The fixed tuples, by the harm they do: a check of ESP is the one that matters most.
LEVELS = (("ike-nat-t", "esp-in-udp", "ike"), ("ah",), ("esp",))
# (levels that near may use, levels that far may use)
STAGES = ((0, 0), (0, 1), (0, 2), (0, 3), (1, 3), (2, 3), (3, 3))
LAST = len(STAGES) - 1

LARGEST = 31  # number of a way
_FIXED, _REPLY = 8, 16

GOOD_SECONDS = 20.0  # for which a way that has carried is believed to carry
DOUBTS = 2  # packets in a row without an answer, and it is believed no more
DESPERATE = 4  # times that no answer came in time


@dataclass(frozen=True, slots=True)
class Way:
    kind: str
    fixed: bool = False
    reply: bool = False

    @property
    def id(self) -> int:
        return KINDS.index(self.kind) + _FIXED * self.fixed + _REPLY * self.reply

    @property
    def level(self) -> int:
        """0: harmless; else the level that must be allowed for it."""
        if not self.fixed or self.reply:
            return 0
        return 1 + next(place for place, kinds in enumerate(LEVELS) if self.kind in kinds)


def of_id(number: int) -> Way | None:
    kind = number & (_FIXED - 1)
    if not 0 <= number <= LARGEST or kind >= len(KINDS):
        return None
    return Way(KINDS[kind], bool(number & _FIXED), bool(number & _REPLY))


STREAM = Way("kerberos-tcp")  # first segments alone, and then near's connection
HARMLESS = (*(Way(kind) for kind in FRESH), STREAM)
FIXED = tuple(Way(kind, fixed=True) for kinds in LEVELS for kind in kinds)


def new_flow(way: Way, source: str, destination: str, port: int) -> Ridden:
    """``way`` as its sender begins it; ``port``: a fresh one, or a ping's identifier."""
    family = 6 if ":" in source else 4
    service = PORTS.get(way.kind)
    if way.kind == "esp":
        return Ridden(way.kind, False, Path(family, source, destination))
    if way.kind == "ah":
        return Ridden(way.kind, False, Path(family, source, destination, port, DISCARD))
    fixed = service if way.fixed else port
    return Ridden(way.kind, False, Path(family, source, destination, fixed, service))


def answering(ridden: Ridden) -> tuple[Way, Ridden]:
    """The way back in the flow of a packet that came."""
    fixed = is_fixed(ridden)
    reply = ridden.kind not in ("esp", "esp-in-udp") or not fixed
    path = ridden.path.back()
    if ridden.kind == "icmp-echo":  # the identifier belongs to both directions
        path = Path(path.family, path.source, path.destination, ridden.path.source_port)
    return Way(ridden.kind, fixed, reply), Ridden(ridden.kind, reply, path, ridden.echo)


def is_fixed(ridden: Ridden) -> bool:
    """On a tuple that real traffic has, so that a firewall may keep state of it for a check."""
    path = ridden.path
    if ridden.kind in ("esp", "ah"):
        return True
    return path.source_port is not None and path.source_port == path.destination_port


@dataclass(slots=True)
class _Record:
    way: Way
    confirmed: float | None = None  # when the other end said last that something came by it
    doubts: int = 0  # packets since then, in a row, that were not answered in time


class Ways:
    """What one end knows of its own ways. Times are seconds by any clock that does not step."""

    def __init__(self, ways: Iterable[Way]) -> None:
        self._records = {way.id: _Record(way) for way in ways}

    def add(self, way: Way) -> None:
        self._records.setdefault(way.id, _Record(way))

    def confirm(self, number: int, now: float) -> None:
        record = self._records.get(number)
        if record is not None:
            record.confirmed, record.doubts = now, 0

    def doubt(self, number: int) -> None:
        record = self._records.get(number)
        if record is not None:
            record.doubts += 1

    def good(self, now: float) -> list[Way]:
        """The ways that carry, the least harmful and most welcome first."""
        return [
            record.way
            for record in sorted(self._records.values(), key=_rank)
            if record.confirmed is not None
            and now - record.confirmed < GOOD_SECONDS
            and record.doubts < DOUBTS
        ]

    def choose(self, now: float, misses: int, level: int) -> list[Way]:
        """Where the next packet goes: by the best way; by two after an answer failed to come; by
        all that ever carried, and all that are harmless, where the answers go on failing. Fixed
        tuples up to ``level`` are tried as well where nothing else carries.
        """
        good = self.good(now)
        if good and misses < DOUBTS:
            return good[: 1 + misses]
        if misses < DESPERATE and any(r.confirmed is not None for r in self._records.values()):
            level = 0
        tried = sorted(self._records.values(), key=lambda r: (r.confirmed is None, _rank(r)))
        return [r.way for r in tried if r.confirmed is not None or r.way.level <= level]


def _rank(record: _Record) -> tuple[int, int, int]:
    way = record.way
    # In a flow that near keeps open: no second one that some firewall may know nothing of.
    return way.fixed, not way.reply, KINDS.index(way.kind)
