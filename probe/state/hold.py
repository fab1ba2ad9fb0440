"""How long is the way back held open? The search, without sockets and without a clock.

A stateful firewall lets a reply in for a while after the last packet it saw of the flow. The search
says how long to stay silent next; the caller stays silent, sends one late reply, and says whether
it arrived. Each arrival renews the firewall's memory, each failure means that it is gone and that
the flow must be opened anew.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

FIRST = 1.0  # seconds of the first silence
GROWTH = 2.0
PRECISION = 0.1  # of the answer, but never finer than SECOND
SECOND = 1.0
WORTHWHILE = 0.2  # of what was open: a failure that narrows it by less ends the search


@dataclass(frozen=True, slots=True)
class Held:
    """The memory outlives ``at_least`` seconds of silence, and not ``less_than``.

    ``less_than`` is None where the bound was reached with the way still open.
    """

    at_least: float
    less_than: float | None


@dataclass(slots=True)
class Search:
    """Ask ``silence()``, wait that long, tell ``answer()``; until ``silence()`` is None.

    ``answer`` takes the silence as it was: a little longer than it was to be.
    """

    bound: float  # seconds that one silence may last
    first: float = FIRST
    _low: float = field(default=0.0, init=False)
    _high: float | None = field(default=None, init=False)
    _settled: bool = field(default=False, init=False)

    def silence(self) -> float | None:
        """Seconds to stay silent next; None when the answer is known."""
        if self._high is None:
            if self._low >= self.bound:
                return None
            return min(self.bound, max(self.first, self._low * GROWTH))
        if self._settled or self._high - self._low <= max(SECOND, PRECISION * self._high):
            return None
        return (self._low + self._high) / 2

    def answer(self, silence: float, arrived: bool) -> None:
        """What became of the late reply after that silence."""
        if arrived:
            self._low = max(self._low, silence)
            self._settled = self._high is not None and self._low >= self._high
        elif self._high is None:
            self._high = silence
        else:
            # Asking takes time as well: where that is long, no finer answer is to be had.
            self._settled = self._high - silence < WORTHWHILE * (self._high - self._low)
            self._high = min(self._high, silence)

    @property
    def held(self) -> Held:
        return Held(self._low, self._high)

    def remaining(self) -> float:
        """Seconds of silence still to come, should every late reply arrive."""
        ahead, seconds = copy.copy(self), 0.0
        while (silence := ahead.silence()) is not None:
            seconds += silence
            ahead.answer(silence, arrived=True)
        return seconds
