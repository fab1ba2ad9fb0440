"""No control port: the whole matrix comes home in packets of whatever kind crosses, and is true."""

from __future__ import annotations

import functools
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.access import keys
from agent.inband.carriers import INFORMATIONAL
from agent.wire.isakmp import SA_INIT, parse_header
from probe.lab import Lab, module, start_agent, write_key
from tests.netns.clock import Clock
from tests.netns.conftest import MakeLab
from tests.netns.ends import (
    Json,
    Running,
    Said,
    Watch,
    agent_log,
    in_session,
    inside,
    outcomes,
    probe,
    result,
    start_probe,
    wait_until,
)

pytestmark = pytest.mark.netns

RULES = {
    "esp": "meta l4proto esp",
    "ah": "meta l4proto ah",
    "ike": "udp dport 500",
    "fixed-ike": "udp sport 500 udp dport 500",
    "nat-t": "udp dport 4500",
    "kerberos": "udp dport 88",
    "kerberos-tcp": "tcp dport 88",
    "ping": "meta l4proto { icmp, icmpv6 }",
}
FIREWALL = """
table inet lab {{
    chain forward {{
        type filter hook forward priority filter; policy drop;

        meta l4proto icmpv6 icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        {state}
        iifname "near0" oifname "far0" {out} accept
        {back}
        {control}
    }}
}}
"""
STATE = "ct state established,related accept"
CONTROL = """tcp dport 5088 accept
        tcp sport 5088 accept"""
BACK = 'iifname "far0" oifname "near0" {} accept'

# What control messages rode on may be told as less than it is, never as more.
WEAKER = {
    "delivered": {"state-possible", "unobserved", "not-applicable"},
    "state-possible": {"unobserved", "not-applicable"},
    "lost": {"unobserved"},
    "refused": {"unobserved"},
}
RODE = {"esp": "esp", "ah": "ah", "fixed-ike": "ike"}  # rule → the kind of the checks on its tuple


def firewall(tmp_path: Path, out: str, back: str, *, control: bool) -> str:
    """``back``: a kind that passes as a new flow, without state, or "reply"."""
    text = FIREWALL.format(
        state=STATE if back == "reply" else "",
        out=RULES[out],
        back="" if back == "reply" else BACK.format(RULES[back]),
        control=CONTROL if control else "",
    )
    path = tmp_path / f"{out}-{back}-{control}.nft"
    path.write_text(text)
    return str(path)


def through(
    make_lab: MakeLab, rules: str, family: int, *options: str, seconds: float = 90.0
) -> tuple[Lab, Said]:
    """A run with an agent of its own, through a firewall that has seen nothing yet."""
    lab = make_lab(rules, family)
    key = write_key(lab)
    start_agent(lab, key)
    return lab, probe(lab, key, "--json=-", *options, seconds=seconds)


def cells(found: Json) -> dict[tuple[object, ...], str]:
    names = ("kind", "direction", "flow", "source_port")
    return {tuple(c[name] for name in names): c["outcome"] for c in found["checks"]}


@pytest.mark.parametrize(
    ("out", "back", "family"),
    [
        ("ping", "reply", 4),
        ("kerberos-tcp", "reply", 4),
        ("kerberos-tcp", "reply", 6),
        ("kerberos-tcp", "ping", 4),
        ("ping", "kerberos-tcp", 4),
        ("kerberos", "esp", 4),
        ("nat-t", "reply", 4),
        ("esp", "reply", 4),
        ("ah", "reply", 6),
        ("esp", "kerberos", 6),
        ("fixed-ike", "ah", 4),
        ("ah", "esp", 4),
    ],
)
def test_one_kind_each_way_brings_the_matrix_home(
    make_lab: MakeLab, tmp_path: Path, out: str, back: str, family: int
) -> None:
    lab, said = through(
        make_lab,
        firewall(tmp_path, out, back, control=False),
        family,
        "--control=inband",
    )
    found = result(said)
    assert found["complete"], said.err
    assert found["path"]["control"] == "inband"
    assert any("control messages rode in" in note for note in found["notes"])
    _, said = through(make_lab, firewall(tmp_path, out, back, control=True), family)
    wanted = result(said)
    assert wanted["path"]["control"] == "tcp"
    told, expected = cells(found), cells(wanted)
    contaminated = {RODE.get(out), RODE.get(back)}
    assert told.keys() == expected.keys()
    wrong = {
        cell: (outcome, told[cell])
        for cell, outcome in expected.items()
        if told[cell] != outcome
        and not (cell[0] in contaminated and told[cell] in WEAKER.get(outcome, ()))
    }
    assert not wrong
    assert "fault" not in agent_log(lab)


KB_WITHOUT_CONTROL = """
table inet lab {
    chain forward {
        type filter hook forward priority filter; policy drop;

        ct state established,related accept
        meta l4proto { esp, ah } accept
        udp dport { 88, 500 } accept
        tcp dport 88 accept
    }
}
"""


def written(tmp_path: Path, rules: str) -> str:
    path = tmp_path / "rules.nft"
    path.write_text(rules)
    return str(path)


def test_where_tcp_is_silent_it_goes_on_by_itself(make_lab: MakeLab, tmp_path: Path) -> None:
    """All that the KB asks for, and no more: the run is as it would be, and says how it was."""
    _, said = through(make_lab, written(tmp_path, KB_WITHOUT_CONTROL), 4)
    found = result(said)
    assert said.code == 0
    assert found["path"]["control"] == "inband"
    kinds = "esp", "ah", "ike", "kerberos-udp", "kerberos-tcp"
    whole = {kind: {"delivered"} for kind in kinds}
    assert outcomes(found, direction="inbound", flow="new") == {"icmp-echo": {"lost"}, **whole}
    # The agent had begun to listen on TCP 88 for control messages, and is no other program.
    assert outcomes(found, direction="inbound", flow="reply")["kerberos-tcp"] == {"delivered"}
    assert len(found["notes"]) == 1, found["notes"]
    assert "control messages rode in IKE" in found["notes"][0]
    assert found["seconds"] < 30


def test_by_tcp_alone_it_is_as_it_was(make_lab: MakeLab, tmp_path: Path) -> None:
    rules = written(tmp_path, KB_WITHOUT_CONTROL)
    _, said = through(make_lab, rules, 4, "--only=esp", "--control=tcp")
    assert said.code == 3
    assert "does not answer on TCP 5088" in said.words
    assert "control messages" not in said.words


def test_another_key_is_told_as_such_and_nothing_else_is_tried(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    start_agent(lab, write_key(lab))
    keys.create(lab.directory / "other")
    watch = Watch(lab)
    said = probe(lab, lab.directory / "other", "--json=-")
    assert said.code == 3
    assert "holds another key" in said.words
    assert not watch.count("near")  # but for TCP


def test_another_key_gets_no_answer_in_band(make_lab: MakeLab) -> None:
    """But for what kernels answer to anybody: pings, and UDP ports that nobody holds."""
    lab = make_lab("open")
    start_agent(lab, write_key(lab))
    keys.create(lab.directory / "other")
    lab.load("far", NO_KERNEL)
    watch = Watch(lab)
    said = probe(lab, lab.directory / "other", "--json=-", "--control=inband", seconds=40.0)
    assert said.code == 3
    assert "no agent with this key answered" in said.words
    assert watch.count("near") > 50
    assert not watch.count("far")


NO_KERNEL = """
table inet quiet {
    chain input {
        type filter hook input priority 0;
        meta l4proto { esp, ah, icmp } drop
        udp dport { 88, 500, 4500 } drop
    }
}
"""


def test_hosts_whose_clocks_are_apart(make_lab: MakeLab) -> None:
    """By three hours: not a word from far, and either end says what may be the matter. By two
    hours less a minute, one each way: it is as it was.
    """
    lab = make_lab("open")
    key = write_key(lab)
    near, far = Clock(lab, "near-clock"), Clock(lab, "far-clock")
    argv = [*module("agent"), f"--key={key}", "--user=root"]
    agent = Running(lab, "far", argv, env=far.env)
    agent.hear("listens")
    lab.load("far", NO_KERNEL)
    watch = Watch(lab)
    options = ("--json=-", "--control=inband", "--only=esp")
    far.set(3 * 3600)
    said = probe(lab, key, *options, seconds=40.0)
    assert said.code == 3
    assert "whether the two clocks are less than 2 hours apart: it is now 20" in said.words
    assert watch.count("near") > 50
    assert not watch.count("far")
    lab.flush("far")
    far.set(3570)
    near.set(-3570)
    found = result(probe(lab, key, *options, seconds=40.0, env=near.env))
    assert found["complete"]
    assert outcomes(found)["esp"] <= {"delivered", "state-possible"}
    agent.process.terminate()
    told = agent.end()
    assert told.code == 0
    lines = [line for line in told.err.splitlines() if " warning " in line]
    assert len(lines) == 1, told.err
    line = lines[0]
    assert f"in packets from {lab.near_address()} get no answer" in line
    assert re.search(r"that host's clock is -10[78]\d\d s from this one's", line), line


def test_an_agent_that_is_killed_ends_the_run_with_words(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(written(tmp_path, KB_WITHOUT_CONTROL))
    key = write_key(lab)
    agent = start_agent(lab, key)
    running = start_probe(lab, key, "--json=-", "--control=inband", "--only=esp,nat-keepalive")
    wait_until(lambda: in_session(lab), "a session")
    agent.kill()
    said = running.end(60.0)
    found = result(said)
    assert said.code == 3
    assert not found["complete"]
    assert "the control connection broke: nothing has come for" in said.words
    assert not [c for c in found["checks"] if c["outcome"] == "lost"]


def test_near_that_is_interrupted_tells_the_agent(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(written(tmp_path, KB_WITHOUT_CONTROL))
    key = write_key(lab)
    start_agent(lab, key)
    running = start_probe(lab, key, "--json=-", "--control=inband", "--timeout=5")
    wait_until(lambda: in_session(lab), "a session")
    running.process.send_signal(signal.SIGINT)
    assert running.end(30.0).code == 130
    wait_until(lambda: " session " in agent_log(lab), "the session's end")


MASQUERADE = """
table inet lab {
    chain forward {
        type filter hook forward priority filter; policy drop;

        ct state established,related accept
        iifname "near0" oifname "far0" meta l4proto { esp, udp, icmp } accept
        CONTROL
    }
    chain nat {
        type nat hook postrouting priority srcnat;
        oifname "far0" masquerade
    }
}
"""


def test_behind_a_nat_it_is_as_with_a_control_connection(make_lab: MakeLab, tmp_path: Path) -> None:
    found = []
    for control in ("", CONTROL):
        rules = written(tmp_path, MASQUERADE.replace("CONTROL", control))
        _, said = through(make_lab, rules, 4, "--control=tcp" if control else "--control=inband")
        found.append(result(said))
        assert found[-1]["complete"], said.err
        assert found[-1]["path"]["near_behind_nat"]
    assert cells(found[0]) == cells(found[1])


LOSSY = """
table inet lab {
    chain forward {
        type filter hook forward priority filter; policy drop;

        meta l4proto icmp numgen random mod 100 < 30 drop
        meta l4proto icmp accept
    }
}
"""


def test_three_in_ten_lost_on_the_only_kind(make_lab: MakeLab, tmp_path: Path) -> None:
    _, said = through(make_lab, written(tmp_path, LOSSY), 4, "--control=inband", seconds=120.0)
    found = result(said)
    assert found["complete"], said.err
    told = outcomes(found, flow="new")
    assert "delivered" not in told["esp"] | told["ike"] | told["kerberos-tcp"]
    assert told["icmp-echo"] <= {"lossy", "delivered"}


def test_ports_that_daemons_hold_carry_as_well(make_lab: MakeLab, tmp_path: Path) -> None:
    """A daemon that holds the port keeps it, and gets no more than one IKE_SA_INIT of a call."""
    lab = make_lab(firewall(tmp_path, "ike", "reply", control=False))
    key = write_key(lab)
    held = {
        host: inside(lab, host, functools.partial(bound, address, 500))
        for host, address in (("near", "10.77.1.2"), ("far", "10.77.2.2"))
    }
    with closing(held["near"]), closing(held["far"]):
        start_agent(lab, key)
        said = probe(lab, key, "--json=-", "--control=inband", "--only=esp", seconds=60.0)
        found = result(said)
        assert found["complete"], said.err
        held["far"].settimeout(0.5)
        exchanges = Counter(exchange for exchange in received(held["far"]))
    assert exchanges[INFORMATIONAL] > 5
    assert exchanges[SA_INIT] <= 1


RESETS = """
table inet resets {
    counter from_far { }
    chain forward {
        type filter hook forward priority -10;
        iifname "far0" tcp sport 88 tcp flags & rst == rst counter name from_far
    }
}
"""


def test_where_far_listened_too_late_for_near_the_port_is_the_runs(make_lab: MakeLab) -> None:
    """It went on to wait there, and the run took that for another program's service."""
    lab = make_lab(None)
    lab.load("fw", RESETS)
    key = write_key(lab)
    agent = start_agent(lab, key)
    agent.send_signal(signal.SIGSTOP)
    running = start_probe(lab, key, "--json=-", "--control=inband", "--only=kerberos-tcp")
    wait_until(lambda: resets(lab) >= 2, "near's knock and its connection in vain")
    agent.send_signal(signal.SIGCONT)
    found = result(running.end(60.0))
    assert {check["outcome"] for check in found["checks"]} == {"delivered"}
    assert not any("another program" in note for note in found["notes"])


def resets(lab: Lab) -> int:
    told = lab.run("fw", ["nft", "list", "counter", "inet", "resets", "from_far"]).stdout
    return int(told.split("packets ")[1].split()[0])


def bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind((address, port))
    return sock


def received(sock: socket.socket) -> Iterator[int]:
    """The exchange types of the IKE messages that wait there."""
    while True:
        try:
            yield parse_header(sock.recv(65_536)).exchange
        except TimeoutError:
            return
