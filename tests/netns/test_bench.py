"""``make bench`` holds its times against the truth; here the truth is tried without the times."""

from __future__ import annotations

import json

import pytest

from probe.lab import Lab, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.speed import phases
from tests.speed.runs import GATE, KINDS, WAIT, Bench, Wrong

pytestmark = pytest.mark.netns


@pytest.fixture
def bench(make_lab: MakeLab) -> Bench:
    lab: Lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    return Bench(lab, key)


def test_every_verdict_is_the_truth_with_some_kinds_dropped_with_all_and_with_none(
    bench: Bench,
) -> None:
    dropped = bench.gate()
    assert {*GATE} <= dropped < KINDS
    with bench.dropping(KINDS):
        bench.probe(KINDS, WAIT)
    bench.probe()


def test_an_answer_that_is_not_the_truth_ends_it(bench: Bench) -> None:
    with bench.dropping(("esp",)):
        with pytest.raises(Wrong, match="ended with code 1"):  # though nothing should be dropped
            bench.probe((), WAIT)
        with pytest.raises(Wrong, match="  ah inbound new: delivered pass, and should be lost"):
            bench.probe(("esp", "ah"), WAIT)
        with pytest.raises(Wrong, match="  kerberos-tcp inbound reply: 0 checks, and should be 1"):
            bench.probe(("esp",), WAIT, "--only=esp,ah,ike")


def test_its_stop_watch_finds_the_parts_of_a_run(bench: Bench) -> None:
    file = bench.lab.directory / "phases.json"
    bench.probe(program=[*module(phases.__name__), str(file)])
    at = json.loads(file.read_text())
    assert at["begun"] < at["control"] < at["driving"] < at["driven"] < at["ended"]
    assert 0 < at["sent"] < at["waited"] < at["driven"] - at["driving"]
    assert at["shots"] >= len(KINDS)
