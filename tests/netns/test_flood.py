"""A peer, or anybody, that sends garbage is ignored and counted: the verdicts are the same."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from probe.lab import Lab, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Running, agent_log, probe, result
from tests.netns.test_verdicts import cells

pytestmark = pytest.mark.netns

KINDS = "--only=icmp-echo,esp,ah,ike,ike-nat-t,kerberos-udp,kerberos-tcp"
PASSED_OVER = re.compile(r"far passed over ([0-9,]+) packets? on the tested")


def run(lab: Lab, where: str, port: int = 0) -> tuple[dict[str, Any], int]:
    """A run while ``where`` floods far; its result, and the strangers that it tells of."""
    key = write_key(lab)
    agent = start_agent(lab, key)
    argv = [sys.executable, "-m", "tests.netns.flood", lab.far_address(), str(port)]
    flood = Running(lab, where, argv)
    try:
        flood.hear("ready")
        found = result(probe(lab, key, "--json=-", "--scenario=all", KINDS))
        assert flood.process.poll() is None, "the flood ended before the run"
    finally:
        flood.process.kill()
        flood.process.wait()
    assert agent.poll() is None
    assert "fault" not in agent_log(lab)
    assert found["complete"]
    told = [match for note in found["notes"] if (match := PASSED_OVER.match(note))]
    return found, int(told[0][1].replace(",", "")) if told else 0


@pytest.mark.parametrize("family", [4, 6])
def test_a_third_party_changes_no_verdict(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("esp-missing", family)
    key = write_key(lab)
    start_agent(lab, key)
    quiet = result(probe(lab, key, "--json=-", "--scenario=all", KINDS))
    assert not any(PASSED_OVER.match(note) for note in quiet["notes"])
    noisy, strangers = run(make_lab("esp-missing", family), "fw")
    assert cells(noisy) == cells(quiet)
    assert strangers > 50


def test_the_peer_itself_changes_none_but_what_it_may_have_opened(make_lab: MakeLab) -> None:
    """Its garbage travels on our own tuples, and then a firewall may have opened the way for ours.

    That is told as such, and is no failure; nothing else changes.
    """
    noisy, strangers = run(make_lab("open"), "near")
    assert strangers > 50
    for check in noisy["checks"]:
        assert check["outcome"] in ("delivered", "state-possible"), (check["kind"], check["cause"])
        if check["outcome"] == "state-possible":
            assert check["kind"] in ("esp", "ah", "ike"), check["cause"]
