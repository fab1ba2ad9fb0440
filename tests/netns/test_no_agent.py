"""What is told of a far host without an agent: real packets, real kernels, real firewalls."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from probe.lab import Lab, environment, module
from tests.netns.chain import Chain
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, Running, Said, inside, outcomes, result, wait_until
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

families = pytest.mark.parametrize("family", [4, 6])
FORWARD = "table inet t { chain c { type filter hook forward priority filter; %s; }; }"
INPUT = "table inet t { chain c { type filter hook input priority filter; %s; }; }"
ESP = "meta l4proto esp"
KRB = "--only=kerberos-udp,kerberos-tcp"
SLOW = "--timeout=10"  # on a busy machine; no run waits for what has come


def start(lab: Lab, *options: str) -> Running:
    argv = [*module("probe"), "run", "--no-agent", f"--peer={lab.far_address()}", "--json=-"]
    return Running(lab, "near", [*argv, *options])


def ask(lab: Lab, *options: str) -> tuple[Json, Said]:
    """What the program found out; there is no key, and no agent."""
    said = start(lab, *options).end(60)
    return result(said), said


def check(found: Json, kind: str, direction: str = "outbound", flow: str = "new") -> Any:
    wanted = {"kind": kind, "direction": direction, "flow": flow}
    return next(c for c in found["checks"] if wanted.items() <= c.items())


class Services:
    """An IKE daemon and a KDC, in far unless it is said otherwise, and what they were asked."""

    def __init__(self, lab: Lab, where: str = "far", address: str = "") -> None:
        self._log = lab.directory / "services.log"
        with self._log.open("w") as log:
            self.process = lab.spawn(
                where,
                [*module("tests.netns.services"), address or lab.far_address()],
                env=environment(lab, where),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "ready" in self._log.read_text(), "the services start", 30)

    def asked(self, *ports: str) -> int:
        return sum(line in ports for line in self._log.read_text().splitlines())


# -- a host with nothing on it ---------------------------------------------------------------------


@families
def test_the_kernel_of_a_bare_host_says_what_reached_it(make_lab: MakeLab, family: int) -> None:
    found, said = ask(make_lab(None, family), SLOW)
    new = outcomes(found, direction="outbound", flow="new")
    assert set().union(*new.values()) == {"delivered"}
    assert set(new) == {"icmp-echo", "esp", "ah", "ike", "kerberos-udp", "kerberos-tcp"}
    for cell in (
        {"direction": "inbound", "flow": "new"},
        {"direction": "outbound", "flow": "reply"},
    ):
        assert set().union(*outcomes(found, **cell).values()) == {"not-applicable"}
    assert check(found, "icmp-echo", "inbound", "reply")["outcome"] == "delivered"
    what = "protocol unreachable" if family == 4 else "unrecognized next header"
    assert what in check(found, "esp")["cause"]
    assert "port unreachable" in check(found, "ike")["cause"]
    assert "nothing listens on port 88" in check(found, "kerberos-tcp")["cause"]
    assert said.code == 0
    assert found["path"]["control"] == "none"
    assert found["path"]["rtt_ms"] is not None
    assert (found["far"]["host"], found["complete"]) == (found["far"]["address"], True)


def test_what_the_hosts_own_firewall_rejects_reached_the_host(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("far", INPUT % f"{ESP} reject; udp dport 500 reject with icmpx admin-prohibited")
    found, said = ask(lab, "--only=esp,ike,ah", SLOW)
    told = {kind: check(found, kind) for kind in ("esp", "ike", "ah")}
    assert {told["esp"]["outcome"], told["ike"]["outcome"]} == {"refused"}
    assert "far's own address (10.77.2.2) answered: port unreachable" in told["esp"]["cause"]
    assert "administratively prohibited" in told["ike"]["cause"]
    assert told["ah"]["outcome"] == "delivered"
    assert said.code == 1


# -- services --------------------------------------------------------------------------------------


@families
def test_an_ike_daemon_and_a_kdc_prove_both_ways(make_lab: MakeLab, family: int) -> None:
    lab = make_lab(None, family)
    services = Services(lab)
    found, said = ask(lab, "--only=ike-v1,ike-nat-t,kerberos-udp,kerberos-tcp", SLOW)
    for kind, says in {
        "ike-v1": "IKEv1 notify NO-PROPOSAL-CHOSEN",
        "ike-nat-t": "IKE notify NO_PROPOSAL_CHOSEN",
        "kerberos-udp": "KRB-ERROR 68 (wrong realm)",
        "kerberos-tcp": "KRB-ERROR 68 (wrong realm)",
    }.items():
        for cell in (("outbound", "new"), ("inbound", "reply")):
            assert check(found, kind, *cell)["outcome"] == "delivered", (kind, cell)
        assert check(found, kind)["cause"] == f"far's own service answered: {says}"
        assert check(found, kind)["shots"] == 1
    assert said.code == 0
    assert services.asked("500", "4500") == 2
    assert services.asked("88", "tcp 88") == 2


@families
def test_near_has_a_daemon_of_its_own_on_the_port(make_lab: MakeLab, family: int) -> None:
    lab = make_lab(None, family)
    Services(lab)

    def occupy() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((lab.near_address(), 500))
        return sock

    with inside(lab, "near", occupy):
        found, said = ask(lab, "--only=ike-v1", SLOW)
    assert check(found, "ike-v1")["outcome"] == "delivered"
    assert check(found, "ike-v1", "inbound", "reply")["outcome"] == "delivered"
    assert any("UDP 500 is held by another program on the near host" in n for n in found["notes"])
    assert said.code == 0


def test_an_answer_that_nears_own_firewall_drops(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    Services(lab)
    lab.load("near", INPUT % "udp sport 88 drop; tcp sport 88 drop")
    found, said = ask(lab, KRB)
    for kind in ("kerberos-udp", "kerberos-tcp"):
        assert check(found, kind, "inbound", "reply")["outcome"] == "host-dropped", kind
    assert check(found, "kerberos-udp")["outcome"] == "delivered"
    assert check(found, "kerberos-tcp")["outcome"] == "delivered"
    assert said.code == 1


# -- routers and firewalls on the way --------------------------------------------------------------


def test_nothing_passes_and_nothing_is_said(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    Services(lab)
    lab.load("fw", FORWARD % "drop")
    found, said = ask(lab, "--timeout=0.3")
    new = outcomes(found, direction="outbound", flow="new")
    assert set().union(*new.values()) == {"unobserved"}
    assert check(found, "esp")["cause"] == "no answer: cannot tell filtered from ignored"
    assert check(found, "esp")["shots"] == 3
    assert found["summary"]["fail"] == found["summary"]["pass"] == 0
    assert any("nothing at all came back" in note for note in found["notes"])
    assert said.code == 3


@families
def test_a_router_that_rejects_is_named_with_its_reason(make_lab: MakeLab, family: int) -> None:
    lab = make_lab(None, family)
    rules = f"{ESP} reject with icmpx admin-prohibited; udp dport 500 reject; udp dport 88 drop"
    lab.load("fw", FORWARD % rules)
    found, said = ask(lab, "--only=esp,ike-v1,kerberos-udp")
    gate = lab.gateway_address("near")
    for kind, why in (("esp", "administratively prohibited"), ("ike-v1", "port unreachable")):
        told = check(found, kind)
        assert told["outcome"] == "refused", told["cause"]
        assert f"{gate}, a router or firewall in between, answered" in told["cause"]
        assert why in told["cause"]
        assert check(found, kind, "inbound", "reply")["outcome"] == "not-applicable"
    assert check(found, "kerberos-udp")["outcome"] == "unobserved"
    assert said.code == 1
    assert f"On the firewall at {gate}" in said.err


@families
def test_a_reset_in_fars_name_is_betrayed_by_its_distance(make_lab: MakeLab, family: int) -> None:
    lab = make_lab(None, family)
    Services(lab)
    lab.load("fw", FORWARD % "tcp dport 88 reject with tcp reset")
    found, said = ask(lab, "--only=kerberos-tcp", SLOW)
    told = check(found, "kerberos-tcp")
    assert told["outcome"] == "refused", told["cause"]
    assert "a TCP RST came in far's name" in told["cause"]
    assert "1 router nearer than far's other answers" in told["cause"]
    assert check(found, "icmp-echo")["outcome"] == "delivered"  # asked along, to compare with
    assert said.code == 1


@families
def test_services_of_the_firewalls_own_are_not_fars(make_lab: MakeLab, family: int) -> None:
    """It redirects the ports to itself; far, which would be asked, has nothing there."""
    lab = make_lab(None, family)
    Services(lab, "fw", lab.gateway_address("near"))
    rules = 'iifname "near0" udp dport { 88, 500 } redirect; iifname "near0" tcp dport 88 redirect'
    lab.load("fw", f"""
        table inet n {{
            chain p {{ type nat hook prerouting priority dstnat; {rules}; }}
        }}
    """)  # fmt: skip
    found, said = ask(lab, "--only=ike-v1,kerberos-udp,kerberos-tcp", "--timeout=1")
    for kind in ("ike-v1", "kerberos-udp", "kerberos-tcp"):
        told = check(found, kind)
        assert told["outcome"] == "unobserved", told["cause"]
        assert "1 router nearer than another answer of far's" in told["cause"]
    assert any("far is 1 router away" in note for note in found["notes"])
    assert said.code == 3


@families
def test_a_reset_by_nears_own_firewall_is_not_fars(make_lab: MakeLab, family: int) -> None:
    """It says so in far's name, from as near as a neighbour."""
    lab = make_lab(None, family)
    lab.load("near", INPUT.replace("input", "output") % "tcp dport 88 reject with tcp reset")
    for peer in (lab.far_address(), lab.gateway_address("near")):
        found, said = ask(lab, f"--peer={peer}", "--only=kerberos-tcp", "--timeout=1")
        told = check(found, "kerberos-tcp")
        assert told["outcome"] == "not-sent", told["cause"]
        assert said.code == 3


def test_a_reset_that_nothing_can_be_held_against_is_not_judged(make_lab: MakeLab) -> None:
    for rules in ("tcp dport 88 reject with tcp reset; icmp type echo-request drop",
                  "icmp type echo-request drop"):  # fmt: skip
        lab = make_lab(None)
        lab.load("fw", FORWARD % rules)
        found, said = ask(lab, "--only=kerberos-tcp")
        told = check(found, "kerberos-tcp")
        assert told["outcome"] == "unobserved", told["cause"]
        assert "either it arrived there and nothing listens on port 88" in told["cause"]
        assert said.code == 3


def test_a_handshake_in_fars_name_is_betrayed_as_well(make_lab: MakeLab) -> None:
    """A proxy answers every SYN; far itself has nothing on that port."""
    lab = make_lab(None)
    lab.load("fw", """
        table inet s {
            chain p {
                type filter hook prerouting priority raw;
                tcp dport 445 tcp flags syn notrack
            }
            chain f {
                type filter hook forward priority filter;
                tcp dport 445 ct state invalid,untracked synproxy mss 1460 wscale 7 sack-perm
                ct state invalid drop
            }
        }
    """)  # fmt: skip
    found, said = ask(lab, "--only=tcp:445")
    told = check(found, "tcp:445")
    assert told["outcome"] == "unobserved", told["cause"]
    assert "a TCP handshake came in far's name" in told["cause"]
    assert said.code == 3


def test_far_behind_three_routers_of_which_the_first_forges(make_lab: MakeLab) -> None:
    with Chain(3, at=1, limited=False) as lab:
        lab.load("fw", FORWARD % "tcp dport 445 reject with tcp reset")
        found, _ = ask(lab, "--only=tcp:445,tcp:446,esp", SLOW)
    assert "from 3 routers nearer than far's other answers" in check(found, "tcp:445")["cause"]
    assert check(found, "tcp:446")["outcome"] == "delivered"
    assert check(found, "esp")["outcome"] == "delivered"
    assert any("far is 3 routers away" in note for note in found["notes"])


# -- what a daemon of others gets ------------------------------------------------------------------


def test_no_address_gets_more_than_two_ike_requests_in_thirty_seconds(make_lab: MakeLab) -> None:
    """One run after the other; the second is ended while it waits, the third has waited."""
    lab = make_lab(None)
    services = Services(lab)
    record = Path(environment(lab, "near")["XDG_STATE_HOME"]) / "probe" / "ike.sqlite"
    found, _ = ask(lab, "--only=ike", SLOW)  # from port 500, and from a fresh one
    assert check(found, "ike")["outcome"] == "delivered"
    assert services.asked("500") == 2

    second = start(lab, "--only=ike-nat-t,ike-v1,kerberos-udp")
    wait_until(lambda: services.asked("88") == 1, "the second run has asked what it may")
    second.process.send_signal(signal.SIGINT)
    said = second.end()
    assert said.code == 130
    assert result(said)["complete"] is False
    assert check(result(said), "ike-v1")["outcome"] == "unobserved"
    assert services.asked("500", "4500") == 2

    with sqlite3.connect(record) as database:  # as if it had been a while ago
        database.execute("UPDATE asked SET uptime = uptime - 27, wall = wall - 27")
    found, said = ask(lab, "--only=ike-nat-t,ike-v1", SLOW)
    assert check(found, "ike-nat-t")["outcome"] == "delivered"
    assert check(found, "ike-v1")["outcome"] == "state-possible"  # from 500, as the first run
    assert services.asked("500", "4500") == 4
    assert any("the run waited" in note for note in found["notes"])
    assert said.code == 0


def test_without_a_record_of_them_ike_is_left_out(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    services = Services(lab)
    directory = Path(environment(lab, "near")["XDG_STATE_HOME"]) / "probe"
    directory.mkdir(parents=True)
    (directory / "ike.sqlite").write_bytes(b"damaged" * 1000)
    found, said = ask(lab, "--only=ike,kerberos-udp", SLOW)
    assert check(found, "ike")["outcome"] == "unobserved"
    assert check(found, "kerberos-udp")["outcome"] == "delivered"
    assert any("IKE is left out" in note for note in found["notes"])
    assert services.asked("500") == 0
    assert said.code == 3


def test_what_an_earlier_run_sent_is_remembered(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    assert check(ask(lab, "--only=esp")[0], "esp")["outcome"] == "delivered"
    found, said = ask(lab, "--only=esp")
    assert check(found, "esp")["outcome"] == "state-possible"
    assert said.code == 0
    assert ask(lab, "--only=esp", "--strict")[1].code == 1


# -- with an agent ---------------------------------------------------------------------------------


@families
def test_the_agent_answers_ikev1_and_any_client(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("open", family)
    options = ["--only=ike-v1,kerberos-udp,kerberos-tcp", "--realm", "R" * 100, "--principal=bob"]
    found = judged(lab, *options)
    assert found["summary"]["fail"] == found["summary"]["error"] == 0
    for direction, back in (("outbound", "inbound"), ("inbound", "outbound")):
        assert set().union(*outcomes(found, direction=direction, flow="new").values()) <= {
            "delivered",
            "state-possible",
        }
        assert outcomes(found, direction=back, flow="reply")["ike-v1"] == {"delivered"}
