"""What an agent says of itself while it runs: its log, ``--status``, and its keys at SIGHUP."""

from __future__ import annotations

import json
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.control import PROTOCOL
from agent.linux.privileges import NEEDED
from agent.log.status import place
from probe.lab import Lab, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import (
    Running,
    Said,
    agent_log,
    in_session,
    probe,
    start_probe,
    wait_until,
)
from tests.netns.nobody import AS_NOBODY, only, reachable, told
from tests.netns.test_bad_luck_agent import HELLO, OPEN, Session

pytestmark = pytest.mark.netns

CLOSED_TO_ESP = """
table inet t { chain c { type filter hook forward priority 1; meta l4proto esp drop; }; }
"""


def status(lab: Lab, *options: str, prefix: tuple[str, ...] = ()) -> Said:
    argv = [*module("agent"), "--status", *options]
    return Running(lab, "far", argv, prefix=prefix).end()


def socket_of(lab: Lab) -> Path:
    return place(lab.directory / "far" / "probe", 5088)


def test_a_session_is_one_line_in_either_form(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    for form in ("text", "json"):
        agent = Running(lab, "far", [*module("agent"), f"--key={key}", f"--log={form}"])
        agent.hear("listens")
        assert probe(lab, key, "--only=esp,ike", "--shots=2").code == 0
        agent.process.terminate()
        lines = agent.end().err.splitlines()
        if form == "json":
            found: list[dict[str, Any]] = [json.loads(line) for line in lines]
            assert [line["event"] for line in found] == ["started", "session", "stopped"]
            session = found[1]
            assert session.pop("seconds") > 0
        else:
            (line,) = (line for line in lines if " session " in line)
            session = dict(word.partition("=")[::2] for word in line.split()[2:])
        told = {name: str(session[name]) for name in ("peer", "kinds", "runs", "outcome")}
        assert told == {
            "peer": lab.near_address(),
            "kinds": "esp,ike",
            "runs": "1",
            "outcome": "closed",
        }
        # ESP both ways, IKE from its own port and from a fresh one: three tuples each way
        counts = {name: int(session[name]) for name in ("sent", "received", "answered")}
        assert counts == {"sent": 6, "received": 12, "answered": 6}


def test_how_sessions_end(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    with Session(lab, key) as session:
        session.ask(HELLO)
        session.ask(OPEN)
    wait_until(lambda: "outcome=hung-up" in agent_log(lab), "no goodbye")
    with Session(lab, key) as session:
        session.ask({**HELLO, "protocol": PROTOCOL, "name": 'x\n" outcome=closed'})
        session.ask(OPEN)
        session.ask(b"nonsense\n")
    wait_until(lambda: "outcome=bad" in agent_log(lab), "a line that is no message")
    lines = agent_log(lab).splitlines()
    assert sum(" session " in line for line in lines) == 2, "no line forged"


def test_status_of_an_agent_at_rest_and_at_work(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)
    assert probe(lab, key, "--only=esp", "--shots=2").code == 0
    at_rest = json.loads(status(lab, "--json").out)
    assert (at_rest["pid"], at_rest["user"]) == (agent.pid, "nobody")
    assert at_rest["totals"]["sessions"] == 1
    assert at_rest["totals"]["sent"] == 2
    assert at_rest["sessions"] == []
    assert at_rest["memory_kib"] > 1000
    assert at_rest["keys"]
    with Session(lab, key) as session:
        session.ask(HELLO)
        session.ask(OPEN)
        at_work = json.loads(status(lab, "--json").out)
        (one,) = at_work["sessions"]
        assert (one["peer"], one["host"], one["kinds"]) == (lab.near_address(), "a test", "esp")
        words = status(lab)
        assert words.code == 0
        assert f"{lab.near_address()} (a test, key shared, tcp), for" in words.out
        assert max(map(len, words.out.splitlines())) <= 80


def test_by_which_way_a_session_came(make_lab: MakeLab) -> None:
    """Also while it lasts, and of somebody who is refused."""
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    assert probe(lab, key, "--only=esp", "--control=tcp").code == 0
    lab.load("fw", CLOSED_TO_ESP)
    run = start_probe(lab, key, "--only=esp", "--control=inband", "--timeout=5")
    wait_until(lambda: in_session(lab), "a session")
    (one,) = json.loads(status(lab, "--json").out)["sessions"]
    assert (one["peer"], one["control"]) == (lab.near_address(), "inband")
    assert ", inband), for" in status(lab).out
    assert run.end(60).code == 1
    lines = [line for line in agent_log(lab).splitlines() if " session " in line]
    assert [" control=tcp " in line for line in lines] == [True, False]
    assert [" control=inband " in line for line in lines] == [False, True]


def test_status_where_none_runs_or_one_was_killed(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    key = write_key(lab)
    none = status(lab)
    assert (none.code, "no agent answers" in none.words) == (3, True)
    agent = start_agent(lab, key)
    assert status(lab).code == 0
    assert status(lab, "--port=9").code == 3
    agent.kill()
    agent.wait()
    assert socket_of(lab).is_socket()
    gone = status(lab)
    assert (gone.code, "no agent answers" in gone.words) == (3, True)
    start_agent(lab, key)
    assert status(lab).code == 0


def test_status_is_for_root_and_its_own_user(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.directory.chmod(0o711)
    key = write_key(lab)
    start_agent(lab, key)
    assert socket_of(lab).stat().st_mode & 0o777 == 0o600
    said = status(lab, prefix=(*reachable(lab), *AS_NOBODY, "--"))
    assert said.code == 3
    assert "is for root and the agent's own user" in said.words


def test_sighup_rereads_the_keys_and_what_is_bad_changes_nothing(make_lab: MakeLab) -> None:
    """Root's key, in a directory of root's, read again for an agent that is nobody."""
    lab = make_lab("open")
    key = write_key(lab)
    old = key.rename(lab.directory / "old")
    key = write_key(lab)
    agent = start_agent(lab, key)
    assert told(agent.pid)["CapEff"] == only(*NEEDED)
    assert probe(lab, key, "--only=esp").code == 0
    with Session(lab, key) as before:
        before.ask(HELLO)
        old.replace(key)  # the agent's file is another now
        agent.send_signal(signal.SIGHUP)
        wait_until(lambda: "keys-read-again" in agent_log(lab), "the new keys")
        assert probe(lab, key, "--only=esp").code == 0
        assert before.hear()["code"] == "stopped", "whose key is gone is told so"
    nears = Path(shutil.copy(key, lab.directory / "nears"))
    nears.chmod(0o600)
    for count, spoil in enumerate(("chmod 644 {0}", "echo junk > {0}"), 1):
        lab.run("far", ["sh", "-c", spoil.format(key)])
        agent.send_signal(signal.SIGHUP)
        wait_until(partial(complaints, lab, count), "why not")
        assert probe(lab, nears, "--only=esp").code == 0
    assert agent.poll() is None


def complaints(lab: Lab, count: int) -> bool:
    return agent_log(lab).count("the keys stay as they were") == count
