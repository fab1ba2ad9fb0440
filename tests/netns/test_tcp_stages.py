"""TCP 88 in stages, with real connections: where it broke off, and who broke it."""

from __future__ import annotations

import pytest

from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

# Completes the handshake with who asks, before it asks the other end; that second half may be shut.
SYNPROXY = """
table inet s {{
    chain prerouting {{
        type filter hook prerouting priority raw;
        tcp dport 88 tcp flags syn notrack
    }}
    chain forward {{
        type filter hook forward priority filter;
        tcp dport 88 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state invalid drop
    }}
    chain output {{ type filter hook output priority filter; {shut} }}
}}
"""
# A Kerberos message on TCP: four octets of length, then 0x6a for AS-REQ, 0x7e for KRB-ERROR.
PAYLOAD = """
table inet p {{
    chain forward {{
        type filter hook forward priority filter;
        tcp {port} 88 @ih,32,8 {first} {verdict}
    }}
}}
"""
LOOSE = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose"


def conclusions(
    make_lab: MakeLab, family: int, rules: str, *, strict: bool = True
) -> dict[tuple[str, str], tuple[str, str]]:
    """(direction, flow) → (outcome, cause)."""
    lab = make_lab("open", family)
    lab.load("fw", rules)
    # A proxy's firewall must not take up connections whose beginning it has not seen.
    loose = lab.run("fw", ["sh", "-c", f"echo {int(not strict)} > {LOOSE}"])
    assert loose.returncode == 0, loose.stderr
    result = judged(lab, "--only=kerberos-tcp", "--timeout=0.5")
    return {(c["direction"], c["flow"]): (c["outcome"], c["cause"]) for c in result["checks"]}


@pytest.mark.parametrize("family", [4, 6])
def test_a_proxy_that_shakes_hands_and_then_gets_no_further(make_lab: MakeLab, family: int) -> None:
    rules = SYNPROXY.format(shut="tcp dport 88 drop;")
    told = conclusions(make_lab, family, rules)
    for direction, target in (("outbound", "far"), ("inbound", "near")):
        outcome, cause = told[direction, "new"]
        assert outcome == "lost", cause
        assert f"completed the TCP handshake in {target}'s name" in cause
    assert {told["inbound", "reply"][0], told["outbound", "reply"][0]} == {"not-applicable"}


def test_a_proxy_whose_target_resets_what_it_never_accepted(make_lab: MakeLab) -> None:
    """The request is forwarded without a handshake of its own, and far's kernel refuses it."""
    told = conclusions(make_lab, 4, SYNPROXY.format(shut="tcp dport 88 drop;"), strict=False)
    outcome, cause = told["outbound", "new"]
    assert outcome == "refused", cause
    assert "completed the TCP handshake in far's name" in cause


@pytest.mark.parametrize("family", [4, 6])
def test_a_proxy_that_lets_everything_through_is_no_fault(make_lab: MakeLab, family: int) -> None:
    told = conclusions(make_lab, family, SYNPROXY.format(shut=""))
    assert {outcome for outcome, _ in told.values()} == {"delivered"}, told


@pytest.mark.parametrize("family", [4, 6])
def test_a_request_that_is_dropped_behind_the_handshake(make_lab: MakeLab, family: int) -> None:
    told = conclusions(make_lab, family, PAYLOAD.format(port="dport", first="0x6a", verdict="drop"))
    for direction, target in (("outbound", "far"), ("inbound", "near")):
        outcome, cause = told[direction, "new"]
        assert outcome == "lost", cause
        assert f"the request never reached {target}" in cause
        assert "after the handshake" in cause


@pytest.mark.parametrize("family", [4, 6])
def test_a_reset_at_the_first_octets(make_lab: MakeLab, family: int) -> None:
    rules = PAYLOAD.format(port="dport", first="0x6a", verdict="reject with tcp reset")
    told = conclusions(make_lab, family, rules)
    for direction, target in (("outbound", "far"), ("inbound", "near")):
        outcome, cause = told[direction, "new"]
        assert outcome == "refused", cause
        assert "something in between reset it at the request's first octets" in cause
        assert f"{target} itself saw no request and sent no reset" in cause


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("verdict", "expected"), [("drop", "lost"), ("reject with tcp reset", "refused")]
)
def test_an_answer_that_is_stopped(
    make_lab: MakeLab, family: int, verdict: str, expected: str
) -> None:
    rules = PAYLOAD.format(port="sport", first="0x7e", verdict=verdict)
    told = conclusions(make_lab, family, rules)
    for direction, back in (("outbound", "inbound"), ("inbound", "outbound")):
        assert told[direction, "new"][0] == "delivered", told[direction, "new"]
        outcome, cause = told[back, "reply"]
        assert outcome == expected, cause
