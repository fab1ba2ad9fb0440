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
    """A smaller MTU on the gateway's way to far, as a tunnel or PPPoE makes it; the hosts' own
    links carry more.
    """
    with NetNS(lab.fw) as namespace:
        (index,) = namespace.link_lookup(ifname="far0")
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


# In order, the first fragment opens the way for the later ones; before any tracking joins them.
IN_ORDER_ONLY = """
table inet test {
    set begun4 { typeof ip saddr . ip id; flags timeout; timeout 5s; }
    set begun6 { typeof ip6 saddr . frag id; flags timeout; timeout 5s; }
    chain forward {
        type filter hook prerouting priority -500; policy accept;
        ip frag-off & 0x3fff == 0x2000 add @begun4 { ip saddr . ip id }
        ip frag-off & 0x1fff != 0 ip saddr . ip id != @begun4 drop
        frag frag-off 0 frag more-fragments 1 add @begun6 { ip6 saddr . frag id }
        frag frag-off != 0 ip6 saddr . frag id != @begun6 drop
    }
}
"""


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_that_come_in_another_order(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("open", family)
    lab.load("fw", IN_ORDER_ONLY)
    result = judged(lab, *SIZED, "--direction=outbound")
    large = [c for c in result["checks"] if c["size"] == 2000 and c["flow"] == "new"]
    assert {c["kind"] for c in large} == {"ike", "kerberos-udp"}
    for check in large:
        if check["fragmenting"] == "last-first":
            assert check["outcome"] == "lost", check["cause"]
            assert "fragments out of order are dropped" in check["cause"]
        else:
            assert check["outcome"] in ("delivered", "state-possible"), check["cause"]


def test_a_host_that_joins_its_fragments_first_is_not_blamed_on_the_path(make_lab: MakeLab) -> None:
    lab = make_lab("open", 6)
    # Tracking on the sender itself: what goes out last first is put in order before it leaves.
    lab.load(
        "near", "table inet t { chain o { type filter hook output priority 0; ct state new; }; }"
    )
    lab.load("fw", IN_ORDER_ONLY)
    result = judged(lab, *SIZED, "--direction=outbound")
    asked = [c for c in result["checks"] if c["fragmenting"] == "last-first"]
    assert asked
    for check in asked:
        assert check["outcome"] == "not-applicable", check["cause"]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("tells", [True, False])
def test_the_path_mtu_is_measured_for_each_kind_and_direction(
    make_lab: MakeLab, family: int, tells: bool
) -> None:
    lab = make_lab("open", family)
    shrink(lab, 1450)
    if not tells:
        lab.load("fw", SILENT_GATEWAY)
    result = judged(lab, *SIZED)
    mtu = result["path"]["mtu"]
    assert set(mtu["outbound"]) == {"esp", "ike", "kerberos-udp"}
    for kind, found in mtu["outbound"].items():
        assert 1448 <= found["octets"] <= 1450, (kind, found)
        assert 1450 < found["stopped"] <= 1454, (kind, found)
        assert (found["icmp"] or {}).get("mtu") == (1450 if tells else None), (kind, found)
    assert all(found["octets"] >= 1448 for found in mtu["inbound"].values())
    assert any("path MTU outbound" in note for note in result["notes"])
