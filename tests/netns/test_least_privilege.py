"""An agent that was started as root is not root while it serves, and misses nothing by it."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.linux.privileges import CAP_DAC_READ_SEARCH, NEEDED
from probe.lab import module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Running, outcomes, probe, result, wait_until
from tests.netns.nobody import AS_THE_UNIT, NOBODY, only, own, own_key, reachable, told
from tests.unit.test_serve import NEVER

pytestmark = pytest.mark.netns

TRACKING = "table inet t { chain c { type filter hook input priority 0; ct state new accept; }; }"


def keeper(agent: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()[0])


@pytest.mark.parametrize("family", [4, 6])
def test_after_the_drop_it_is_nobody_and_every_verdict_is_right(
    make_lab: MakeLab, family: int
) -> None:
    lab = make_lab("open", family)
    lab.load(
        "fw",
        "table inet t { chain c { type filter hook forward priority 1; meta l4proto esp drop; }; }",
    )
    key = write_key(lab)
    agent = start_agent(lab, key)
    now = told(agent.pid)
    assert now["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert now["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert now["Groups"] == ""
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert now[name] == only(*NEEDED)
    assert now["CapInh"] == now["CapAmb"] == only()
    assert now["NoNewPrivs"] == "1"
    found = result(probe(lab, key, "--scenario=all", "--json=-"))
    assert found["complete"]
    for direction in ("outbound", "inbound"):
        new = outcomes(found, direction=direction, flow="new")
        assert new.pop("esp") == {"lost"}
        assert set().union(*new.values()) <= {"delivered", "state-possible"}
    assert not any("far:" in note for note in found["notes"])


def test_who_stays_behind_may_read_and_nothing_else(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    agent = start_agent(lab, write_key(lab))
    pid = keeper(agent)
    now = told(pid)
    assert now["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert now["CapEff"] == now["CapPrm"] == now["CapBnd"] == only(CAP_DAC_READ_SEARCH)
    assert now["NoNewPrivs"] == "1"
    kinds = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    assert sum(kind.startswith("socket:") for kind in kinds) == 1, "its link to the agent"
    agent.kill()
    agent.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")


def test_where_a_pairing_is_to_write_a_key_who_stays_behind_may(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    directory = lab.directory / "config"
    argv = [*module("agent"), "--pair=alice", f"--key={directory / 'key'}"]
    agent = Running(lab, "far", argv)
    agent.hear("listens")
    agent.hear("pairing code: ")
    assert told(agent.process.pid)["CapEff"] == only(*NEEDED)
    assert told(agent.process.pid)["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    beside = told(keeper(agent.process))
    assert beside["Uid"].split() == ["0"] * 4
    assert beside["CapEff"] == beside["CapBnd"] == only(CAP_DAC_READ_SEARCH)
    assert beside["NoNewPrivs"] == "1"
    agent.process.terminate()
    assert agent.end().code == 0


def test_the_hosts_own_connection_tracking_is_still_read(make_lab: MakeLab) -> None:
    """ESP that came before the agent did: far's conntrack knows of it, and root alone may look."""
    lab = make_lab("open")
    lab.load("far", TRACKING)
    for where, peer in (("near", lab.far_address()), ("far", lab.near_address())):
        program = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50); "
            f"s.sendto(bytes([0, 0, 16, 1, 0, 0, 0, 1]) + bytes(64), ({peer!r}, 0))"
        )
        assert lab.run(where, [sys.executable, "-c", program]).returncode == 0
    key = write_key(lab)
    start_agent(lab, key)
    found = result(probe(lab, key, "--only=esp", "--direction=inbound", "--json=-"))
    (check,) = (check for check in found["checks"] if check["flow"] == "new")
    assert check["outcome"] == "state-possible", (check["cause"], found["notes"])
    assert "far saw a flow that its own connection tracking still holds" in check["cause"]


def test_without_root_it_says_what_it_cannot_read(make_lab: MakeLab) -> None:
    """As a hardened unit runs it: never root, and with the two capabilities from the start."""
    lab = make_lab("open")
    lab.load(
        "far", "table inet t { chain c { type filter hook input priority 0; ct state new; }; }"
    )
    key = write_key(lab)
    mine = own_key(lab, key)
    argv = [*module("agent"), f"--key={mine}", f"--listen={lab.far_address()}"]
    env = {"PROBE_STATE_DIR": str(own(lab))}
    agent = Running(lab, "far", argv, prefix=(*reachable(lab), *AS_THE_UNIT), env=env)
    agent.hear("listens")
    now = told(agent.process.pid)
    assert now["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert now["CapEff"] == only(*NEEDED)
    assert now["NoNewPrivs"] == "1"
    found = result(probe(lab, key, "--scenario=all", "--json=-"))
    kinds = set().union(*outcomes(found, flow="new").values())
    assert kinds <= {"delivered", "state-possible"}
    assert any("connection tracking is for root to read" in note for note in found["notes"])
    mine.write_text("0" * 64)  # as this user it reads its keys itself
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: probe(lab, key, "--only=esp").code == 3, "the new key in force")
    agent.process.terminate()
    assert agent.end().code == 0


def test_it_imports_nothing_any_more_once_it_serves(make_lab: MakeLab) -> None:
    """Its own files may be where nobody can read them: in root's home, or in an archive there."""
    lab = make_lab("open")
    lab.load("far", TRACKING)
    key = write_key(lab)
    argv = [sys.executable, "-X", "importtime", "-P", "-m", "agent", f"--key={key}"]
    agent = Running(lab, "far", argv)
    agent.hear("listens")
    assert probe(lab, key, "--scenario=all", "--sizes", "--inspect").code == 0
    agent.process.send_signal(signal.SIGHUP)
    assert probe(lab, key, "--only=esp").code == 0
    agent.process.terminate()
    said = agent.end()
    before, started, after = said.err.partition(" started ")
    assert started
    assert {line.rpartition("| ")[2].strip() for line in before.splitlines()}.isdisjoint(NEVER)
    assert "keys-read-again" in after
    assert [line for line in after.splitlines() if line.startswith("import time:")] == []


def test_whom_to_become(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    key = write_key(lab)

    def start(*options: str, prefix: tuple[str, ...] = ()) -> Running:
        return Running(lab, "far", [*module("agent"), f"--key={key}", *options], prefix=prefix)

    unknown = start("--user=no-such-user").end()
    assert unknown.code == 2
    assert "--user no-such-user: this host has no such user" in unknown.words
    stays = start("--user=root")
    stays.hear("listens")
    assert told(stays.process.pid)["Uid"].split()[0] == "0"
    stays.process.terminate()
    assert stays.end().code == 0
    other = start("--user=daemon")
    other.hear("listens")
    assert told(other.process.pid)["Uid"].split()[0] == str(pwd.getpwnam("daemon").pw_uid)
    other.process.terminate()
    said = other.end()
    assert said.code == 0
    assert " user=daemon" in said.err
    unable = start(prefix=("setpriv", "--bounding-set=-setuid", "--")).end()
    assert unable.code == 3
    assert "cannot become nobody" in unable.words
    able = start(prefix=("setpriv", "--bounding-set=-setpcap", "--"))  # as some containers have it
    able.hear("listens")
    assert told(able.process.pid)["CapEff"] == only(*NEEDED)
    assert told(able.process.pid)["NoNewPrivs"] == "1"
    able.process.terminate()
    assert able.end().code == 0
