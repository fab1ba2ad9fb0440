"""What happens to the agent's host during a run: no wrong verdict, no crash, and nothing lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from probe.lab import Lab, environment, module, start_agent, write_key
from tests.netns.clock import Clock
from tests.netns.conftest import MakeLab
from tests.netns.ends import (
    Json,
    Running,
    Watch,
    agent_log,
    descriptors,
    in_session,
    outcomes,
    probe,
    result,
    start_probe,
    wait_until,
)
from tests.netns.nobody import told
from tests.netns.test_bad_luck_agent import HELLO, OPEN, Session

pytestmark = pytest.mark.netns

CLOSED = """
table inet shut { chain c { type filter hook forward priority 1; meta l4proto != tcp drop; }; }
"""
PATIENT = "--timeout=5"
TRUE_WHEN_OPEN = {"delivered", "state-possible"}
# What may be said where a host was not itself for a while, on a path that drops nothing.
TRUE_WHEN_DISTURBED = {*TRUE_WHEN_OPEN, "not-sent", "unobserved", "not-applicable"}


def every(found: Json) -> set[str]:
    return {check["outcome"] for check in found["checks"]}


def memory(pid: int) -> int:
    """KiB that are this process' own."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE))


def passes_afterwards(lab: Lab, key: Path) -> None:
    found = result(probe(lab, key, "--scenario=all", "--json=-"))
    assert found["complete"]
    assert every(found) <= TRUE_WHEN_OPEN


# -- killed and started again --------------------------------------------------------------------


def test_killed_and_started_again_during_a_run(make_lab: MakeLab) -> None:
    """The run says so; the next one knows, out of far's ledger, what was there before the end."""
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)
    assert probe(lab, key, "--only=esp").code == 0
    lab.load("fw", CLOSED)
    watch = Watch(lab)
    run = start_probe(lab, key, "--timeout=20", "--json=-")
    wait_until(lambda: watch.count("far") >= 18, "far's first round")
    agent.kill()
    agent.wait()
    agent = start_agent(lab, key)  # at once: the port is free, and so is the socket of --status
    said = run.end()
    assert said.code == 3
    ended = result(said)
    assert not ended["complete"]
    assert every(ended) == {"unobserved", "delivered"}
    assert outcomes(ended, outcome="delivered").keys() == {"kerberos-tcp"}, "which alone passes"
    status = Running(lab, "far", [*module("agent"), "--status", "--json"]).end()
    assert status.code == 0
    assert json.loads(status.out)["pid"] == agent.pid
    lab.load("fw", "delete table inet shut")
    elsewhere = {"XDG_STATE_HOME": str(lab.directory / "another")}  # near has forgotten
    said = probe(lab, key, "--only=esp", "--direction=outbound", "--json=-", env=elsewhere)
    (check,) = (check for check in result(said)["checks"] if check["flow"] == "new")
    assert check["outcome"] == "state-possible"
    assert "far saw an earlier run on the same addresses" in check["cause"]


def test_sigterm_ends_sessions_in_words(make_lab: MakeLab) -> None:
    lab = make_lab("closed")
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    run = start_probe(lab, key, "--timeout=20", "--json=-")
    wait_until(lambda: watch.count("far") >= 18, "far's first round")
    agent.terminate()
    said = run.end(10)
    assert said.code == 3
    assert "the agent was stopped, before the run was over" in said.words
    assert "ERROR, and the run was not finished" in said.err, "the table so far"
    assert every(result(said)) == {"unobserved"}
    assert agent.wait(10) == 0
    assert "outcome=stopped" in agent_log(lab)


# -- the network beneath it ------------------------------------------------------------------------


def ip(lab: Lab, where: str, *words: str) -> None:
    done = lab.run(where, ["ip", *words])
    assert done.returncode == 0, done.stderr


def down_and_up(lab: Lab, where: str) -> None:
    ip(lab, where, "link", "set", "eth0", "down")
    ip(lab, where, "link", "set", "eth0", "up")
    gate = lab.gateway_address(where, 4)
    ip(lab, where, "route", "add", "default", "via", gate)  # it went with the link


def moved(lab: Lab, where: str) -> None:
    """Another address in place of the old one, in the same network."""
    old = lab.far_address() if where == "far" else lab.near_address()
    ip(lab, where, "address", "del", f"{old}/24", "dev", "eth0")
    ip(lab, where, "address", "add", f"{old[:-1]}77/24", "dev", "eth0")
    ip(lab, where, "route", "replace", "default", "via", lab.gateway_address(where, 4))


def moved_back(lab: Lab, where: str) -> None:
    old = lab.far_address() if where == "far" else lab.near_address()
    ip(lab, where, "address", "del", f"{old[:-1]}77/24", "dev", "eth0")
    ip(lab, where, "address", "add", f"{old}/24", "dev", "eth0")
    ip(lab, where, "route", "replace", "default", "via", lab.gateway_address(where, 4))


def away_and_back(lab: Lab, where: str) -> None:
    """As a DHCP client does it that lost its lease and gets the same again."""
    old = f"{lab.far_address() if where == 'far' else lab.near_address()}/24"
    ip(lab, where, "address", "del", old, "dev", "eth0")
    ip(lab, where, "address", "add", old, "dev", "eth0")
    ip(lab, where, "route", "replace", "default", "via", lab.gateway_address(where, 4))


@pytest.mark.parametrize("control", ["tcp", "inband"])
@pytest.mark.parametrize("where", ["near", "far"])
@pytest.mark.parametrize(
    "what", [down_and_up, moved, away_and_back], ids=["link", "address", "same-address"]
)
def test_a_host_that_loses_its_link_or_its_address(
    make_lab: MakeLab, what: Callable[[Lab, str], None], where: str, control: str
) -> None:
    """The path drops ESP, and nothing else. Whatever else is silent is nobody's doing.

    The agent listens on one address, and serves on when the host has it again.
    """
    lab = make_lab("open")
    lab.load(
        "fw",
        "table inet t { chain c { type filter hook forward priority 1; meta l4proto esp drop; }; }",
    )
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    options = ("--only=icmp-echo,esp,ah,ike,kerberos-tcp", f"--control={control}", "--json=-")
    assert every(result(probe(lab, key, *options))) <= {*TRUE_WHEN_OPEN, "lost", "not-applicable"}
    wait_until(lambda: not in_session(lab), "its end")
    idle = descriptors(agent.pid)
    before = watch.count("far")
    run = start_probe(lab, key, "--timeout=4", "--shots=12", *options)
    wait_until(lambda: in_session(lab) and watch.count("far") > before, "far's first shot")
    what(lab, where)
    said = run.end(60)
    found = result(said)
    for check in found["checks"]:
        right = TRUE_WHEN_DISTURBED | ({"lost"} if check["kind"] == "esp" else set())
        assert check["outcome"] in right, (check, said.err)
    if what is moved:
        moved_back(lab, where)
    said = probe(lab, key, "--only=ah,ike", f"--control={control}", "--json=-", seconds=40)
    assert every(result(said)) <= TRUE_WHEN_OPEN, said.err
    wait_until(lambda: descriptors(agent.pid) == idle, "all sockets closed", 30)
    assert agent.poll() is None
    agent_log(lab)


def nothing(lab: Lab, where: str) -> None:
    """Another interface comes and goes; that is no affair of the run's."""
    ip(lab, where, "link", "add", "other", "type", "veth", "peer", "another")
    ip(lab, where, "link", "set", "other", "up")
    ip(lab, where, "link", "del", "other")


@pytest.mark.parametrize(
    ("what", "words"),
    [(down_and_up, "lost its link"), (away_and_back, "lost its address"), (nothing, "")],
    ids=["link", "address", "neither"],
)
def test_an_agent_knows_that_it_was_deaf(
    make_lab: MakeLab, what: Callable[[Lab, str], None], words: str
) -> None:
    """Back again before anybody could notice by the control connection."""
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)
    with Session(lab, key) as session:
        session.ask(HELLO)
        assert session.ask(OPEN)["facts"].get("interrupted", "") == ""
        what(lab, "far")
        told = session.ask({"type": "collect"})["facts"]["interrupted"]
        assert words in told
        assert bool(words) == bool(told)
        session.ask({"type": "close"})
        assert session.ask(OPEN)["facts"]["interrupted"] == "", "the next run begins anew"
    assert agent.poll() is None


def test_an_agent_whose_interface_was_down_between_two_runs(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    passes_afterwards(lab, key)
    down_and_up(lab, "far")
    passes_afterwards(lab, key)


# -- the clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_clock_that_is_stepped_by_an_hour_during_a_run(make_lab: MakeLab, step: int) -> None:
    """The agent's own clock of the day; what the kernel stamps goes on as it was."""
    lab = make_lab("open")
    lab.load(
        "fw",
        "table inet t { chain c { type filter hook forward priority 1; meta l4proto ah drop; }; }",
    )
    key = write_key(lab)
    watch = Watch(lab)
    clock = Clock(lab)
    argv = [*module("agent"), f"--key={key}", "--user=root"]  # nobody could not read the file
    agent = Running(lab, "far", argv, env=clock.env)
    agent.hear("listens")
    found = result(probe(lab, key, "--json=-"))
    before = watch.count("far")
    run = start_probe(lab, key, PATIENT, "--json=-")
    wait_until(lambda: watch.count("far") > before, "far's first shot")
    clock.set(step)
    found = result(run.end(60))
    assert found["complete"]
    for check in found["checks"]:
        if check["kind"] == "ah" and check["flow"] == "new":
            assert check["outcome"] == "lost"
        elif check["kind"] != "ah":
            assert check["outcome"] in TRUE_WHEN_OPEN
        if (check["kind"], check["direction"], check["flow"]) == ("esp", "inbound", "new"):
            assert check["outcome"] == "state-possible", "the first run is not forgotten"
    agent.process.terminate()
    ended = agent.end()
    assert ended.code == 0
    stamps = [line[:13] for line in ended.err.splitlines() if " session " in line]
    assert len(set(stamps)) == 2, "it did believe in its stepped clock"
    seconds = [float(told) for told in re.findall(r"seconds=([\d.]+)", ended.err)]
    assert all(0 < taken < 60 for taken in seconds), seconds


# -- a full disk -----------------------------------------------------------------------------------

FILL = "dd if=/dev/zero of={0}/rest bs=4k 2>/dev/null; true"


def test_a_disk_that_fills_up_while_it_serves_and_is_freed_again(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    place = lab.directory / "disk"
    place.mkdir()
    argv = [*module("agent"), f"--key={key}", f"--listen={lab.far_address()}"]
    prefix = ("unshare", "--mount", "--", "sh", "-c")
    script = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
    env = {"PROBE_STATE_DIR": str(place)}
    agent = Running(lab, "far", argv, prefix=(*prefix, script, str(place)), env=env)
    agent.hear("listens")
    pid = agent.process.pid

    def there(command: str) -> None:
        argv = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", "sh", "-c", command]
        subprocess.run(argv, check=True, timeout=30)

    passes_afterwards(lab, key)
    assert probe(lab, key, "--only=ike", "--control=inband").code == 0
    there(FILL.format(place))
    idle = descriptors(pid)
    for turn in range(8):  # the ledger's log grows with each until there is no room
        control = "--control=inband" if turn % 2 else "--control=tcp"
        found = result(probe(lab, key, "--json=-", control))
        assert every(found) <= TRUE_WHEN_OPEN
    assert any("the flow ledger" in note and "far" in note for note in found["notes"])
    assert descriptors(pid) == idle
    there(f"rm {place}/rest")
    agent.process.terminate()
    said = agent.end()
    assert said.code == 0
    assert "the flow ledger" in said.err


# -- others on the same ports ----------------------------------------------------------------------


@pytest.mark.parametrize("control", ["tcp", "inband"])
@pytest.mark.parametrize("where", ["far", "near"])
def test_20_000_packets_a_second_that_are_not_ours(
    make_lab: MakeLab, where: str, control: str
) -> None:
    """On the same ports and protocols, before, during and between runs.

    How much of it an agent can look at depends on the machine. What it could not, it says.
    """
    lab = make_lab("open")
    lab.load(
        "fw",
        "table inet t { chain c { type filter hook forward priority 1; meta l4proto ah drop; }; }",
    )
    key = write_key(lab)
    agent = start_agent(lab, key)
    options = ("--only=esp,ah,ike", "--json=-", f"--control={control}")
    probe(lab, key, "--shots=1", *options)
    idle = descriptors(agent.pid)
    target = lab.far_address() if where == "far" else lab.near_address()
    argv = [sys.executable, "-P", "-m", "tests.netns.torrent", target, "300"]
    flood = Running(lab, "fw", argv, env=environment(lab, "fw"))
    flood.hear("flooding")
    sizes: list[int] = []
    for _ in range(2):
        said = start_probe(lab, key, *options).end(120)
        sizes.append(memory(agent.pid))
        for check in result(said)["checks"]:
            right = {"unobserved", "not-applicable"}
            right |= {"lost"} if check["kind"] == "ah" else {*TRUE_WHEN_OPEN, "lossy"}
            assert check["outcome"] in right, (check, said.err)
    assert flood.process.poll() is None, "it was flooded all the time"
    flood.process.kill()
    flood.end()
    wait_until(lambda: descriptors(agent.pid) == idle, "all sockets closed")
    assert sizes[-1] < sizes[0] + 8_192, sizes
    assert int(told(agent.pid)["Threads"]) == 1
    found = result(probe(lab, key, *options))
    for check in found["checks"]:
        if check["flow"] == "new":
            right = {"lost"} if check["kind"] == "ah" else TRUE_WHEN_OPEN
            assert check["outcome"] in right, "and then all is as it was"
    counted = re.findall(r"strangers=(\d+)", agent_log(lab))
    assert where == "near" or max(map(int, counted)) > 100


def test_many_sessions_leave_nothing_behind(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)
    for _ in range(3):
        probe(lab, key, "--scenario=all", "--shots=1")
    idle, size = descriptors(agent.pid), memory(agent.pid)
    for _ in range(12):
        assert probe(lab, key, "--scenario=all", "--shots=1").code == 0
    wait_until(lambda: descriptors(agent.pid) == idle, "all sockets closed")
    assert memory(agent.pid) < size + 4_096
