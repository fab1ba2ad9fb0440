"""``probe state`` against nftables with short memories: real packets, real conntrack timeouts.

It is mostly waiting, so the labs stand side by side and all measure at once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from probe.lab import Lab, load_firewall, start_agent, write_key
from tests.netns.ends import Json, Running, agent_log, start_probe

pytestmark = pytest.mark.netns

NEAR_INPUT = """
table inet host {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
    }
}
"""
STRANGER = "import socket, sys; s = socket.socket(2, 3, 50); s.sendto(bytes(64), (sys.argv[1], 0))"
HOLDER = (
    "import socket, sys, time; s = socket.socket(2, 2); s.bind((sys.argv[1], 500)); "
    "print('ready', flush=True); time.sleep(600)"
)


class Measuring:
    """A lab, and ``probe state`` that runs in it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.lab = Lab(load_firewall(setting.firewall), setting.family)

    def __enter__(self) -> Measuring:
        self.lab.__enter__()
        remember(self.lab, "fw", self.setting.timeouts)
        if self.setting.near:
            remember(self.lab, "near", self.setting.near)
            self.lab.load("near", NEAR_INPUT)
        if self.setting.holder:
            holder = self.lab.spawn(
                "far",
                [sys.executable, "-c", HOLDER, self.lab.far_address()],
                stdout=subprocess.PIPE,
            )
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
        self.key = write_key(self.lab)
        self.agent = start_agent(self.lab, self.key)
        self.running = self.start(*self.setting.arguments)
        return self

    def __exit__(self, *error: object) -> None:
        self.lab.close()

    def start(self, *arguments: str) -> Running:
        return start_probe(self.lab, self.key, "--json=-", *arguments, command="state")

    def end(self, running: Running | None = None) -> Ended:
        said = (running or self.running).end(60)
        assert all(len(line) <= 80 for line in said.err.splitlines()), said.err
        agent_log(self.lab)
        return Ended(said.code, json.loads(said.out), said.words)


@dataclass(frozen=True)
class Ended:
    code: int
    found: Json
    words: str


@dataclass(frozen=True)
class Setting:
    firewall: str
    family: int
    timeouts: tuple[int, int, int]  # seconds: what is no UDP; UDP one way; UDP answered
    arguments: tuple[str, ...]
    near: tuple[int, int, int] | None = None  # near has a firewall as well, with these
    holder: bool = False  # another program has far's UDP 500
    meddle: Callable[[Measuring], None] = lambda _measuring: None


def remember(lab: Lab, where: str, timeouts: tuple[int, int, int]) -> None:
    for name, seconds in zip(
        ("generic_timeout", "udp_timeout", "udp_timeout_stream"), timeouts, strict=True
    ):
        path = f"/proc/sys/net/netfilter/nf_conntrack_{name}"
        assert lab.run(where, ["sh", "-c", f"echo {seconds} > {path}"]).returncode == 0


def stranger(measuring: Measuring) -> None:
    """ESP that is not ours, while the program is silent."""
    time.sleep(4.0)
    lab = measuring.lab
    assert lab.run("near", [sys.executable, "-c", STRANGER, lab.far_address()]).returncode == 0


def interrupt(measuring: Measuring) -> None:
    time.sleep(5.0)
    measuring.running.process.send_signal(signal.SIGINT)


def end_agent(measuring: Measuring) -> None:
    time.sleep(5.0)
    measuring.agent.terminate()


LONG = (600, 600, 600)
SETTINGS = {
    "esp": Setting("outbound-only", 4, (3, 600, 600), ("--kind=esp", "--max=6")),
    "ike, v6": Setting("outbound-only", 6, (600, 3, 3), ("--kind=ike", "--max=4")),
    "ah, v6": Setting("outbound-only", 6, (600, 2, 2), ("--kind=ah", "--max=4")),
    "kerberos": Setting(
        "outbound-only", 4, (600, 2, 600), ("--kind=kerberos-udp", "--max=4", "--one-way")
    ),
    "esp, one way": Setting(
        "outbound-only", 4, (2, 600, 600), ("--kind=esp", "--max=4", "--one-way")
    ),
    "nat": Setting("masquerade", 4, (600, 2, 3), ("--kind=esp-in-udp", "--max=4")),
    "open": Setting("open", 6, LONG, ("--kind=ike", "--max=4")),
    "stateless": Setting("one-way-out", 4, LONG, ("--kind=esp", "--max=4")),
    "closed": Setting("closed", 6, LONG, ("--kind=ike-nat-t", "--max=4")),
    "stranger": Setting("outbound-only", 4, LONG, ("--kind=esp", "--max=10"), meddle=stranger),
    "near": Setting("outbound-only", 4, LONG, ("--kind=esp", "--max=4"), near=(2, 600, 600)),
    "held": Setting("outbound-only", 4, LONG, ("--kind=ike", "--max=4"), holder=True),
    "interrupted": Setting("outbound-only", 4, LONG, ("--kind=esp", "--max=60"), meddle=interrupt),
    "agent gone": Setting("outbound-only", 4, LONG, ("--kind=esp", "--max=60"), meddle=end_agent),
}
Measured = dict[str, Ended]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """How each setting ended."""
    with ExitStack() as stack:
        begun = {name: stack.enter_context(Measuring(s)) for name, s in SETTINGS.items()}
        for measuring in begun.values():
            measuring.setting.meddle(measuring)
        yield {name: measuring.end() for name, measuring in begun.items()}


def between(told: Json, seconds: float) -> bool:
    """The truth lies within what is told, and that is told as closely as promised."""
    low, high = told["at_least"], told["less_than"]
    return bool(low < seconds + 0.1 and high > seconds - 0.1 and high - low < 2.5)


@pytest.mark.parametrize(
    ("name", "seconds"), [("esp", 3), ("ike, v6", 3), ("ah, v6", 2), ("nat", 3)]
)
def test_what_the_firewall_remembers_is_found(measured: Measured, name: str, seconds: int) -> None:
    ended = measured[name]
    code, found, words = ended.code, ended.found, ended.words
    assert (code, found["complete"], found["state"]) == (0, True, "reply-only"), words
    assert between(found["held"], seconds), words
    cold = [trial for trial in found["trials"] if trial["after"] == "cold"]
    assert [trial["arrived"] for trial in cold] == ([] if name == "nat" else [0])
    assert "OPEN for replies only" in words


def test_a_flow_without_an_answer_is_forgotten_sooner(measured: Measured) -> None:
    ended = measured["kerberos"]
    assert ended.code == 0, ended.words
    assert ended.found["held"]["at_least"] >= 4
    assert ended.found["held"]["less_than"] is None
    assert between(ended.found["one_way"], 2), ended.words


def test_esp_without_an_answer_is_remembered_as_long(measured: Measured) -> None:
    ended = measured["esp, one way"]
    assert ended.code == 0, ended.words
    assert between(ended.found["held"], 2), ended.words
    assert ended.found["one_way"]["less_than"] is None
    assert "got no answer: as long" in ended.words


def test_nat_is_told(measured: Measured) -> None:
    words = measured["nat"].words
    assert "behind a NAT" in words
    assert "one every 20 s (RFC 3948), is too slow here" in words


def test_open_to_anything(measured: Measured) -> None:
    ended = measured["open"]
    assert (ended.code, ended.found["state"]) == (0, "open")
    assert "OPEN for new flows" in ended.words


def test_a_stateless_firewall_has_no_way_back(measured: Measured) -> None:
    ended = measured["stateless"]
    assert (ended.code, ended.found["state"], ended.found["held"]) == (1, "closed", None)
    assert "keeps no state" in ended.words


def test_nothing_gets_out(measured: Measured) -> None:
    ended = measured["closed"]
    assert (ended.code, ended.found["state"]) == (1, "no-way-out")


def test_other_traffic_spoils_it_and_is_told(measured: Measured) -> None:
    ended = measured["stranger"]
    assert (ended.code, ended.found["state"]) == (3, "unclear"), ended.words
    assert "other ESP traffic between the two hosts was seen" in ended.words


def test_nears_own_firewall_is_told_from_the_networks(measured: Measured) -> None:
    ended = measured["near"]
    assert (ended.code, ended.found["state"]) == (0, "reply-only"), ended.words
    assert ended.found["held"]["less_than"] is None
    assert "was dropped by near's own firewall" in ended.words
    last = ended.found["trials"][-1]
    assert last["arrived"] > last["delivered"] == 0


def test_a_service_that_is_not_ours_is_left_alone(measured: Measured) -> None:
    ended = measured["held"]
    assert (ended.code, ended.found["state"], ended.found["trials"]) == (3, "unclear", [])
    assert "UDP 500 is held by another program on the far host" in ended.words


@pytest.mark.parametrize(("name", "code"), [("interrupted", 130), ("agent gone", 3)])
def test_what_is_known_so_far_is_told(measured: Measured, name: str, code: int) -> None:
    ended = measured[name]
    assert (ended.code, ended.found["complete"]) == (code, False)
    assert ended.found["state"] == "reply-only"
    assert ended.found["held"]["at_least"] >= 1
    assert "not finished" in ended.words


def test_what_an_earlier_run_opened_is_not_taken_for_a_rule() -> None:
    setting = Setting("outbound-only", 4, (3, 600, 600), ("--kind=esp", "--max=1"))
    with Measuring(setting) as measuring:
        assert measuring.end().code == 0  # it ends with the flow still open
        at_once = measuring.end(measuring.start("--kind=esp", "--max=1"))
        assert (at_once.code, at_once.found["state"]) == (3, "unclear"), at_once.words
        assert "Ask again with --wait" in at_once.words
        patient = ("--kind=esp", "--max=1", "--wait", "--state-timeout=4")
        later = measuring.end(measuring.start(*patient))
        assert (later.code, later.found["state"]) == (0, "reply-only"), later.words
