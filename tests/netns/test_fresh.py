"""A clean tuple on request, for ESP, AH and IKE, which have one tuple for both directions."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from pyroute2 import NetNS

from probe.fresh import LIFETIME
from probe.lab import Lab, environment, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import OPEN, OUT_ONLY, cells, judged, probe_run

pytestmark = pytest.mark.netns

SHARED = ("--only=esp,ah,ike", "--timeout=0.4")


def addresses(lab: Lab) -> set[str]:
    with NetNS(lab.near) as namespace:
        found = {str(found.get("address")) for found in namespace.get_addr()}
    return {address for address in found if not address.startswith("fe80")}  # they come late


@pytest.mark.parametrize(
    ("family", "how"), [(4, "--alias=10.77.1.9"), (6, "--fresh=address"), (6, "--alias=fd77:1::9")]
)
def test_another_address_makes_both_directions_clean(
    make_lab: MakeLab, family: int, how: str
) -> None:
    lab = make_lab("open", family)
    before = addresses(lab)
    result = judged(lab, *SHARED, how)
    assert set(cells(result).values()) == {OPEN}
    assert any("inbound was asked towards" in note for note in result["notes"])
    assert addresses(lab) == before


def test_another_address_opens_nothing_that_is_shut(make_lab: MakeLab) -> None:
    result = judged(make_lab("outbound-only"), *SHARED, "--alias=10.77.1.9")
    assert set(cells(result).values()) == {OUT_ONLY}


def test_waiting_makes_the_other_direction_clean(make_lab: MakeLab) -> None:
    lab = make_lab("kb233256")
    for knob in ("generic_timeout", "udp_timeout", "udp_timeout_stream"):
        lab.run("fw", ["sh", "-c", f"echo 2 > /proc/sys/net/netfilter/nf_conntrack_{knob}"])
    result = judged(lab, *SHARED, "--fresh=wait", "--state-timeout=4")
    assert set(cells(result).values()) == {OPEN}
    assert result["seconds"] > 4


def test_an_address_that_another_host_has_is_left_alone(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    process = probe_run(lab, *SHARED, f"--alias={lab.gateway_address('near')}", key=str(key))
    assert process.returncode == 3
    assert "another host on the link has it" in process.stderr
    assert lab.gateway_address("near") not in addresses(lab)


@pytest.mark.parametrize("alias", ["10.77.1.2", "fd77:1::9"])
def test_an_alias_that_is_none_is_refused(make_lab: MakeLab, alias: str) -> None:
    lab = make_lab("open")
    process = probe_run(lab, *SHARED, f"--alias={alias}")
    assert process.returncode == 2
    assert "--alias" in process.stderr


def test_after_a_crash_the_kernel_takes_the_address_back(make_lab: MakeLab) -> None:
    lab = make_lab("closed")
    key = write_key(lab)
    start_agent(lab, key)
    argv = [*module("probe"), "run", f"--peer={lab.far_address()}", f"--key={key}"]
    process = lab.spawn(
        "near",
        [*argv, "--alias=10.77.1.9"],
        env=environment(lab, "near"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while "10.77.1.9" not in addresses(lab):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    with NetNS(lab.near) as namespace:
        (left,) = [a for a in namespace.get_addr() if a.get("address") == "10.77.1.9"]
    assert 0 < left.get("cacheinfo")["ifa_valid"] <= LIFETIME


def test_the_json_says_so(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    result = json.loads(probe_run(lab, *SHARED, "--alias=10.77.1.9", key=str(key)).stdout)
    inbound = [c for c in result["checks"] if (c["direction"], c["flow"]) == ("inbound", "new")]
    assert {s["destination"] for c in inbound for s in c["evidence"]} == {"10.77.1.9"}
