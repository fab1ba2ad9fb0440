"""By ssh on ways that are not straight: through a jump host, in IPv6, by a name of ssh's own."""

from __future__ import annotations

import json

import pytest

from probe.lab import Lab, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, outcomes, probe, result, wait_until
from tests.netns.sshd import Sshd, agents, built, cells, run

pytestmark = pytest.mark.netns

ONLY_BY_JUMP = """
table inet door {
    chain forward {
        type filter hook forward priority -10;
        iifname "near0" tcp dport { 22, 5088 } drop
    }
}
"""
MASQUERADE = """
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "far0" masquerade
    }
}
"""
FROM_NEAR = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "near0" %s accept
    }
}
"""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    built()


def jumping(lab: Lab) -> Sshd:
    """far's server, to which near has no way but through fw."""
    jump, server = Sshd(lab, "fw"), Sshd(lab)
    lab.load("fw", ONLY_BY_JUMP)
    server.name(
        "Host gate",
        f"    HostName {jump.address}",
        f"    IdentityFile {jump.home / 'user'}",
        f"    UserKnownHostsFile {jump.home / 'known'}",
        "Host castle",
        f"    HostName {server.address}",
        "    ProxyJump gate",
        "    User root",
    )
    return server


def by_jump(lab: Lab, *options: str) -> Json:
    said = run(lab, jumping(lab), "--ssh=castle", "--timeout=0.4", "--json=-", *options)
    found = result(said)
    assert found["complete"], said.err
    assert "ssh did not go straight there" in said.words
    return found


@pytest.mark.parametrize("nat", [MASQUERADE, ""], ids=["nat", "no-nat"])
def test_verdicts_are_those_of_a_run_by_tcp(make_lab: MakeLab, nat: str) -> None:
    """With a NAT, inbound to near's own address is silent: that is no rule's doing."""
    labs = make_lab(None), make_lab(None)
    for lab in labs:
        lab.load("fw", nat + FROM_NEAR % "")
    key = write_key(labs[0])
    start_agent(labs[0], key)
    by_tcp = result(probe(labs[0], key, "--timeout=0.4", "--json=-"))
    found = by_jump(labs[1])
    assert found["path"]["near_behind_nat"] is by_tcp["path"]["near_behind_nat"] is bool(nat)
    assert cells(found) == cells(by_tcp)
    inbound = {c["outcome"] for c in found["checks"] if named(c) == ("inbound", "new")}
    assert inbound == ({"not-applicable"} if nat else {"lost"})


@pytest.mark.parametrize("nat", [MASQUERADE, ""], ids=["nat", "no-nat"])
def test_esp_itself_shows_the_nat_where_nothing_else_crosses(make_lab: MakeLab, nat: str) -> None:
    lab = make_lab(None)
    lab.load("fw", nat + FROM_NEAR % "meta l4proto esp")
    found = by_jump(lab)
    told = outcomes(found, direction="inbound", flow="new")
    assert told["esp"] == told["icmp-echo"] == ({"not-applicable"} if nat else {"lost"})
    assert outcomes(found, direction="outbound", flow="new")["esp"] == {"delivered"}
    assert found["path"]["near_behind_nat"] is bool(nat)


def test_where_nothing_reaches_far_inbound_silence_says_nothing(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("fw", MASQUERADE + FROM_NEAR % "meta l4proto 99")
    found = by_jump(lab, "--only=esp,ike,kerberos-tcp")
    asked = {named(c): c["outcome"] for c in found["checks"]}
    assert asked["inbound", "new"] == "unobserved"
    assert asked["outbound", "new"] == "lost"
    causes = {c["cause"] for c in found["checks"] if named(c) == ("inbound", "new")}
    assert all("near's address by near's own word" in cause for cause in causes)


def named(check: Json) -> tuple[str, str]:
    return check["direction"], check["flow"]


def test_ipv6_and_a_name_and_port_of_sshs_own(make_lab: MakeLab) -> None:
    lab = make_lab("esp-missing", 6)
    server = Sshd(lab, settings="Port 2222\n")
    server.name("Host castle", f"    HostName {server.address}", "    Port 2222", "    User root")
    lab.load("fw", 'insert rule inet lab forward iifname "near0" tcp dport 2222 accept')
    said = run(lab, server, "--ssh=castle", "--json=-")
    found = result(said)
    assert found["complete"], said.err
    assert "did not go straight" not in said.words
    assert outcomes(found, direction="inbound", flow="new")["esp"] == {"lost"}
    assert outcomes(found, direction="inbound", flow="new")["ike"] == {"delivered"}


def test_state_and_trace_know_the_nat_through_a_jump_host(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = jumping(lab)
    lab.load("fw", MASQUERADE + FROM_NEAR % "")
    options = "--ssh=castle", "--timeout=0.4", "--json=-"
    state = run(lab, server, "--kind=esp", "--max=1", *options, command="state")
    assert json.loads(state.out)["state"] == "reply-only", state.out + state.err
    trace = run(lab, server, "--kind=esp", *options, command="trace")
    assert trace.code == 0, trace.out + trace.err


def test_what_is_unknown_of_near_is_no_closed_way_back(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = jumping(lab)
    lab.load("fw", MASQUERADE + FROM_NEAR % "meta l4proto esp")
    said = run(lab, server, "--ssh=castle", "--kind=esp", "--max=1", command="state")
    assert said.code == 3
    assert "near's address in far's eyes is not known" in " ".join(said.out.split())


def test_a_watch_lands_anew_for_each_round(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = Sshd(lab)
    options = "--only=kerberos-udp", "--every=0.1", "--rounds=2", "--jsonl=-"
    said = run(lab, server, *options, command="watch")
    assert said.code == 0, said.err
    wait_until(lambda: not agents(lab), "the agents gone")
    assert (server.home / "log").read_text().count("Accepted publickey") == 2
