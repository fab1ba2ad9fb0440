from __future__ import annotations

import random

import pytest

from probe.judge import loss


def test_the_bound_holds_as_often_as_it_promises() -> None:
    random_ = random.Random(1)
    for rate in (0.05, 0.3, 0.5):
        misses = 0
        for _ in range(2000):
            missing = sum(random_.random() < rate for _ in range(24))
            misses += missing > 0 and loss.upper_bound(24, missing) < rate
        assert misses / 2000 <= 0.015


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.5, 0.8])
def test_the_shots_needed_leave_less_than_one_in_a_million(rate: float) -> None:
    needed = loss.shots_needed(rate)
    assert rate**needed < loss.DOUBT <= rate ** (needed - 1)


def test_a_path_that_loses_all_can_never_be_told_from_a_filter() -> None:
    assert loss.shots_needed(loss.upper_bound(10, 10)) == float("inf")


def test_nothing_measured_is_reckoned_as_a_bad_path() -> None:
    assert loss.upper_bound(0, 0) == loss.UNKNOWN_LOSS
    assert loss.upper_bound(3, 0) == loss.UNKNOWN_LOSS
    assert loss.upper_bound(100, 0) < 0.05
    assert loss.upper_bound(3, 1) > loss.UNKNOWN_LOSS
