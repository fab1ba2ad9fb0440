"""Several operators at one agent at once: each gets the result that they would get alone.

The hosts are near, behind the firewall, and fw itself, which reaches far without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.access import keys
from agent.access.keyring import store
from probe.lab import Lab, load_firewall, module, start_agent
from tests.netns.ends import Json, Running, agent_log, outcomes, result

pytestmark = pytest.mark.netns

ADDRESS = {"near": "10.77.1.2", "fw": "10.77.2.1"}
FAR = "10.77.2.2"
WHOLE = ("--json=-", "--state-timeout=0", "--shots=4")
# No state, or the second run would not see what the first one saw.
STATELESS = """
table ip stateless {
    chain forward {
        type filter hook forward priority -10;
        ip saddr 10.77.2.2 ip protocol { esp, ah } drop
        ip saddr 10.77.1.2 udp dport { 88, 500 } drop
    }
}
"""
SHARED_HOST = "--only=esp,ah,ike,esp-in-udp,kerberos-udp,icmp-echo"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An agent with three operators' keys, behind a firewall that remembers nothing."""
    with Lab(load_firewall("open")) as lab:
        lab.load("fw", STATELESS)
        for name in "abc":
            key = keys.create(lab.directory / name)
            store(lab.directory / "keys.d", name, [key])
        start_agent(lab, lab.directory / "key")
        yield lab


def begin(lab: Lab, where: str, key: str, *options: str, state: str = "") -> Running:
    argv = [*module("probe"), "run", f"--peer={FAR}", f"--key={lab.directory / key}", *WHOLE]
    own = {"XDG_STATE_HOME": str(lab.directory / f"{where}-{state or key}")}
    return Running(lab, where, [*argv, *options], env=own)


def told(found: Json) -> dict[tuple[str, str, str], set[str]]:
    return {
        (direction, flow, kind): seen
        for direction in ("outbound", "inbound")
        for flow in ("new", "reply")
        for kind, seen in outcomes(found, direction=direction, flow=flow).items()
    }


def is_its_own(found: Json, address: str) -> None:
    """No packet of anybody else's is in it, and no shot is there twice."""
    for check in found["checks"]:
        sources = {s["source"] for s in check["evidence"]} - {""}
        assert sources <= {address, FAR}, check
        assert check["delivered"] <= check["shots"]
        assert check["arrived"] <= check["shots"]


def test_operators_on_different_hosts_see_what_each_would_see_alone(lab: Lab) -> None:
    hosts = {"a": "near", "b": "fw", "c": "near"}
    alone = {key: told(result(begin(lab, hosts[key], key).end(60))) for key in ("a", "b")}
    assert alone["a"] != alone["b"], "one of them is behind a firewall"
    for _ in range(2):
        running = {key: begin(lab, hosts[key], key) for key in ("a", "b")}
        found = {key: result(run.end(60)) for key, run in running.items()}
        for key, one in found.items():
            is_its_own(one, ADDRESS[hosts[key]])
            assert told(one) == alone[key]
    log = agent_log(lab)
    for key in ("a", "b"):
        assert f" key={key} " in log


def test_operators_on_the_same_host_share_its_addresses_and_nothing_else(lab: Lab) -> None:
    """What one of them has opened may let the other's through: that is told, and no more."""
    before = told(result(begin(lab, "fw", "a", SHARED_HOST).end(60)))
    running = {key: begin(lab, "fw", key, SHARED_HOST) for key in "abc"}
    for run in running.values():
        said = run.end(60)
        assert said.code == 0, said
        found = result(said)
        is_its_own(found, ADDRESS["fw"])
        for place, seen in told(found).items():
            assert seen <= before[place] | {"state-possible"}, place


def test_one_is_refused_when_there_are_enough_and_served_later(tmp_path: Path) -> None:
    with Lab(load_firewall("open")) as lab:
        keys.create(lab.directory / "key")
        start_agent(lab, lab.directory / "key", "--max-sessions=1")
        from tests.netns.test_bad_luck_agent import HELLO, Session

        with Session(lab, lab.directory / "key") as first:
            assert first.ask(HELLO)["sessions"] == 1
            said = begin(lab, "near", "key", "--only=esp").end()
            assert said.code == 3
            assert "--max-sessions, 1" in said.words
        assert begin(lab, "near", "key", "--only=esp").end().code == 0
