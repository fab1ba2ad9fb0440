"""What a path changes, and who answers in another's name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns


def test_what_the_path_changes_is_told(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    lab.load(
        "fw",
        "table inet m { chain f { type filter hook forward priority mangle;"
        ' oifname "far0" ip protocol esp ip dscp set cs1;'
        ' oifname "far0" udp dport 88 ip ttl set 200; }; }',
    )
    notes = judged(lab, "--only=esp,kerberos-udp", "--direction=outbound")["notes"]
    assert "outbound, DSCP 0 becomes 8 on the way (ESP IP 50)" in notes
    assert "outbound, something in between sets the TTL anew (Kerberos UDP 88)" in notes


FORGER = """
import socket
family = socket.AF_INET6 if {family} == 6 else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.bind(("", 500))
print("ready", flush=True)
for _ in range(200):
    data, peer = sock.recvfrom(4096)
    sock.sendto(data[:19] + bytes([0x20]) + data[20:], peer)
"""


@pytest.mark.parametrize("family", [4, 6])
def test_an_answer_in_the_far_hosts_name_is_named(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("open", family)
    lab.load(
        "fw",
        "table inet f { chain p { type nat hook prerouting priority dstnat;"
        ' iifname "near0" udp dport 500 redirect; }; }',
    )
    program = FORGER.format(family=family)
    forger = lab.spawn("fw", [sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert forger.stdout is not None
    assert b"ready" in forger.stdout.readline()
    result = judged(lab, "--only=ike", "--direction=outbound", "--timeout=0.4")
    for check in result["checks"]:
        if check["flow"] == "new":
            assert check["outcome"] == "lost", check["cause"]
            assert "answered in far's name" in check["cause"]
        else:
            assert check["outcome"] == "not-applicable", check["cause"]


def test_what_a_nat_changes_is_told_and_what_a_real_ike_makes_of_it(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    lab.load(
        "fw",
        "table ip n { chain p { type nat hook postrouting priority srcnat;"
        ' oifname "far0" udp dport 88 masquerade to :20000-29999;'
        ' oifname "far0" masquerade; }; }',
    )
    result = judged(lab, "--only=ike,kerberos-udp,ah", "--timeout=0.4")
    notes = "\n".join(result["notes"])
    seen_as = lab.gateway_address("far")
    assert f"near sits behind NAT: its address {lab.near_address()} is {seen_as}" in notes
    assert "outbound, IKE's own NAT detection finds the sender translated" in notes
    assert "outbound, source ports are rewritten on the way (Kerberos UDP 88" in notes
    (ah,) = (
        c
        for c in result["checks"]
        if (c["kind"], c["direction"], c["flow"]) == ("ah", "outbound", "new")
    )
    assert ah["outcome"] == "altered"
    assert "AH cannot cross NAT" in ah["cause"]


def test_a_path_that_changes_nothing_is_not_spoken_of(make_lab: MakeLab) -> None:
    assert judged(make_lab("open"))["notes"] == []
