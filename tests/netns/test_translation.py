"""A NAT that translates what is tested and not the control connection, for either host."""

from __future__ import annotations

import json

import pytest

from probe.lab import start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import OPEN, cells, judged, probe_run

pytestmark = pytest.mark.netns

SHARED = ("esp", "ike", "ike-v1")
ALL = ("--scenario=all", "--timeout=0.4")


def translating(source: str, what: str = "", forward: str = "accept") -> str:
    """``source``: the interface that new flows come in by which get the gateway's address."""
    target = {"near0": "far0", "far0": "near0"}[source]
    return f"""
table inet test {{
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        tcp dport 5088 accept
        iifname "{source}" oifname "{target}" {what} masquerade
    }}
    chain forward {{
        type filter hook forward priority filter;
        ct state established,related accept
        tcp dport 5088 accept
        iifname "far0" {forward}
    }}
}}
"""


@pytest.mark.parametrize("family", [4, 6])
def test_every_kind_is_answered_where_a_nat_hides_near_from_far_but_for_tcp_5088(
    make_lab: MakeLab, family: int
) -> None:
    lab = make_lab(None, family)
    lab.load("fw", translating("near0", forward="drop"))
    result = judged(lab, *ALL)
    found = cells(result)
    assert found.pop("ah")[:2] == ("altered", "altered")
    assert set(found.values()) == {("delivered", "delivered", "lost", "not-applicable")}
    assert not any("answers" in check["cause"] for check in result["checks"])


def test_an_agent_that_is_not_to_serve_that_network_answers_nothing_there(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(None)
    lab.load("fw", translating("near0", "meta l4proto { esp, tcp }", forward="drop"))
    key = write_key(lab)
    start_agent(lab, key, "--allow=10.77.1.2")
    kinds = "--only=esp,kerberos-udp,kerberos-tcp"
    done = probe_run(lab, kinds, "--timeout=0.4", key=str(key))
    result = json.loads(done.stdout)
    assert cells(result)["kerberos-udp"][:2] == ("delivered", "delivered")
    assert cells(result)["esp"][:2] == ("delivered", "not-sent")
    assert cells(result)["kerberos-tcp"][:2] == ("delivered", "not-sent")
    [cause] = {check["cause"] for check in result["checks"] if check["outcome"] == "not-sent"}
    assert "came from 10.77.2.1, and this run answers 10.77.1.2 alone" in cause
    assert done.returncode == 1, "inbound is lost; a reply that was not sent is no verdict"


@pytest.mark.parametrize("family", [4, 6])
def test_what_far_alone_begins_is_translated_and_nothing_is_lost_by_it(
    make_lab: MakeLab, family: int
) -> None:
    """Where nobody has told the gateway to leave this network out of its masquerading."""
    lab = make_lab(None, family)
    lab.load("fw", translating("far0"))
    found = cells(judged(lab, *ALL))
    found.pop("ah")
    shared = {kind: found.pop(kind) for kind in SHARED}
    assert set(shared.values()) == {("delivered", "delivered", "state-possible", "delivered")}
    assert set(found.values()) == {OPEN}


def test_a_nat_for_esp_alone_spoils_what_is_asked_after_it_and_that_is_told(
    make_lab: MakeLab,
) -> None:
    """No other kind shows it beforehand. All is open; our own inbound shots are in the way."""
    lab = make_lab(None)
    lab.load("fw", translating("far0", "meta l4proto esp"))
    key = write_key(lab)
    start_agent(lab, key)
    options = ("--only=esp,kerberos-udp", "--timeout=0.4")
    found = cells(json.loads(probe_run(lab, *options, key=str(key)).stdout))
    assert found["kerberos-udp"] == OPEN
    assert found["esp"] == ("unobserved", "unobserved", "delivered", "delivered")
    one_way = (*options, "--direction=outbound")
    again = json.loads(probe_run(lab, *one_way, key=str(key)).stdout)["checks"]
    [esp] = [check for check in again if (check["kind"], check["flow"]) == ("esp", "new")]
    assert esp["outcome"] == "unobserved"
    assert "an earlier run" in esp["cause"]
    quiet = make_lab(None)
    quiet.load("fw", translating("far0", "meta l4proto esp"))
    alone = judged(quiet, *one_way)["checks"]
    assert {check["outcome"] for check in alone} == {"delivered"}
