"""A run that is cut short: what is known is shown, what is not known is not called a drop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from probe.lab import Lab, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import (
    Running,
    Said,
    Watch,
    agent_log,
    descriptors,
    outcomes,
    probe,
    result,
    start_probe,
    wait_until,
)

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parent.parent.parent
PATIENT = "--timeout=20"  # long enough that the run is surely waiting when it is disturbed
UNOBSERVED = {"unobserved"}
# One kind is refused, so that the others are asked again slowly: one shot each 1.1 seconds.
SLOW = """
table inet slow {
    chain forward {
        type filter hook forward priority 0; policy drop;
        meta l4proto tcp accept
        iifname "far0" meta l4proto icmp reject with icmp admin-prohibited
    }
}
"""
FIRST_ROUND = 18  # shots by far: three of each kind but TCP


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_dies_half_way(make_lab: MakeLab, number: signal.Signals) -> None:
    lab = make_lab("closed")
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    to_file = lab.directory / "result.json"
    run = start_probe(lab, key, PATIENT, f"--json={to_file}")
    wait_until(lambda: watch.count("far") >= FIRST_ROUND, "far's first round")
    agent.send_signal(number)
    said = run.end(10)
    assert said.code == 3
    how = "the agent was stopped" if number is signal.SIGTERM else "was it stopped?"
    assert how in said.words or "the control connection broke" in said.words
    assert "ERROR, and the run was not finished" in said.out
    found = json.loads(to_file.read_text())
    assert found["complete"] is False
    assert {outcome for told in outcomes(found).values() for outcome in told} == UNOBSERVED
    assert agent.wait() == (0 if number is signal.SIGTERM else -number)
    agent_log(lab)


def test_what_was_settled_before_it_died_stays(make_lab: MakeLab) -> None:
    """Inbound is asked first, and waited for to the end; then the far host is gone."""
    lab = make_lab("closed")
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    run = start_probe(lab, key, "--timeout=0.5", "--only=esp,ah,ike", "--json=-")
    wait_until(lambda: watch.count("near") > 0, "near's first shot")
    agent.kill()
    said = run.end(10)
    assert said.code == 3
    found = result(said)
    assert found["complete"] is False
    inbound = outcomes(found, direction="inbound", flow="new")
    assert inbound == {kind: {"lost"} for kind in ("esp", "ah", "ike")}
    outbound = outcomes(found, direction="outbound", flow="new")
    assert outbound == dict.fromkeys(("esp", "ah", "ike"), UNOBSERVED)
    assert "LOST" in said.err, "the table so far, on standard error"


@pytest.mark.parametrize("to_stdout", [True, False])
def test_ctrl_c(make_lab: MakeLab, to_stdout: bool) -> None:
    """The far side was told to go on for seconds: it sends not one packet more."""
    lab = make_lab(None)
    lab.load("fw", SLOW)
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    to_file = lab.directory / "result.json"
    run = start_probe(lab, key, f"--json={'-' if to_stdout else to_file}")
    wait_until(lambda: watch.count("far") > FIRST_ROUND + 1, "the slow round", 20)
    run.process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    said = run.end(5)
    assert time.monotonic() - interrupted < 2
    sent = watch.count("far")
    assert said.code == 130
    assert "probe: interrupted" in said.err
    assert "and the run was not finished" in (said.err if to_stdout else said.out)
    found = result(said) if to_stdout else json.loads(to_file.read_text())
    assert found["complete"] is False
    assert outcomes(found, direction="inbound", flow="new")["icmp-echo"] == {"refused"}
    assert outcomes(found, direction="inbound", flow="new")["esp"] == UNOBSERVED
    assert outcomes(found, direction="outbound", flow="new")["esp"] == UNOBSERVED
    time.sleep(1.5)  # silence has to be listened to: the next shot was due after 1.1 s
    assert watch.count("far") == sent
    wait_until(lambda: " session " in agent_log(lab), "the agent's word on it")
    assert agent.poll() is None


def test_ctrl_c_while_connecting(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("far", "table inet t { chain c { type filter hook input priority 0; policy drop; }; }")
    run = start_probe(lab, write_key(lab), "--json=-")
    pid = run.process.pid
    syn_sent = ":13E0 02 "  # TCP 5088, as /proc/net/tcp has it
    wait_until(lambda: syn_sent in Path(f"/proc/{pid}/net/tcp").read_text(), "a SYN")
    run.process.send_signal(signal.SIGINT)
    said = run.end(2)
    assert (said.code, said.err) == (130, "probe: interrupted\n")
    assert result(said)["complete"] is False


def test_a_near_end_that_dies_stops_the_far_one(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("fw", SLOW)
    key = write_key(lab)
    watch = Watch(lab)
    agent = start_agent(lab, key)
    probe(lab, key, "--only=esp", "--shots=1", "--timeout=0.1")  # the agent has warmed up
    idle = descriptors(agent.pid)
    before = watch.count("far")
    run = start_probe(lab, key)
    wait_until(lambda: watch.count("far") > before + FIRST_ROUND + 1, "the slow round", 20)
    run.process.kill()
    assert run.end().code == -signal.SIGKILL
    wait_until(lambda: descriptors(agent.pid) == idle, "the agent's sockets closed")
    wait_until(lambda: agent_log(lab).count(" session ") == 2, "the agent's word on it")


def test_a_reader_that_goes_away(make_lab: MakeLab) -> None:
    """``probe run | head -1``: the verdict is still the exit code."""
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    run = start_probe(lab, key)
    assert run.process.stdout is not None
    run.process.stdout.close()
    run.process.stdout = None
    said = run.end()
    assert (said.code, said.err) == (0, "")


def test_outputs_that_are_closed_from_the_start(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    argv = [*module("probe"), "run", f"--key={key}", f"--peer={lab.far_address()}"]
    shell = ["sh", "-c", '"$@" >&- 2>&-', "sh", *argv]
    assert Running(lab, "near", shell).end().code == 0


def test_a_full_disk_for_the_output(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    said = probe(lab, key, "--only=esp", "--json=/dev/full")
    assert said.code == 2
    assert "probe: cannot write /dev/full: No space left on device" in said.err
    assert "PASS" in said.out, "the table is not lost with it"
    argv = [*module("probe"), "run", f"--key={key}", f"--peer={lab.far_address()}", "--only=esp"]
    said = Running(lab, "near", ["sh", "-c", '"$@" >/dev/full', "sh", *argv]).end()
    assert said.code == 2
    assert "cannot write the output: No space left on device" in said.err


# -- the flow ledger -----------------------------------------------------------------------------


def state(lab: Lab, where: str, kind: str) -> tuple[list[str], dict[str, str]]:
    """(a prefix, the environment) for a program whose state directory is of that kind."""
    place = lab.directory / f"{where}-{kind}"
    if kind == "a file":
        place.write_text("")
        return [], {"PROBE_STATE_DIR": str(place)}
    place.mkdir()
    size = {"full": "4k", "nearly full": "24k"}.get(kind, "1m")
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && '
    if kind == "read-only":
        script += 'mount -o remount,ro "$0" && '
    return (
        ["unshare", "--mount", "--", "sh", "-c", f'{script} exec "$@"', str(place)],
        {"PROBE_STATE_DIR": str(place)},
    )


@pytest.mark.parametrize("kind", ["a file", "full", "nearly full", "read-only"])
def test_a_ledger_that_cannot_be_written_is_a_note(make_lab: MakeLab, kind: str) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    prefix, env = state(lab, "far", kind)
    listen = [*module("agent"), f"--key={key}", f"--listen={lab.far_address()}"]
    agent = Running(lab, "far", listen, prefix=prefix, env=env)
    agent.hear("listens")
    prefix, env = state(lab, "near", kind)
    for _ in range(2):
        said = probe(lab, key, "--only=esp,ah", prefix=prefix, env=env)
        assert said.code == 0
        for side in ("near", "far"):
            if kind != "nearly full":
                assert f"{side}: the flow ledger" in " ".join(said.out.split())
    agent.process.terminate()
    ended = agent.end()
    assert ended.code == 0
    assert "the flow ledger" in ended.err or kind == "nearly full"


# -- the lab -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "options", "code", "words"),
    [
        (["setpriv", "--bounding-set=-sys_admin", "--"], [], 3, "a container needs CAP_SYS_ADMIN"),
        ([], ["--firewall=opne"], 2, 'did you mean "open"'),
        ([], ["--firewall=open", "--scenario=kb23325"], 2, 'did you mean "kb233256"'),
        ([], ["--firewall=open", "--only=esp", "--scenario=kerberos"], 2, "no row left"),
    ],
)
def test_a_lab_that_cannot_be(prefix: list[str], options: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [*prefix, *module("probe"), "lab", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    said = Said(done.returncode, done.stdout, done.stderr)
    assert (said.code, said.out) == (code, "")
    assert words in said.words
