"""SIGTERM and SIGHUP at moments when somebody is in the middle of something."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from agent.access import keys, pairing, tls
from agent.access.keyring import identifier
from agent.access.pairing import GOODBYE, OPEN_KEY, Near
from probe.lab import Lab, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import (
    Running,
    agent_log,
    in_session,
    outcomes,
    probe,
    result,
    start_probe,
    wait_until,
)
from tests.netns.test_bad_luck_agent import connection
from tests.netns.test_pairing import shown

pytestmark = pytest.mark.netns

# No control port, and ESP is dropped, so that a run takes its time.
WITHOUT_CONTROL = """
table inet shut {
    chain forward {
        type filter hook forward priority 1;
        tcp dport 5088 drop
        meta l4proto esp drop
    }
}
"""
INBAND = ("--control=inband", "--json=-", "--timeout=6")


def in_packets(make_lab: MakeLab) -> tuple[Lab, Path]:
    lab = make_lab("open")
    lab.load("fw", WITHOUT_CONTROL)
    return lab, write_key(lab)


def test_sigterm_during_a_session_in_packets(make_lab: MakeLab) -> None:
    lab, key = in_packets(make_lab)
    agent = start_agent(lab, key)
    run = start_probe(lab, key, *INBAND)
    wait_until(lambda: in_session(lab), "a session")
    agent.terminate()
    said = run.end(20)
    assert said.code == 3
    assert "the agent was stopped, before the run was over" in said.words
    found = result(said)
    assert not found["complete"]
    assert set.union(*outcomes(found).values()) <= {"unobserved", "delivered", "state-possible"}
    assert agent.wait(10) == 0
    (line,) = (line for line in agent_log(lab).splitlines() if " session " in line)
    assert " control=inband " in line
    assert " outcome=stopped " in line


def test_sighup_during_a_session_in_packets(make_lab: MakeLab) -> None:
    """Its key stays: the run goes on. Its key goes: near is told so, and is out."""
    lab, key = in_packets(make_lab)
    agent = start_agent(lab, key)
    old, new = key.read_bytes(), lab.directory / "new"
    keys.create(new)
    nears = lab.directory / "nears"
    nears.write_bytes(old)
    nears.chmod(0o600)
    run = start_probe(lab, nears, *INBAND)
    wait_until(lambda: in_session(lab), "a session")
    key.write_bytes(new.read_bytes() + old)
    agent.send_signal(signal.SIGHUP)
    wait_until(lambda: agent_log(lab).count("keys-read-again keys=2") == 1, "both keys")
    found = result(run.end(60))
    assert found["complete"]
    assert outcomes(found, flow="new")["esp"] == {"lost"}
    assert set.union(*(o for kind, o in outcomes(found, flow="new").items() if kind != "esp")) <= {
        "delivered",
        "state-possible",
    }
    run = start_probe(lab, nears, *INBAND)
    wait_until(lambda: in_session(lab), "another session")
    new.replace(key)
    agent.send_signal(signal.SIGHUP)
    said = run.end(20)
    assert said.code == 3
    assert "was revoked at the agent" in said.words
    assert set.union(*outcomes(result(said)).values()) <= {
        "unobserved",
        "delivered",
        "state-possible",
    }
    assert probe(lab, key, "--only=ike", "--control=inband").code == 0, "it serves on"
    assert agent.poll() is None


class Pairing:
    """Near's half of a pairing, a word at a time."""

    def __init__(self, lab: Lab, code: str) -> None:
        context = tls.context(OPEN_KEY, server=False)
        self.link = context.wrap_socket(connection(lab), server_hostname=identifier(OPEN_KEY))
        self.link.settimeout(10)
        found = self.link.get_channel_binding("tls-unique")
        assert found
        self.near = Near(pairing.read_code(code), found, "alice", os.urandom)
        self.link.sendall(self.near.begin())
        self.proof = self.near.receive(self._message())

    def _message(self) -> bytes:
        length = self.link.recv(1)
        return length + self.link.recv(length[0])

    def finish(self) -> bytes:
        self.link.sendall(self.proof)
        self.near.receive(self._message())
        assert self.near.paired is not None
        return self.near.paired.key


def start(lab: Lab, *options: str) -> Running:
    return Running(lab, "far", [*module("agent"), f"--key={lab.directory / 'far-key'}", *options])


def test_sigterm_during_a_pairing(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    agent = start(lab, "--pair")
    pairing = Pairing(lab, shown(agent))
    agent.process.terminate()
    assert pairing.link.recv(100) == GOODBYE
    assert pairing.link.recv(100) == b""
    said = agent.end()
    assert said.code == 0
    assert "10.77.1.2: no pairing: the agent was stopped" in said.err
    assert not (lab.directory / "far-key").exists()
    assert not (lab.directory / "keys.d").exists()


def test_sighup_during_a_pairing(make_lab: MakeLab) -> None:
    """It goes on, and is no less good for it; the new key is among those that are read again."""
    lab = make_lab("open")
    agent = start(lab, "--pair")
    pairing = Pairing(lab, shown(agent))
    agent.process.send_signal(signal.SIGHUP)
    agent.hear("read the keys again: 0")
    mine = lab.directory / "mine"
    keys.store(mine, [pairing.finish()])
    agent.hear("paired with alice")
    assert probe(lab, mine, "--only=ike").code == 0
    agent.process.send_signal(signal.SIGHUP)
    agent.hear("read the keys again: 1")
    assert probe(lab, mine, "--only=ike").code == 0
    agent.process.terminate()
    assert agent.end().code == 0
