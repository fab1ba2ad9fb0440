"""Pairing, several operators, rotating and revoking, with the real programs on two hosts."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.access import keys
from probe.lab import Lab, load_firewall, module
from tests.netns.ends import Running, Said, wait_until
from tests.netns.test_bad_luck_agent import HELLO, Session

pytestmark = pytest.mark.netns

SHORT = ("--only=esp", "--shots=1")


class Hosts:
    """near and far with their own files, as two hosts have them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.near, self.far = lab.directory / "near-files", lab.directory / "far-files"

    def agent(self, *options: str) -> Running:
        key = f"--key={self.far / 'key'}"
        return Running(self.lab, "far", [*module("agent"), key, *options])

    def probe(self, *options: str, key: str = "key", command: str = "run") -> Said:
        argv = [*module("probe"), command, f"--peer={self.lab.far_address()}", *options]
        return Running(self.lab, "near", [*argv, f"--key={self.near / key}"]).end()

    def keygen(self, *options: str) -> Said:
        env = {"PROBE_KEY_FILE": str(self.far / "key")}
        return Running(self.lab, "far", [*module("probe"), "keygen", *options], env=env).end()

    def copy(self, name: str, to: str) -> None:
        """As one does it by scp."""
        keys.store(self.near / to, keys.load_all(self.far / name))


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Lab(load_firewall("open")) as lab:
        yield Hosts(lab)


def shown(agent: Running) -> str:
    """The code, as the operator at far reads it."""
    assert agent.process.stdout is not None
    while line := agent.process.stdout.readline():
        found = re.search(r"pairing code: (\d{3}-\d{3}-\d{3}) ", line)
        if found:
            return found[1]
    raise AssertionError(f"no code was shown: {agent.process.communicate()[1]}")


def typed_wrong(code: str) -> str:
    """Two digits exchanged, or one off: what the check digit is for."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def another(code: str) -> str:
    from agent.access.pairing import _check_digit, read_code

    digits = f"{(int(read_code(code)[:-1]) + 1) % 10**8:08}"
    return digits + _check_digit(digits)


def stopped(agent: Running) -> Said:
    agent.process.terminate()
    said = agent.end()
    assert said.code == 0, said
    return said


def test_the_whole_of_it_with_nothing_copied(hosts: Hosts) -> None:
    agent = hosts.agent("--pair=alice")
    code = shown(agent)
    slip = hosts.probe(*SHORT, f"--code={typed_wrong(code)}")
    assert slip.code == 2
    assert "typing error" in slip.words
    first = hosts.probe(*SHORT, f"--code={code}")
    assert first.code == 0, first
    assert "paired with 10.77.2.2; the key for next time" in first.words
    near, far = hosts.near / "key", hosts.far / "keys.d" / "alice"
    assert keys.load(near) == keys.load(far)
    for path in (near, far):
        assert path.stat().st_mode & 0o777 == 0o600
    assert hosts.probe(*SHORT).code == 0, "and again, without a code"
    again = hosts.probe(*SHORT, f"--code={code}", key="key2")
    assert again.code == 3
    assert "lets nobody pair now" in again.words
    said = stopped(agent)
    assert f"the key of alice is {far}" in said.out
    everything = said.out + said.err + first.out + first.err
    assert keys.load(near).hex() not in everything
    assert not (hosts.far / "key").exists(), "no shared key was asked for"

    agent = hosts.agent()
    agent.hear("listens")
    assert hosts.probe(*SHORT).code == 0, "nor is one written later"
    assert "key=alice" in stopped(agent).err
    assert not (hosts.far / "key").exists()


def test_a_wrong_guess_voids_the_code_and_an_agent_without_keys_ends(hosts: Hosts) -> None:
    agent = hosts.agent("--pair")
    code = shown(agent)
    guess = hosts.probe(*SHORT, f"--code={another(code)}")
    assert guess.code == 3
    assert "did not take the code" in guess.words
    assert not (hosts.near / "key").exists()
    said = agent.end()
    assert said.code == 3
    assert "a wrong pairing code came from 10.77.1.2: the code shown is void" in said.out
    assert not list(hosts.far.glob("**/*"))


def test_an_agent_in_use_serves_on_whatever_becomes_of_a_code(hosts: Hosts) -> None:
    keys.create(hosts.far / "key")
    hosts.copy("key", "key")
    agent = hosts.agent("--pair")
    code = shown(agent)
    assert hosts.probe(*SHORT).code == 0, "while it pairs"
    assert hosts.probe(*SHORT, f"--code={another(code)}", key="other").code == 3
    agent.hear("is void")
    assert hosts.probe(*SHORT, f"--code={code}", key="other").code == 3
    assert hosts.probe(*SHORT).code == 0
    stopped(agent)


def test_operators_each_have_a_key_and_one_is_revoked_by_name(hosts: Hosts) -> None:
    for name in ("alice", "bob"):
        said = hosts.keygen(f"--name={name}")
        assert said.code == 0, said
        hosts.copy(f"keys.d/{name}", name)
    agent = hosts.agent()
    agent.hear("listens")
    assert hosts.probe(*SHORT, key="alice").code == 0
    assert hosts.probe(*SHORT, key="bob").code == 0
    listed = hosts.keygen("--list").out
    assert [line.split()[0] for line in listed.splitlines()] == ["alice", "bob"]
    with (
        Session(hosts.lab, hosts.near / "alice") as alice,
        Session(hosts.lab, hosts.near / "bob") as bob,
    ):
        assert alice.ask(HELLO)["type"] == bob.ask(HELLO)["type"] == "welcome"
        assert hosts.keygen("--name=alice", "--revoke").code == 0
        agent.process.send_signal(signal.SIGHUP)
        farewell = alice.hear()
        assert farewell["code"] == "stopped"
        assert "alice was revoked" in farewell["text"]
        assert alice.hear() == {}
        assert bob.ask({"type": "collect"})["type"] == "oops", "no run is open, but he is served"
    refused = hosts.probe(*SHORT, key="alice")
    assert refused.code == 3
    assert "revoked" in refused.words
    assert hosts.probe(*SHORT, key="bob").code == 0
    (hosts.far / "keys.d" / "bob").chmod(0o644)
    agent.process.send_signal(signal.SIGHUP)
    assert hosts.probe(*SHORT, key="bob").code == 0, "a slip locks nobody out"
    wait_until(lambda: agent.process.poll() is None, "still there")
    assert "the keys stay as they were" in stopped(agent).err


def test_a_key_is_rotated_without_a_moment_of_silence(hosts: Hosts) -> None:
    keys.create(hosts.far / "key")
    hosts.copy("key", "key")
    assert hosts.keygen("--rotate").code == 0
    agent = hosts.agent()
    agent.hear("listens")
    assert hosts.probe(*SHORT).code == 0, "near has the old one only"
    hosts.copy("key", "key")
    assert hosts.probe(*SHORT).code == 0
    assert hosts.keygen("--retire").code == 0
    agent.process.send_signal(signal.SIGHUP)
    agent.hear("read the keys again: 1")
    assert hosts.probe(*SHORT).code == 0
    keys.rotate(hosts.near / "key")  # near goes first, this time
    ahead = hosts.probe(*SHORT)
    assert ahead.code == 0, ahead
    assert "does not have the newest key yet" in " ".join(ahead.out.split())
    stopped(agent)


def test_an_agent_that_is_running_learns_of_a_key_that_was_made_beside_it(hosts: Hosts) -> None:
    keys.create(hosts.far / "key")
    running = hosts.agent()
    running.hear("listens")
    beside = hosts.agent("--pair=alice", "--port=5089")
    code = shown(beside)
    assert hosts.probe(*SHORT, "--port=5089", f"--code={code}").code == 0
    stopped(beside)
    assert hosts.probe(*SHORT).code == 3
    running.process.send_signal(signal.SIGHUP)
    running.hear("read the keys again: 2")
    assert hosts.probe(*SHORT).code == 0
    stopped(running)


def test_a_key_that_others_could_read_or_place_starts_no_agent(hosts: Hosts) -> None:
    assert hosts.keygen("--name=alice").code == 0
    alice = hosts.far / "keys.d" / "alice"
    for spoil, words in (
        (lambda: alice.chmod(0o640), "chmod 600"),
        (lambda: alice.parent.chmod(0o770), "chmod go-w"),
        (lambda: alice.rename(alice.with_name("alice~")), "cannot be the name of a key"),
    ):
        spoil()
        said = hosts.agent().end()
        assert said.code == 2
        assert words in said.words
        for path, mode in ((Path(alice.parent), 0o700), (alice, 0o600)):
            if path.exists():
                path.chmod(mode)


def test_trace_and_state_pair_as_well(hosts: Hosts) -> None:
    agent = hosts.agent("--pair")
    said = hosts.probe("--kind=esp", f"--code={shown(agent)}", command="trace")
    assert said.code == 0, said
    stopped(agent)
