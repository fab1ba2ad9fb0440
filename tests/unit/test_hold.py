from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.state.hold import PRECISION, SECOND, Held, Search


def play(timeout: float, bound: float) -> tuple[Held, list[float]]:
    """The search against a firewall that forgets after ``timeout`` seconds."""
    search, waits = Search(bound), []
    while (silence := search.silence()) is not None:
        waits.append(silence)
        search.answer(silence, silence < timeout)
        assert len(waits) < 100
    return search.held, waits


@given(st.floats(0.01, 2000.0), st.floats(1.0, 1000.0))
def test_the_answer_holds_the_truth(timeout: float, bound: float) -> None:
    held, waits = play(timeout, bound)
    assert held.at_least <= timeout
    assert max(waits) <= bound
    if held.less_than is None:
        assert held.at_least == bound < timeout
    else:
        assert timeout <= held.less_than
        width = held.less_than - held.at_least
        assert width <= max(SECOND, PRECISION * held.less_than)


def test_thirty_seconds_are_found_in_a_few_minutes() -> None:
    held, waits = play(30.0, 120.0)
    assert held.at_least < 30.0 <= (held.less_than or 0)
    assert sum(waits) < 180


def test_a_firewall_that_forgets_at_once() -> None:
    assert play(0.0, 60.0)[0] == Held(0.0, 1.0)


@pytest.mark.parametrize("bound", [1.0, 7.0, 60.0])
def test_a_long_memory_is_told_as_far_as_the_bound(bound: float) -> None:
    assert play(10_000.0, bound)[0] == Held(bound, None)
