"""What an agent takes while nobody tests: hardly more after many sessions than before the first."""

from __future__ import annotations

import pytest

from agent.daemon import REST_SECONDS
from probe.lab import start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import probe, wait_until
from tests.speed import resident

pytestmark = pytest.mark.netns

RUNS = 10
ROOM = 10.0  # MiB; if nothing is given back, it is 15 and more


def test_what_sessions_took_is_given_back(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)

    def memory() -> float:
        return resident.memory(agent.pid).own

    at_first = memory()
    for _ in range(RUNS):
        assert probe(lab, key, "--scenario=all", "--sizes").code == 0
    wait_until(lambda: memory() < at_first + ROOM, "memory given back", 10 * REST_SECONDS)
