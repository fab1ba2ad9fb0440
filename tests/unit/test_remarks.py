"""What is told of the hosts themselves."""

from __future__ import annotations

from agent.model import Facts, PortHeld
from probe.judge.evidence import Evidence
from probe.remarks import of_hosts, troubles


def test_nothing_out_of_the_way_nothing_said() -> None:
    assert of_hosts(Evidence(near=Facts(), far=Facts())) == []
    assert of_hosts(Evidence()) == []


def test_ports_of_others_and_of_nobody() -> None:
    facts = Facts(held=(PortHeld(17, 500), PortHeld(6, 88, taken=False)))
    taken, low = of_hosts(Evidence(far=facts))
    assert taken.startswith("UDP 500 is held by another program on the far host")
    assert low.startswith("TCP 88 cannot be opened on the far host without CAP_NET_BIND_SERVICE")


def test_strangers_are_counted_and_troubles_told_with_their_host() -> None:
    near = Facts(strangers=1, troubles=("no room",))
    one, trouble = of_hosts(Evidence(near=near))
    assert one.startswith("near passed over 1 packet on")
    assert trouble == "near: no room"
    assert troubles(Evidence(near=near)) == ["near: no room"]
    assert of_hosts(Evidence(far=Facts(strangers=2345)))[0].startswith(
        "far passed over 2,345 packets"
    )
