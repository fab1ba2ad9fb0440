"""The packets that both ends kept, in an order that a reader can follow.

No clock of one host is held against the other's. Each host's packets stay in the order in which it
saw them, and what arrived somewhere stands behind its departure: between the two, the merge follows
what a packet causes (its arrival, then the answer to it) before it goes on to the next.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from agent.model import Check, Event, Flow, Kept, Side, Volley
from probe.judge.tracks import is_stream

Key = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Reel:
    """The packets of one leg of a run. ``purpose``: in plain words, where it is not the checks."""

    checks: tuple[Check, ...]
    volleys: tuple[Volley, ...]
    packets: tuple[Kept, ...]
    purpose: str = ""


def ordered(reel: Reel) -> list[Kept]:
    checks = {check.number: check for check in reel.checks}
    rounds = _rounds(checks, reel)
    queues = {
        side: deque(
            sorted((kept for kept in reel.packets if kept.at is side), key=lambda kept: kept.number)
        )
        for side in Side
    }
    departures = Counter((kept.at, _key(checks, kept)) for kept in reel.packets if kept.outgoing)
    emitted: Counter[tuple[Side, Key]] = Counter()
    found: list[Kept] = []

    def early(kept: Kept) -> int:
        """0: all that it followed stands already; 1: its own fragment does; 2: not even that."""
        if kept.outgoing:
            return 0
        departure = _opposite(kept.at), _key(checks, kept)
        wanted = departures[departure]
        one = min(wanted, emitted[kept.at, _key(checks, kept)] + 1)
        if is_stream(checks[kept.check]):  # one by one: a segment that is repeated left twice
            wanted = one
        return 0 if emitted[departure] >= wanted else 1 if emitted[departure] >= one else 2

    def rank(side: Side) -> tuple[int, bool, bool, int, bool]:
        kept = queues[side][0]
        return (
            early(kept),
            kept.outgoing,
            checks[kept.check].flow is Flow.NEW,
            rounds.get((kept.check, kept.shot), 0),
            bool(found) and found[-1].at is not side,
        )

    while sides := [side for side in Side if queues[side]]:
        kept = queues[min(sides, key=rank)].popleft()
        emitted[kept.at, _key(checks, kept)] += 1
        found.append(kept)
    return found


def _rounds(checks: Mapping[int, Check], reel: Reel) -> dict[tuple[int, int], int]:
    """(check, shot) → the place of the order that fired it; a reply has its request's."""
    rounds: dict[tuple[int, int], int] = {}
    for place, volley in enumerate(reel.volleys):
        for shot in range(volley.first, volley.first + volley.count):
            for number in (volley.check, checks[volley.check].partner):
                if number is not None:
                    rounds[number, shot] = place
    return rounds


def _key(checks: Mapping[int, Check], kept: Kept) -> Key:
    """What a departure and its arrival have in common. The fragments of a packet are one thing."""
    part = kept.stage if is_stream(checks[kept.check]) else ""
    if kept.event is Event.REFUSED:
        part = "refused"
    return kept.check, kept.shot, part


def _opposite(side: Side) -> Side:
    return Side.FAR if side is Side.NEAR else Side.NEAR
