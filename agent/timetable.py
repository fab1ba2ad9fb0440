"""Which shot is due when: the orders of one end, in the order in which they are carried out."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from agent.model import Tag, Volley


class Timetable:
    """Shots with a moment each, by whatever clock the caller has; the earliest comes first."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Tag, int | None]] = []
        self._order = 0

    def add(self, volleys: Sequence[Volley], gap: float, now: float) -> None:
        """One shot every ``gap`` seconds, from now on or from the end of what is planned already.

        The checks take turns, so that a burst of loss or a limit on ICMP errors does not fall on
        one of them alone.
        """
        start = max([now, *(entry[0] + gap for entry in self._due)])
        longest = max((volley.count for volley in volleys), default=0)
        turns = [
            (Tag(volley.check, volley.first + turn), volley.ttl)
            for turn in range(longest)
            for volley in volleys
            if turn < volley.count
        ]
        for place, (tag, ttl) in enumerate(turns):
            self._order += 1
            heapq.heappush(self._due, (start + place * gap, self._order, tag, ttl))

    def next(self) -> float | None:
        """When the next shot is due; None when there is none."""
        return self._due[0][0] if self._due else None

    def last(self) -> float | None:
        """When the last one is due; None when there is none."""
        return max(entry[0] for entry in self._due) if self._due else None

    def waiting(self) -> list[Tag]:
        """The shots that are still to be sent, in any order."""
        return [tag for _, _, tag, _ in self._due]

    def pop(self, now: float) -> tuple[Tag, int | None] | None:
        """The next shot that is due by ``now``, and its TTL; None when there is none yet."""
        if not self._due or self._due[0][0] > now:
            return None
        _, _, tag, ttl = heapq.heappop(self._due)
        return tag, ttl

    def clear(self) -> None:
        self._due.clear()
