"""What happens to either host during a run, where control rides in packets or near is the one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from probe.lab import Lab, module, start_agent, write_key
from tests.netns.clock import Clock
from tests.netns.conftest import MakeLab
from tests.netns.ends import (
    Running,
    Watch,
    agent_log,
    descriptors,
    in_session,
    probe,
    result,
    start_probe,
    wait_until,
)
from tests.netns.test_bad_luck_host import TRUE_WHEN_OPEN, every, ip

pytestmark = pytest.mark.netns

NO_AH = """
table inet t { chain c { type filter hook forward priority 1; meta l4proto ah drop; }; }
"""
ONLY = "--only=icmp-echo,esp,ah,ike"


def test_an_agent_that_is_killed_and_started_again_during_a_run_in_packets(
    make_lab: MakeLab,
) -> None:
    """The new one knows nothing of the session, and says nothing to it."""
    lab = make_lab("open")
    lab.load("fw", NO_AH)
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    before = watch.count("far")
    run = start_probe(lab, key, ONLY, "--json=-", "--control=inband", "--timeout=8")
    wait_until(lambda: in_session(lab) and watch.count("far") > before + 9, "far's first round")
    agent.kill()
    agent.wait()
    agent = start_agent(lab, key)
    idle = descriptors(agent.pid)
    said = run.end(60)
    assert said.code == 3
    found = result(said)
    assert not found["complete"]
    assert every(found) <= {*TRUE_WHEN_OPEN, "unobserved", "not-applicable"}, said.err
    assert "the control connection broke" in said.words
    assert descriptors(agent.pid) == idle
    assert " session " not in agent_log(lab)
    found = result(probe(lab, key, "--only=esp,ike", "--json=-", "--control=inband"))
    assert every(found) <= TRUE_WHEN_OPEN


@pytest.mark.parametrize("step", [3600, -3600])
@pytest.mark.parametrize(
    ("where", "control"), [("near", "tcp"), ("near", "inband"), ("far", "inband")]
)
def test_either_clock_is_stepped_by_an_hour_during_a_run(
    make_lab: MakeLab, where: str, control: str, step: int
) -> None:
    """Far's with control by TCP is in test_bad_luck_host."""
    lab = make_lab("open")
    lab.load("fw", NO_AH)
    key = write_key(lab)
    watch = Watch(lab)
    clock = Clock(lab)
    far = clock.env if where == "far" else {}
    near = clock.env if where == "near" else {}
    agent = Running(lab, "far", [*module("agent"), f"--key={key}", "--user=root"], env=far)
    agent.hear("listens")
    options = (ONLY, "--json=-", f"--control={control}")
    assert result(probe(lab, key, *options, env=near))["complete"]
    before = watch.count("far")
    run = start_probe(lab, key, *options, "--timeout=4", env=near)
    wait_until(lambda: in_session(lab) and watch.count("far") > before, "far's first shot")
    clock.set(step)
    said = run.end(60)
    found = result(said)
    assert found["complete"], said.err
    assert 0 < found["seconds"] < 60
    for check in found["checks"]:
        if check["kind"] == "ah":
            right = {"lost"} if check["flow"] == "new" else {"not-applicable"}
        elif (check["kind"], check["flow"]) == ("esp", "new"):
            right = {"state-possible"}  # the first run is not forgotten
        else:
            right = TRUE_WHEN_OPEN
        assert check["outcome"] in right, check
    found = result(probe(lab, key, *options, env=near))
    assert found["complete"], "and with a clock that is an hour off from the start"
    off = (datetime.fromisoformat(found["started"]) - datetime.now(UTC)).total_seconds()
    assert abs(off - (step if where == "near" else 0)) < 60, "it did believe in it"
    agent.process.terminate()
    ended = agent.end()
    assert ended.code == 0
    assert ended.err.count(" outcome=closed ") == 3


def away(lab: Lab, new: str) -> None:
    """Far's address is another one, for good."""
    ip(lab, "far", "address", "del", f"{lab.far_address()}/24", "dev", "eth0")
    ip(lab, "far", "address", "add", f"{new}/24", "dev", "eth0")
    ip(lab, "far", "route", "replace", "default", "via", lab.gateway_address("far", 4))


@pytest.mark.parametrize("control", ["tcp", "inband"])
def test_an_agent_that_listens_everywhere_is_there_at_the_hosts_new_address(
    make_lab: MakeLab, control: str
) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    agent = Running(lab, "far", [*module("agent"), f"--key={key}"])
    agent.hear("listens on every address")
    options = ("--json=-", f"--control={control}", ONLY)
    run = start_probe(lab, key, *options, "--shots=12")
    wait_until(lambda: in_session(lab), "a session")
    new = f"{lab.far_address()[:-1]}77"
    away(lab, new)
    assert run.end(60).code in (0, 3), "it may have been over already"
    found = result(probe(lab, key, f"--peer={new}", *options))
    assert found["far"]["address"] == new
    assert every(found) <= TRUE_WHEN_OPEN
    gone = probe(lab, key, *options, seconds=40)
    assert gone.code == 3
    agent.process.terminate()
    assert agent.end().code == 0


def test_who_starts_an_agent_at_an_address_that_is_gone_is_told(make_lab: MakeLab) -> None:
    """And one that runs already serves there again as soon as the address is back."""
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)
    away(lab, f"{lab.far_address()[:-1]}77")
    argv = [*module("agent"), f"--key={key}", f"--listen={lab.far_address()}"]
    second = Running(lab, "far", argv, env={"PROBE_STATE_DIR": str(lab.directory / "other")})
    said = second.end()
    assert said.code == 3
    assert "No interface of this host has that address" in said.words
    ip(lab, "far", "address", "add", f"{lab.far_address()}/24", "dev", "eth0")
    for control in ("tcp", "inband"):
        assert probe(lab, key, "--only=ike", f"--control={control}").code == 0
    assert agent.poll() is None
