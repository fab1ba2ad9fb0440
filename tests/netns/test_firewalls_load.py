"""What each ready-made firewall lets through as a new flow, in each direction, held by packets.

One statement for both families: the tables below do not know of IPv4 and IPv6. Outbound and
inbound are asked between different addresses, so that neither opens the way for the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from probe.lab import Lab, firewall_names
from tests.netns.conftest import MakeLab
from tests.netns.packets import FAMILIES, PACKETS, Hosts, Packet, Seen, Shot, shots

pytestmark = pytest.mark.netns

NAMES = {packet.name for packet in PACKETS}
KB = NAMES - {"nat-t", "nat-t-fresh", "l2tp", "control"}
CONTROL = {"control"}
NOTHING: set[str] = set()
IPSEC = {"esp", "ah", "ike", "ike-fresh"}
FIXED = KB - {"ike-fresh"} | {"nat-t"}

# firewall: (new flows outbound, new flows inbound)
NEW = {
    "open": (NAMES, NAMES),
    "closed": (CONTROL, NOTHING),
    "kb233256": (KB | CONTROL, KB),
    "esp-missing": (KB - {"esp"} | CONTROL, KB - {"esp"}),
    "udp500-missing": (KB - {"ike", "ike-fresh"} | CONTROL, KB - {"ike", "ike-fresh"}),
    "nat-t-only": (
        KB - {"esp", "ah"} | {"nat-t", "nat-t-fresh"} | CONTROL,
        KB - {"esp", "ah"} | {"nat-t", "nat-t-fresh"},
    ),
    "outbound-only": (NAMES, NOTHING),
    "one-way-out": (NAMES, NOTHING),
    "one-way-in": (CONTROL, NAMES),
    "reject": (CONTROL, NOTHING),
    "masquerade": (NAMES, NOTHING),
    "far-host-firewall": (NAMES - IPSEC, NAMES),
    "no-forwarding": (NOTHING, NOTHING),
    "fixed-ports": (FIXED | CONTROL, FIXED),
    "no-fragments": (NAMES, NAMES),
    "loss": (NAMES, NAMES),  # of many
}

# Kinds that no kernel answers by itself, so that a reply can be made by hand.
HAND = tuple(packet for packet in PACKETS if packet.protocol in {17, 50, 51})
HAND_NAMES = {packet.name for packet in HAND}

# firewall: what passes (inbound, outbound) where the other way was tried before, as a reply to it
REPLIES = {
    "open": (HAND_NAMES, HAND_NAMES),
    "kb233256": (KB, KB),
    "outbound-only": (HAND_NAMES, HAND_NAMES),
    "masquerade": (HAND_NAMES, HAND_NAMES),
    "one-way-out": (NOTHING, HAND_NAMES),
    "one-way-in": (HAND_NAMES, NOTHING),
    "fixed-ports": (FIXED, FIXED),
    "far-host-firewall": (HAND_NAMES, HAND_NAMES - IPSEC),
}

LARGE = Packet("large", 17, (500, 500), fill=3000)
MANY = 100  # packets of a kind, to measure a loss of 30 in 100: 5 standard deviations are 23


@pytest.fixture
def meet() -> Iterator[Callable[[Lab], Hosts]]:
    """The hosts of a lab; addresses that end in 3 are for what goes inbound."""
    with ExitStack() as stack:

        def open_hosts(lab: Lab) -> Hosts:
            hosts = stack.enter_context(closing(Hosts(lab)))
            for family in FAMILIES:
                hosts.near.add_address(lab.near_address(family)[:-1] + "3")
                hosts.far.add_address(lab.far_address(family)[:-1] + "3")
            return hosts

        yield open_hosts


Meet = Callable[[Lab], Hosts]


def passed(seen: Seen, shots: list[Shot], family: int) -> set[str]:
    mine = {shot for shot in shots if shot.family == family}
    return {arrival.shot.packet.name for arrival in seen.arrivals if arrival.shot in mine}


def test_every_ready_made_firewall_is_stated_here() -> None:
    assert set(firewall_names()) == set(NEW)


@pytest.mark.parametrize("name", sorted(set(NEW) - {"loss"}))
def test_new_flows(name: str, make_lab: MakeLab, meet: Meet) -> None:
    lab = make_lab(name)
    hosts = meet(lab)
    outbound, inbound = shots(lab, "outbound"), shots(lab, "inbound", host=3)
    seen = hosts.exchange(outbound, inbound)
    found = {
        family: (passed(seen, outbound, family), passed(seen, inbound, family))
        for family in FAMILIES
    }
    assert found == {4: NEW[name], 6: NEW[name]}
    if name == "masquerade":
        assert {arrival.source for arrival in seen.arrivals} == {
            lab.gateway_address("far", family) for family in FAMILIES
        }


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_replies(name: str, make_lab: MakeLab, meet: Meet) -> None:
    lab = make_lab(name)
    hosts = meet(lab)
    outbound, inbound = shots(lab, "outbound", HAND), shots(lab, "inbound", HAND, host=3)
    hosts.exchange(outbound, inbound)
    gate = {family: lab.gateway_address("far", family) for family in FAMILIES}
    back = [
        replace(shot.back(), destination=gate[shot.family]) if name == "masquerade" else shot.back()
        for shot in outbound
    ]
    forth = [shot.back() for shot in inbound]
    seen = hosts.exchange(forth, back)
    found = {
        family: (
            passed(seen, back, family) & HAND_NAMES,
            passed(seen, forth, family) & HAND_NAMES,
        )
        for family in FAMILIES
    }
    expected = tuple(names & HAND_NAMES for names in REPLIES[name])
    assert found == {4: expected, 6: expected}


def test_reject_says_so_to_the_sender(make_lab: MakeLab, meet: Meet) -> None:
    """ICMP type 3 code 13 (RFC 1812), ICMPv6 type 1 code 1 (RFC 4443), from the gateway."""
    lab = make_lab("reject")
    outbound, inbound = shots(lab, "outbound"), shots(lab, "inbound", host=3)
    seen = meet(lab).exchange(outbound, inbound)
    codes = {4: (3, 13), 6: (1, 1)}
    assert {(one.shot, one.type, one.code, one.sender) for one in seen.refusals} == {
        (shot, *codes[shot.family], lab.gateway_address(side, shot.family))
        for side, fired in (("near", outbound), ("far", inbound))
        for shot in fired
        if (side, shot.packet.name) != ("near", "control")
    }


def test_loss_spares_the_control_connection(make_lab: MakeLab, meet: Meet) -> None:
    lab = make_lab("loss")
    outbound, inbound = shots(lab, "outbound"), shots(lab, "inbound", host=3)
    seen = meet(lab).exchange(outbound * MANY, inbound * MANY)
    count = Counter(arrival.shot for arrival in seen.arrivals)
    for shot in outbound + inbound:
        if shot.packet.name == "control":
            assert count[shot] == MANY
        else:
            assert 46 <= count[shot] <= 93, shot


@pytest.mark.parametrize(
    ("name", "whole"), [("open", True), ("kb233256", True), ("no-fragments", False)]
)
def test_fragments(name: str, whole: bool, make_lab: MakeLab, meet: Meet) -> None:
    lab = make_lab(name)
    outbound, inbound = shots(lab, "outbound", [LARGE]), shots(lab, "inbound", [LARGE], host=3)
    seen = meet(lab).exchange(outbound, inbound)
    assert {arrival.shot for arrival in seen.arrivals} == (
        {*outbound, *inbound} if whole else set()
    )


def test_state_sees_the_ports_inside_ah_in_ipv6_alone(make_lab: MakeLab, meet: Meet) -> None:
    """IPv4: by addresses and protocol. IPv6: the UDP datagram inside, with its ports."""
    lab = make_lab("outbound-only")
    hosts = meet(lab)
    hosts.exchange(shots(lab, "outbound", [Packet("ah", 51, (9, 9))]))
    other = shots(lab, "inbound", [Packet("ah", 51, (1234, 9))])
    assert {arrival.shot.family for arrival in hosts.exchange([], other).arrivals} == {4}
