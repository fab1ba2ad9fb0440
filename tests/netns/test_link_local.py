"""Two hosts on one link, by addresses that mean something there alone (RFC 4291, section 2.5.6)."""

from __future__ import annotations

import json

import pytest

from probe.lab import Lab, module, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Running
from tests.netns.test_verdicts import OPEN, OPEN_SHARED, SHARED, cells

pytestmark = pytest.mark.netns

DROPPED = """
table inet test {
    chain input {
        type filter hook input priority filter; policy accept;
        meta l4proto esp drop
    }
}
"""


def neighbour(lab: Lab) -> str:
    """The gateway's own link-local address on near's link."""
    told = lab.run("fw", ["ip", "-6", "-j", "address", "show", "dev", "near0"]).stdout
    [link] = json.loads(told)
    return next(str(a["local"]) for a in link["addr_info"] if a["scope"] == "link")


def test_every_kind_both_ways_and_what_a_hosts_own_firewall_drops(make_lab: MakeLab) -> None:
    lab = make_lab(None, 6)
    key = write_key(lab)
    agent = Running(lab, "fw", [*module("agent"), f"--key={key}"])
    agent.hear("listens on")
    argv = [*module("probe"), "run", f"--peer={neighbour(lab)}%eth0", f"--key={key}", "--json=-"]
    said = Running(lab, "near", [*argv, "--scenario=all", "--timeout=0.4"]).end()
    assert said.code == 0, said
    found = cells(json.loads(said.out))
    assert found == {kind: OPEN_SHARED if kind in SHARED else OPEN for kind in found}
    lab.load("fw", DROPPED)
    said = Running(lab, "near", [*argv, "--only=esp,kerberos-udp", "--timeout=0.4"]).end()
    found = cells(json.loads(said.out))
    assert found["esp"] == ("host-dropped", "not-applicable", "state-possible", "host-dropped")
    assert found["kerberos-udp"] == OPEN
    agent.process.terminate()
    assert agent.end().code == 0
