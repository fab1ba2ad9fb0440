"""When is silence a drop? When the path's own random loss can no longer explain it."""

from __future__ import annotations

import math

DOUBT = 1e-6  # a check is called lost when chance explains its silence with less than this
CONFIDENCE = 0.99
UNKNOWN_LOSS = 0.3  # reckoned with where no loss was seen, however few shots were
FLOOR = 0.01


def upper_bound(sent: int, missing: int) -> float:
    """The loss rate that ``missing`` of ``sent`` shots leave possible, at 99 % confidence.

    One-sided Clopper–Pearson bound. ``sent`` counts only shots of checks that got something
    through, so that a filter is not taken for loss. Where none is missing the bound is at most
    UNKNOWN_LOSS: a handful of shots that all arrived make no path look worse than none at all.
    """
    if sent == 0:
        return UNKNOWN_LOSS
    if missing >= sent:
        return 1.0
    low, high = missing / sent, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _at_most(missing, sent, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return max(high if missing else min(high, UNKNOWN_LOSS), FLOOR)


def _at_most(k: int, n: int, rate: float) -> float:
    """The probability of at most ``k`` losses among ``n`` shots."""
    return sum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k + 1))


def of_fragments(rate: float, pieces: int) -> float:
    """The loss rate of a datagram in ``pieces`` fragments, each lost with ``rate``."""
    return 1 - (1 - rate) ** pieces


def shots_needed(rate: float) -> float:
    """How many shots in a row, all unseen, make loss by chance less likely than DOUBT."""
    if rate >= 1.0:
        return math.inf
    needed = math.ceil(math.log(DOUBT) / math.log(rate))
    return needed if rate**needed < DOUBT else needed + 1
