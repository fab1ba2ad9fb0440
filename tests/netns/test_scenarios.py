"""The ready-made scenarios with plain ports, through a real firewall."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

WITH_PORTS = ("always-on-vpn", "client-to-dc", "directaccess")
UPPER_HALF = """
table inet t {
    chain f { type filter hook forward priority filter; oifname "far0" tcp dport 57344-65535 drop; }
}
"""
SERVICES = """
import socket, sys
held = []
for kind, port in ((socket.SOCK_STREAM, 445), (socket.SOCK_STREAM, 53), (socket.SOCK_DGRAM, 53)):
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::", port))
    if kind is socket.SOCK_STREAM:
        sock.listen()
    held.append(sock)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("scenario", WITH_PORTS)
def test_an_open_firewall_passes_every_row(make_lab: MakeLab, scenario: str, family: int) -> None:
    result = judged(make_lab("open", family), f"--scenario={scenario}")
    assert set(result["summary"]) >= {"pass"}
    assert {check["verdict"] for check in result["checks"]} == {"pass"}


def test_a_range_that_is_open_in_part_fails_where_it_is_shut(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    lab.load("fw", UPPER_HALF)
    result = judged(lab, "--scenario=client-to-dc", "--timeout=0.4")
    lost = {c["kind"] for c in result["checks"] if c["verdict"] == "fail"}
    assert lost == {"tcp:61439", "tcp:65535"}
    assert any("5 of 16,384 ports were tried" in note for note in result["notes"])


def test_services_that_hold_their_ports_are_not_disturbed_and_their_rows_judged(
    make_lab: MakeLab,
) -> None:
    lab = make_lab("open")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    services = lab.spawn("far", [sys.executable, "-c", SERVICES], **pipes)
    assert services.stdout is not None
    assert b"ready" in services.stdout.readline()
    result = judged(lab, "--scenario=client-to-dc")
    assert {check["verdict"] for check in result["checks"]} == {"pass"}
    held = [c for c in result["checks"] if c["kind"] == "tcp:445"]
    assert {c["outcome"] for c in held} == {"delivered"}
    assert any("held by another program on the far host" in note for note in result["notes"])
    assert services.poll() is None
