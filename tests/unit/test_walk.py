"""The walk's exit code. What it sends is in the tests with real packets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Direction
from probe.result import Host, Outcome, PathFacts, RunResult
from probe.trace.conclusion import TraceResult, Way
from probe.trace.walk import Traced, exit_code

HOST = Host("h", "10.0.0.1", "0")
RUN = RunResult("kb233256", 0.0, 1.0, True, HOST, HOST, PathFacts(None), ())


def traced(*outcomes: Outcome) -> Traced:
    ways = tuple(Way(Direction.OUTBOUND, outcome, "", ()) for outcome in outcomes)
    return Traced(TraceResult(RUN, "esp", {}, ways))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((Outcome.DELIVERED, Outcome.STATE_POSSIBLE), 0),
        ((Outcome.DELIVERED, Outcome.NOT_APPLICABLE), 0),
        ((Outcome.DELIVERED, Outcome.LOST), 1),
        ((Outcome.REFUSED, Outcome.UNOBSERVED), 1),
        ((Outcome.HOST_DROPPED, Outcome.DELIVERED), 1),
        ((Outcome.LOSSY, Outcome.DELIVERED), 1),
        ((Outcome.DELIVERED, Outcome.UNOBSERVED), 3),
        ((Outcome.NOT_SENT, Outcome.DELIVERED), 3),
        ((Outcome.NOT_APPLICABLE,), 3),
        ((), 3),
    ],
)
def test_exit_codes(outcomes: tuple[Outcome, ...], code: int) -> None:
    assert exit_code(traced(*outcomes)) == code


def test_what_broke_off_has_a_code_of_its_own() -> None:
    whole = traced(Outcome.LOST)
    assert exit_code(replace(whole, error="the agent is gone")) == 3
    assert exit_code(replace(whole, error="interrupted", interrupted=True)) == 130
