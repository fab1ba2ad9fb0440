"""Every ready-made firewall gives the table that its rules call for: real packets, real nftables.

What is expected is written from the rules alone, by firewall and kind; nothing here asks the
correlator. Inbound is asked first, so on a firewall that lets ESP, AH or IKE 500→500 in, the way
out may have been opened by that: ``state-possible``, and never ``delivered``.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from probe.lab import Lab, environment, firewall_names, module, start_agent, write_key
from tests.netns.conftest import MakeLab

pytestmark = pytest.mark.netns

KINDS = {
    "icmp-echo",
    "esp",
    "ah",
    "ike",
    "ike any",
    "ike-v1",
    "ike-nat-t",
    "esp-in-udp",
    "nat-keepalive",
    "kerberos-udp",
    "kerberos-tcp",
}
PORT_4500 = {"ike-nat-t", "esp-in-udp", "nat-keepalive"}
SHARED = {"esp", "ah", "ike", "ike-v1"}  # both directions travel on one tuple

Cells = tuple[str, str, str, str]  # outbound new, inbound reply, inbound new, outbound reply

OPEN: Cells = ("delivered", "delivered", "delivered", "delivered")
OPEN_SHARED: Cells = ("state-possible", "delivered", "delivered", "delivered")
SHUT: Cells = ("lost", "not-applicable", "lost", "not-applicable")
REFUSED: Cells = ("refused", "not-applicable", "refused", "not-applicable")
OUT_ONLY: Cells = ("delivered", "delivered", "lost", "not-applicable")
OUT_STATELESS: Cells = ("delivered", "lost", "lost", "not-applicable")
IN_STATELESS: Cells = ("lost", "not-applicable", "delivered", "lost")
BEHIND_NAT: Cells = ("delivered", "delivered", "not-applicable", "not-applicable")
AH_BEHIND_NAT: Cells = ("altered", "altered", "not-applicable", "not-applicable")
FAR_DROPS: Cells = ("host-dropped", "not-applicable", "delivered", "host-dropped")


def allowed(*passing: str) -> dict[str, Cells]:
    """These kinds pass both ways, the others are dropped."""
    found = dict.fromkeys(KINDS, SHUT)
    for kind in passing:
        found[kind] = OPEN_SHARED if kind in SHARED else OPEN
    return found


KB = KINDS - PORT_4500
IKE = {"ike", "ike any", "ike-v1"}

EXPECTED: dict[str, dict[str, Cells]] = {
    "open": allowed(*KINDS),
    "no-fragments": allowed(*KINDS),  # no shot of natural size is a fragment
    "closed": allowed(),
    "kb233256": allowed(*KB),
    "esp-missing": allowed(*KB - {"esp"}),
    "udp500-missing": allowed(*KB - IKE),
    "nat-t-only": allowed(*KINDS - {"esp", "ah"}),
    "fixed-ports": allowed(*KB - {"ike any"}),
    "outbound-only": dict.fromkeys(KINDS, OUT_ONLY),
    "one-way-out": dict.fromkeys(KINDS, OUT_STATELESS),
    "one-way-in": dict.fromkeys(KINDS, IN_STATELESS),
    "reject": dict.fromkeys(KINDS, REFUSED),
    "masquerade": dict.fromkeys(KINDS, BEHIND_NAT) | {"ah": AH_BEHIND_NAT},
    "far-host-firewall": allowed(*KINDS) | dict.fromkeys(SHARED | IKE, FAR_DROPS),
}
ELSEWHERE = {"loss", "no-forwarding"}  # tested below


def probe_run(lab: Lab, *arguments: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """The real command in near, against the real agent in far; its JSON on standard output."""
    key = key or str(write_key(lab))
    argv = [*module("probe"), "run", f"--peer={lab.far_address()}", f"--key={key}", "--json=-"]
    return lab.run(
        "near",
        [*argv, *arguments],
        env=environment(lab, "near"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def judged(lab: Lab, *arguments: str) -> dict[str, Any]:
    key = write_key(lab)
    start_agent(lab, key)
    process = probe_run(lab, *arguments, key=str(key))
    assert "Traceback" not in process.stderr
    found: dict[str, Any] = json.loads(process.stdout)
    assert found["complete"], process.stderr
    return found


def cells(result: dict[str, Any]) -> dict[str, Cells]:
    """kind → the four outcomes. IKE from a fresh port is "ike any"."""
    told: dict[str, dict[tuple[str, str], str]] = {}
    for request, reply in zip(result["checks"][::2], result["checks"][1::2], strict=True):
        assert (request["kind"], request["flow"], reply["flow"]) == (reply["kind"], "new", "reply")
        kind = request["kind"]
        if kind == "ike" and request["source_port"] != 500:
            kind = "ike any"
        for check in (request, reply):
            told.setdefault(kind, {})[check["direction"], check["flow"]] = check["outcome"]
    order = (("outbound", "new"), ("inbound", "reply"), ("inbound", "new"), ("outbound", "reply"))
    return {kind: tuple(by.get(cell, "") for cell in order) for kind, by in told.items()}  # type: ignore[misc]


def test_every_ready_made_firewall_is_tested_here() -> None:
    assert set(firewall_names()) == set(EXPECTED) | ELSEWHERE


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("firewall", EXPECTED)
def test_the_table_is_what_the_rules_call_for(
    make_lab: MakeLab, firewall: str, family: int
) -> None:
    result = judged(make_lab(firewall, family), "--scenario=all", "--timeout=0.5")
    assert cells(result) == EXPECTED[firewall]
    assert all(check["family"] == family for check in result["checks"])


@pytest.mark.parametrize("family", [4, 6])
def test_a_lossy_path_is_never_called_lost(make_lab: MakeLab, family: int) -> None:
    result = judged(make_lab("loss", family), "--scenario=all", "--timeout=0.3")
    for kind, found in cells(result).items():
        assert set(found) <= {"delivered", "state-possible", "lossy"}, (kind, found)


@pytest.mark.parametrize("family", [4, 6])
def test_a_gateway_that_does_not_forward_is_named_before_any_filter(
    make_lab: MakeLab, family: int
) -> None:
    lab = make_lab("no-forwarding", family)
    key = write_key(lab)
    start_agent(lab, key)
    process = probe_run(lab, "--timeout=0.3", key=str(key))
    assert process.returncode == 3
    assert "IP forwarding at the gateway" in " ".join(process.stderr.split())
    assert json.loads(process.stdout)["complete"] is False


def test_a_second_run_remembers_the_first(make_lab: MakeLab) -> None:
    """The trap: what the first run opened lets the second one's inbound ESP in."""
    lab = make_lab("outbound-only")
    key = write_key(lab)
    start_agent(lab, key)
    arguments = ("--only=esp,ike,kerberos-udp", "--timeout=0.3")
    first = cells(json.loads(probe_run(lab, *arguments, key=str(key)).stdout))
    assert {first[kind][2] for kind in first} == {"lost"}
    result = json.loads(probe_run(lab, *arguments, key=str(key)).stdout)
    second = cells(result)
    assert second["esp"][2] == "state-possible"  # it did arrive, by the first run's state
    assert second["ike"][2] == "state-possible"
    assert second["kerberos-udp"] == OUT_ONLY  # a fresh port is a clean flow
    causes = [c["cause"] for c in result["checks"] if c["outcome"] == "state-possible"]
    assert all("an earlier run" in cause and "seconds ago" in cause for cause in causes)


def test_a_forgotten_run_is_clean_again(make_lab: MakeLab) -> None:
    """Beyond --state-timeout the ledger excuses nothing (the firewall's memory is flushed)."""
    lab = make_lab("kb233256")
    key = write_key(lab)
    start_agent(lab, key)
    arguments = ("--only=esp", "--direction=inbound", "--timeout=0.3")
    probe_run(lab, *arguments, key=str(key))
    result = json.loads(probe_run(lab, *arguments, "--state-timeout=0.01", key=str(key)).stdout)
    assert result["checks"][0]["outcome"] == "delivered"


def test_a_router_that_limits_its_refusals_is_still_heard(make_lab: MakeLab) -> None:
    """Linux answers six at once and then one a second; without patience the rest looks dropped."""
    lab = make_lab("reject")
    lab.run("fw", ["sh", "-c", "echo 1000 > /proc/sys/net/ipv4/icmp_ratelimit"])
    result = judged(lab, "--direction=outbound", "--timeout=0.3", "--scenario=all")
    found = cells_one_way(result)
    assert set(found.values()) == {"refused"}, found


def cells_one_way(result: dict[str, Any]) -> dict[tuple[str, object], str]:
    return {
        (check["kind"], check["source_port"]): check["outcome"]
        for check in result["checks"]
        if check["flow"] == "new"
    }


OUTPUT_RULES = """
table inet test {
    chain output {
        type filter hook output priority filter; policy accept;
        meta l4proto esp drop
        udp dport 88 drop
    }
}
"""


def test_a_hosts_own_output_rules_are_not_the_networks(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    lab.load("near", OUTPUT_RULES)
    result = judged(lab, "--only=esp,kerberos-udp,ike", "--direction=outbound", "--timeout=0.3")
    new = [c for c in result["checks"] if c["flow"] == "new"]
    outcomes = {check["kind"]: check["outcome"] for check in new}
    assert outcomes["esp"] == outcomes["kerberos-udp"] == "not-sent"
    assert all("OUTPUT" in c["cause"] for c in new if c["outcome"] == "not-sent")


def test_exit_codes_follow_the_verdicts(make_lab: MakeLab) -> None:
    lab = make_lab("kb233256")
    key = write_key(lab)
    start_agent(lab, key)
    arguments = ("--timeout=0.3", "--direction=outbound")
    assert probe_run(lab, "--only=ike,kerberos-tcp", *arguments, key=str(key)).returncode == 0
    assert probe_run(lab, "--scenario=nat-t", *arguments, key=str(key)).returncode == 1
    both = probe_run(lab, "--only=esp", "--timeout=0.3", key=str(key))
    assert both.returncode == 0
    strict = probe_run(lab, "--only=esp", "--timeout=0.3", "--strict", key=str(key))
    assert strict.returncode == 1


FORWARDED = """
table ip test {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "far0" udp dport 88 dnat to 10.77.1.2
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "far0" masquerade
    }
}
"""


def test_a_port_that_the_nat_forwards_is_open_for_new_flows(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("fw", FORWARDED)
    result = judged(lab, "--only=kerberos-udp,ike", "--timeout=0.4")
    assert result["path"]["near_behind_nat"] is True
    found = cells(result)
    assert found["kerberos-udp"] == OPEN
    assert found["ike any"] == BEHIND_NAT
