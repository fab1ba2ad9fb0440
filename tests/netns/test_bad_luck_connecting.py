"""No agent to be had: every way to fail has a message of its own, which says what to do next.

All of it is asked at once, in one lab, because some answers take their time by nature.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.access import keys
from probe.lab import Lab, environment, load_firewall, module, start_agent, write_key
from tests.netns import strangers
from tests.netns.ends import Running, Said, agent_log, start_probe

pytestmark = pytest.mark.netns

DENYING = 5089  # an agent that allows others only
SILENT = 7777
RULES = """
table inet silence {
    chain input {
        type filter hook input priority 0;
        tcp dport 7777 drop
    }
}
"""
NOBODY = """
table inet nobody {
    chain forward {
        type filter hook forward priority -10;
        ip daddr 10.77.2.66 drop
        ip daddr 10.77.2.67 reject with icmp admin-prohibited
    }
}
"""
INBAND = ("silent host", "refusing router")  # the others are asked by TCP alone
NO_RAW = ("setpriv", "--bounding-set=-net_raw", "--")
# A near side of another version: the same program, told to greet so.
LATER = "import sys, probe.far.link as link; link.PROTOCOL, link.__version__ = 7, '9.9.9'; "
LATER += "from probe.cli import main; sys.exit(main())"

# name → (options after --peer=far, the words that must be in the message)
CASES: dict[str, tuple[list[str], list[str]]] = {
    "unresolvable": (
        ["--peer=bad..name"],
        ["'bad..name' cannot be resolved", "Check the spelling, or give the address"],
    ),
    "other family": (
        ["-6", "--peer=10.77.2.2"],
        ["10.77.2.2 is no IPv6 address: leave out -6"],
    ),
    "closed port": (["--port=7999"], ["10.77.2.2 refuses TCP 7999", "run: probe-agent"]),
    "silent port": (
        [f"--port={SILENT}"],
        ["does not answer on TCP 7777", "answers ping", "allow TCP 7777"],
    ),
    "silent host": (
        ["--peer=10.77.2.66"],
        [
            "does not answer on TCP 5088",
            "no agent with this key answered",
            "Ping brings nothing back",
            "sysctl net.ipv4.ip_forward",
        ],
    ),
    "refusing router": (
        ["--peer=10.77.2.67"],
        ["No route to host", "check the routes", "no agent with this key answered"],
    ),
    "no route": (["--peer=203.0.113.1"], ["no route to 203.0.113.1", "ip -4 route get"]),
    "no route in IPv6": (
        ["--peer=2001:db8::1"],
        ["no route to 2001:db8::1", "has this host an IPv6 address at all?"],
    ),
    "another key": (
        ["--key=OTHER"],
        ["holds another key", "probe-agent --pair", "copy its key file", "--key"],
    ),
    "denied": (
        [f"--port={DENYING}"],
        ["the agent does not allow 10.77.1.2", "start it with --allow 10.77.1.2"],
    ),
    "garbage": ([], ["is not a probe agent", "does not speak TLS", "Check --peer and --port"]),
    "http": ([], ["is not a probe agent", "does not speak TLS", "Check --peer and --port"]),
    "mute": ([], ["accepts TCP 7003 and then says nothing", "Check --port, and the agent"]),
    "closing": ([], ["closed the connection at the first word", "Check --peer and --port"]),
    "foreign-tls": ([], ["is not a probe agent: it speaks TLS, with a certificate of its own"]),
    "later": (
        [],
        ["is version 9.9.9 (protocol 7) and this is version", "Install the same version"],
    ),
    "refusing": ([], ["is version 9.9.9 (protocol 7)", "Install the same version"]),
    "confused": ([], ["answered with a Closed", "speaks another protocol"]),
    "babbling": ([], ["took the key and then broke off", "malformed", "the agent's log"]),
    "hanging-up": ([], ["took the key and then broke off", "the agent's log"]),
    "later here": (
        [],
        ["(protocol 1) and this is version 9.9.9 (protocol 7)", "Install the same version"],
    ),
    "no privilege": (
        [],
        ["the near host lets this program open no raw sockets", "as root", "setcap cap_net_raw"],
    ),
}


def begin(lab: Lab, key: Path, name: str) -> Running:
    options = [o.replace("OTHER", str(lab.directory / "other")) for o in CASES[name][0]]
    if name in strangers.PORTS:
        options.append(f"--port={strangers.PORTS[name]}")
    if name not in INBAND:
        options.append("--control=tcp")
    options.append(f"--json={lab.directory / name}.json")
    if name == "later here":
        argv = [sys.executable, "-c", LATER, "run", f"--key={key}", "--peer=10.77.2.2", *options]
        return Running(lab, "near", argv)
    return start_probe(lab, key, *options, prefix=NO_RAW if name == "no privilege" else ())


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Said]]:
    with Lab(load_firewall("open")) as lab:
        key = write_key(lab)
        keys.create(lab.directory / "other")
        lab.load("far", RULES)
        lab.load("fw", NOBODY)
        for route in ("203.0.113.0/24", "2001:db8::/32"):
            lab.run("near", ["ip", "route", "add", "unreachable", route])
        start_agent(lab, key)
        agent = [*module("agent"), f"--key={key}", "--listen=10.77.2.2", f"--port={DENYING}"]
        denying = Running(lab, "far", [*agent, "--allow=10.99.0.0/16", "--allow=fd99::/16"])
        listen = [sys.executable, "-m", "tests.netns.strangers", lab.far_address(), str(key)]
        crowd = Running(lab, "far", listen, env=environment(lab, "far"))
        crowd.hear("ready")
        denying.hear("listens")
        begun = {name: begin(lab, key, name) for name in CASES}
        found = {name: running.end(40) for name, running in begun.items()}
        denying.process.terminate()
        assert "refused peer=10.77.1.2 key=shared control=tcp why=denied" in denying.end().err
        assert "protocol 7" not in agent_log(lab)
        for name in CASES:
            written = json.loads((lab.directory / f"{name}.json").read_text())
            assert written["complete"] is False
            assert {check["outcome"] for check in written["checks"]} == {"unobserved"}
        yield found


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_is_wrong_and_what_to_do(told: dict[str, Said], name: str) -> None:
    said = told[name]
    assert said.code == 3
    assert said.out == ""
    for word in CASES[name][1]:
        assert word in said.words
    assert len(said.err.splitlines()) == 1, "one message, nothing else"


def test_no_two_causes_sound_alike(told: dict[str, Said]) -> None:
    """But for two ways to be no agent, which are the same to whoever reads it."""
    plain = {
        name: said.err.replace(str(strangers.PORTS.get(name)), "PORT")
        for name, said in told.items()
    }
    del plain["http"]
    assert len(set(plain.values())) == len(plain)
