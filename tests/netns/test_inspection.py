"""A firewall that reads the payload lets the real protocol pass and noise on its port not."""

from __future__ import annotations

import pytest

from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

READS = """
table inet test {
    chain forward {
        type filter hook forward priority filter; policy accept;
        udp dport 500 @th,200,8 != 0x20 drop comment "IKE version 2"
        udp dport 88 @th,64,8 != 0x6a drop comment "AS-REQ"
        tcp dport 88 @ih,32,8 != 0x6a drop comment "AS-REQ behind its length"
    }
}
"""
ARGUMENTS = ("--inspect", "--only=ike,kerberos-udp,kerberos-tcp,ike-noise,kerberos-udp-noise,"
             "kerberos-tcp-noise", "--timeout=0.4", "--direction=outbound")  # fmt: skip


@pytest.mark.parametrize("family", [4, 6])
def test_inspection_is_told(make_lab: MakeLab, family: int) -> None:
    lab = make_lab(None, family)
    lab.load("fw", READS)
    result = judged(lab, *ARGUMENTS)
    new = {c["kind"]: c["outcome"] for c in result["checks"] if c["flow"] == "new"}
    for kind in ("ike", "kerberos-udp", "kerberos-tcp"):
        assert new[kind] == "delivered"
        assert new[f"{kind}-noise"] == "lost"
    assert len([note for note in result["notes"] if "inspects" in note]) == 3


def test_an_open_firewall_is_not_called_an_inspector(make_lab: MakeLab) -> None:
    result = judged(make_lab("open"), *ARGUMENTS)
    assert {c["outcome"] for c in result["checks"]} == {"delivered"}
    assert not any("inspects" in note for note in result["notes"])
