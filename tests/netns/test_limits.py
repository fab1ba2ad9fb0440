"""An agent with small limits: the run keeps to them, says so, and its verdicts are as true."""

from __future__ import annotations

import pytest

from probe.lab import start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Watch, probe, result
from tests.netns.test_bad_luck_agent import FIRE, HELLO, OPEN, Session, changed

pytestmark = pytest.mark.netns

KINDS = "--only=esp,ike,kerberos-udp"


def test_a_run_keeps_to_a_slow_agents_pace_and_says_so(make_lab: MakeLab) -> None:
    lab = make_lab("esp-missing")
    key = write_key(lab)
    start_agent(lab, key, "--max-shots=20", "--max-octets=20000", "--max-seconds=300")
    said = probe(lab, key, KINDS, "--json=-")
    found = result(said)
    assert found["limits"]["asked"]["shots_per_second"] == 2000
    assert found["limits"]["granted"] == {
        "shots_per_second": 20,
        "octets_per_second": 20_000,
        "seconds": 120,
    }
    assert found["limits"]["sessions"] == 16
    assert "20 shots and 20,000 octets a second" in " ".join(said.err.split())
    outcomes = {(c["kind"], c["outcome"]) for c in found["checks"] if c["flow"] == "new"}
    assert ("esp", "lost") in outcomes
    assert {outcome for kind, outcome in outcomes if kind == "esp"} == {"lost"}
    assert {outcome for kind, outcome in outcomes if kind != "esp"} <= {
        "delivered",
        "state-possible",
    }


def test_an_order_over_the_limit_is_refused_and_nothing_is_sent(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key, "--max-shots=5")
    watch = Watch(lab)
    volleys = [{"check": 1, "first": 1, "count": 100}]
    with Session(lab, key) as session:
        welcome = session.ask(HELLO)
        assert welcome["limits"]["shots"] == 5
        greedy = {"shots": 1e9, "octets": 1e12, "seconds": 1e9}
        assert session.ask(changed(OPEN, asked=greedy))["granted"]["shots"] == 5
        answer = session.ask(changed(FIRE, volleys=volleys))
        assert (answer["type"], answer["code"]) == ("oops", "denied")
        assert "5 a second, its --max-shots" in answer["text"]
        assert watch.count("far") == 0
        assert session.ask(changed(FIRE, volleys=volleys, gap=0.2))["type"] == "firing"
        few = [{"check": 1, "first": 101, "count": 1}]
        assert session.ask(changed(FIRE, volleys=few, gap=0.2))["type"] == "firing"
    with Session(lab, key) as session:
        session.ask(HELLO)
        for bad in (0.0, -1.0):
            asked = {"shots": bad, "octets": 1.0, "seconds": 1.0}
            assert session.ask(changed(OPEN, asked=asked))["type"] == "oops"


def test_a_session_whose_time_is_over_is_told_so_and_the_run_as_well(make_lab: MakeLab) -> None:
    lab = make_lab("closed")
    key = write_key(lab)
    start_agent(lab, key, "--max-seconds=1")
    with Session(lab, key) as session:
        session.ask(HELLO)
        session.ask(OPEN)
        farewell = session.hear()
        assert farewell["code"] == "stopped"
        assert "--max-seconds" in farewell["text"]
        assert session.hear() == {}
    said = probe(lab, key, KINDS, "--timeout=5")
    assert said.code == 3
    assert "ends a session after 1 s (--max-seconds), before the run was over" in said.words
