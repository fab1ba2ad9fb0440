"""Paths that fool a tester: two firewalls in a row, a translated far, answers from strangers."""

from __future__ import annotations

import json
import sys

import pytest

from probe.lab import Lab, start_agent, write_key
from tests.netns.chain import Chain
from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import OPEN, SHUT, cells, judged, probe_run

pytestmark = pytest.mark.netns

SHARED = ("--only=esp,ah,ike,kerberos-udp", "--timeout=0.4")


def one_site(inside: str, outside: str) -> str:
    """A site's own firewall: what is inside may open flows, what is outside may only answer."""
    return f"""
table inet test {{
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        tcp dport 5088 accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        iifname "{inside}" oifname "{outside}" accept
    }}
}}
"""


@pytest.mark.parametrize("family", [4, 6])
def test_two_sites_each_open_outwards_alone_are_shut_both_ways(family: int) -> None:
    """The inbound shot opens far's firewall and dies at near's; then outbound seems to be open."""
    with Chain(2, at=1, family=family) as lab:
        lab.load("fw", one_site("near0", "far0"))
        lab.load("hop2", one_site("far0", "near0"))
        found = cells(judged(lab, *SHARED, "--scenario=kb233256"))
        for kind in ("esp", "ike"):
            assert found[kind][0] == "state-possible", (kind, found[kind])
            assert found[kind][2] == "lost"
        assert found["kerberos-udp"] == SHUT


def test_two_open_routers_are_still_open() -> None:
    with Chain(2) as lab:
        found = cells(judged(lab, *SHARED))
        assert found["kerberos-udp"] == OPEN
        assert found["esp"] == ("state-possible", "delivered", "delivered", "delivered")


FORWARDED_FAR = """
table ip test {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "near0" ip daddr 10.77.1.1 dnat to 10.77.2.2
    }
}
"""


def test_a_far_host_behind_a_forwarding_gateway(make_lab: MakeLab) -> None:
    """Inbound first would take the tuple that outbound is mapped to, and break it."""
    lab = make_lab(None)
    lab.load("fw", FORWARDED_FAR)
    key = write_key(lab)
    start_agent(lab, key)
    process = probe_run(lab, *SHARED, "--direction=both", "--peer=10.77.1.1", key=str(key))
    found = cells(json.loads(process.stdout))
    assert found["esp"][:2] == ("delivered", "delivered")
    assert found["ike"][:2] == ("delivered", "delivered")
    assert found["ah"][0] == "altered"


def test_an_earlier_run_that_was_shut_out_still_opened_nears_own_firewall(
    make_lab: MakeLab,
) -> None:
    """closed, then opened: near's own conntrack remembers what near had sent."""
    lab = make_lab("closed")
    lab.load("near", OWN_INPUT)
    key = write_key(lab)
    start_agent(lab, key)
    arguments = ("--only=esp,ike", "--timeout=0.4")
    probe_run(lab, *arguments, key=str(key))
    lab.flush("fw")
    found = cells(json.loads(probe_run(lab, *arguments, key=str(key)).stdout))
    assert found["esp"][2] in ("state-possible", "host-dropped")
    assert found["ike"][2] in ("state-possible", "host-dropped")
    assert found["ike any"][2] == "host-dropped"


OWN_INPUT = """
table inet test {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
"""


LIVE = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_RAW, 50) as esp:
    esp.sendto(bytes(64), ("10.77.2.2", 0))
"""


def test_live_traffic_before_the_run_that_near_itself_has_tracked(make_lab: MakeLab) -> None:
    """A tunnel in use opens the way for ESP from far; near's own conntrack still knows of it."""
    lab = make_lab("outbound-only")
    lab.load("near", OWN_INPUT)
    lab.run("near", [sys.executable, "-c", LIVE])
    result = judged(lab, "--only=esp", "--direction=inbound", "--timeout=0.4")
    check = result["checks"][0]
    assert check["outcome"] == "state-possible"
    assert "connection tracking" in check["cause"]


def replies_from(rule: str) -> str:
    return f"""
table ip test {{
    chain postrouting {{
        type filter hook postrouting priority 300; policy accept;
        oifname "near0" {rule}
    }}
}}
"""


@pytest.mark.parametrize(
    "rule",
    [
        "udp sport 88 ip saddr set 10.77.2.77",
        "udp sport 88 udp sport set 8888",
    ],
)
def test_a_reply_from_elsewhere_is_not_the_reply(make_lab: MakeLab, rule: str) -> None:
    lab = make_lab(None)
    lab.load("fw", replies_from(rule))
    found = cells(
        judged(lab, "--only=kerberos-udp", "--timeout=0.4", "--direction=outbound"),
    )
    assert found["kerberos-udp"][0] == "delivered"
    assert found["kerberos-udp"][1] in ("altered", "lost"), found


AFTER_THE_HANDSHAKE = """
table inet test {
    chain forward {
        type filter hook forward priority filter; policy accept;
        tcp dport 88 tcp flags & psh == psh drop
    }
}
"""


def test_tcp_data_that_is_dropped_after_the_handshake(make_lab: MakeLab) -> None:
    lab: Lab = make_lab(None)
    lab.load("fw", AFTER_THE_HANDSHAKE)
    result = judged(lab, "--only=kerberos-tcp", "--timeout=0.4", "--direction=outbound")
    check = result["checks"][0]
    assert check["outcome"] == "lost"
    assert "after the handshake" in check["cause"]


def test_nothing_that_could_be_tested_is_not_a_pass(make_lab: MakeLab) -> None:
    lab = make_lab("masquerade")
    key = write_key(lab)
    start_agent(lab, key)
    process = probe_run(lab, "--only=esp", "--direction=inbound", "--timeout=0.4", key=str(key))
    assert process.returncode == 3
