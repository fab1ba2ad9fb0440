"""Ports 500, 4500 and 88 belong to other programs: nothing is taken from them, all is still seen.

The holders here are mute, which is the worst case: no daemon's answer stands in for ours.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from probe.lab import Lab, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import agent_log, outcomes, probe, wait_until

pytestmark = pytest.mark.netns

HOLDER = """
import socket, sys
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
held = []
for port in (500, 4500, 88):
    held.append(socket.socket(family, socket.SOCK_DGRAM))
    held[-1].bind(("", port))
listener = socket.create_server(("", 88), family=family)
print("ready", flush=True)
while True:
    held.append(listener.accept()[0])
"""
PORTS = ("UDP 500", "UDP 4500", "UDP 88", "TCP 88")
UDP_KINDS = {"ike", "ike-nat-t", "esp-in-udp", "nat-keepalive", "kerberos-udp"}
NO_LOW_PORTS = ("setpriv", "--bounding-set=-net_bind_service", "--")


def hold(lab: Lab, where: str) -> None:
    argv = [sys.executable, "-c", HOLDER, str(lab.family)]
    holder = lab.spawn(where, argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("holders", [("near",), ("far",), ("near", "far")])
def test_ports_that_others_hold(make_lab: MakeLab, family: int, holders: tuple[str, ...]) -> None:
    lab = make_lab("open", family)
    key = write_key(lab)
    for where in holders:
        hold(lab, where)
    start_agent(lab, key)
    to_file = lab.directory / "result.json"
    said = probe(lab, key, "--scenario=all", f"--json={to_file}", "--timeout=0.5")
    assert (said.code, said.err) == (0, "")
    agent_log(lab)
    text = " ".join(said.out.split())
    for where in ("near", "far"):
        for port in PORTS:
            note = f"{port} is held by another program on the {where} host"
            assert (note in text) == (where in holders)
    found = json.loads(to_file.read_text())
    for direction in ("outbound", "inbound"):
        new = outcomes(found, direction=direction, flow="new")
        reply = outcomes(found, direction=direction, flow="reply")
        for kind in UDP_KINDS:
            assert new[kind] <= {"delivered", "state-possible"}
            assert reply[kind] == {"delivered"}
        assert new["kerberos-tcp"] == reply["kerberos-tcp"] == {"delivered"}
    # A mute service took the request; the reply is its kernel's, and the row says so.
    for check in found["checks"]:
        if (check["kind"], check["flow"]) == ("kerberos-tcp", "reply"):
            answering = "far" if check["direction"] == "inbound" else "near"
            assert ("did not answer it" in check["cause"]) == (answering in holders)
            assert (f"on {answering} took the request" in check["cause"]) == (answering in holders)


def test_they_still_hold_them_afterwards_and_got_every_datagram(make_lab: MakeLab) -> None:
    """What is watched is a copy: the daemon has it as well, and answers for itself."""
    lab = make_lab("open")
    key = write_key(lab)
    echo = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 500))\n"
        "print('ready', flush=True)\n"
        "while True: print(len(s.recv(9000)), flush=True)"
    )
    daemon = lab.spawn("far", [sys.executable, "-c", echo], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == "ready\n"
    start_agent(lab, key)
    assert probe(lab, key, "--only=ike", "--direction=outbound", "--shots=2").code == 0
    for _ in range(2):  # from 500 and from a fresh port, one of each
        assert int(daemon.stdout.readline()) > 200
    assert daemon.poll() is None


def test_low_ports_without_the_privilege_for_them(make_lab: MakeLab) -> None:
    """Nobody holds them, and the kernel refuses what comes for them; it says so, and goes on."""
    lab = make_lab("open")
    lab.run("near", ["sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=1024"])
    key = write_key(lab)
    start_agent(lab, key)
    said = probe(lab, key, "--json=-", prefix=NO_LOW_PORTS)
    text = " ".join(said.err.split())
    assert "UDP 500 cannot be opened on the near host without CAP_NET_BIND_SERVICE" in text
    assert "is held by another program" not in text
    found = json.loads(said.out)
    assert found["complete"] is True
    assert outcomes(found, direction="inbound", flow="new")["esp"] == {"delivered"}
    assert outcomes(found, direction="inbound", flow="new")["kerberos-udp"] == {"delivered"}
    # The SYN got there; what became of it there is not the path's affair.
    assert outcomes(found, direction="inbound", flow="new")["kerberos-tcp"] == {"delivered"}
    assert outcomes(found, direction="outbound", flow="reply")["kerberos-tcp"] == {"not-applicable"}
    assert said.code == 0
    wait_until(lambda: " session " in agent_log(lab), "the agent's word on it")
