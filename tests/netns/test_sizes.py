"""What is large in real life: fragments, full packets, and a path with a smaller MTU."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2 import NetNS

from probe.lab import Lab
from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

SIZED = ("--sizes", "--only=esp,ike,kerberos-udp", "--timeout=0.4")

SILENT_GATEWAY = """
table inet test {
    chain output {
        type filter hook output priority filter; policy accept;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""
LATER_FRAGMENTS = """
table inet test {
    chain forward {
        type filter hook forward priority -500; policy accept;
        ip frag-off & 0x1fff != 0 drop
    }
}
"""


def outcomes(result: dict[str, Any]) -> dict[tuple[str, int | None, str], tuple[str, str]]:
    """(kind, size, direction) of new flows from usual ports → (outcome, cause)."""
    return {
        (check["kind"], check["size"], check["direction"]): (check["outcome"], check["cause"])
        for check in result["checks"]
        if check["flow"] == "new" and not (check["kind"] == "ike" and not check["source_port"])
    }


def shrink(lab: Lab, mtu: int) -> None:
    """A link with a smaller MTU behind the gateway, as a tunnel or PPPoE makes it."""
    for place, interface in ((lab.fw, "far0"), (lab.far, "eth0")):
        with NetNS(place) as namespace:
            (index,) = namespace.link_lookup(ifname=interface)
            namespace.link("set", index=index, mtu=mtu)


@pytest.mark.parametrize("family", [4, 6])
def test_everything_large_crosses_an_open_firewall(make_lab: MakeLab, family: int) -> None:
    found = outcomes(judged(make_lab("open", family), *SIZED))
    assert {size for _, size, _ in found if size} >= {1400, 1500, 2000}
    assert {outcome for outcome, _ in found.values()} == {"delivered", "state-possible"}


@pytest.mark.parametrize("family", [4, 6])
def test_dropped_fragments_are_named(make_lab: MakeLab, family: int) -> None:
    found = outcomes(judged(make_lab("no-fragments", family), *SIZED))
    for (kind, size, direction), (outcome, cause) in found.items():
        if size == 2000:
            assert outcome == "lost", (kind, direction)
            assert "fragments are dropped" in cause
            assert "passes at 1,400" in cause
        else:
            assert outcome in ("delivered", "state-possible"), (kind, size, direction)


def test_a_first_fragment_that_arrives_alone_is_seen(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("fw", LATER_FRAGMENTS)
    found = outcomes(judged(lab, *SIZED, "--direction=outbound"))
    outcome, cause = found["kerberos-udp", 2000, "outbound"]
    assert outcome == "lost"
    assert "first fragment reached far" in cause
    assert "first fragment reached far" in found["ike", 2000, "outbound"][1]


@pytest.mark.parametrize("family", [4, 6])
def test_a_small_mtu_that_is_told_is_a_refusal(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("open", family)
    shrink(lab, 1450)
    found = outcomes(judged(lab, *SIZED, "--direction=outbound"))
    assert found["esp", 1400, "outbound"][0] == "delivered"
    outcome, cause = found["esp", 1500, "outbound"]
    assert outcome == "refused"
    assert "too big" in cause or "fragmentation needed" in cause
    assert found["kerberos-udp", 2000, "outbound"][0] == "delivered"  # the sender fragments


@pytest.mark.parametrize("family", [4, 6])
def test_a_small_mtu_that_nobody_tells_is_a_black_hole(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("open", family)
    shrink(lab, 1450)
    lab.load("fw", SILENT_GATEWAY)
    found = outcomes(judged(lab, *SIZED, "--direction=outbound"))
    assert found["esp", 1400, "outbound"][0] == "delivered"
    outcome, cause = found["esp", 1500, "outbound"]
    assert outcome == "lost"
    assert "black hole" in cause
