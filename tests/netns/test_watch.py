"""A watch over a path whose firewall changes: what it tells, and that it does not grow."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from probe.lab import Lab, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, Running, descriptors, wait_until

pytestmark = pytest.mark.netns

FETCH = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9788/metrics").read().decode())
"""
CLOSE_TCP_88 = """
table inet later {
    chain forward {
        type filter hook forward priority -10
        tcp dport 88 drop
    }
}
"""


class Watch(Running):
    """``probe watch`` at near, a second a round, and the JSON lines that it wrote."""

    def __init__(self, lab: Lab, key: Path, *options: str) -> None:
        self.lab = lab
        self.file = lab.directory / "watch.jsonl"
        super().__init__(
            lab,
            "near",
            [
                *module("probe"),
                "watch",
                f"--key={key}",
                f"--peer={lab.far_address()}",
                "--every=1",
                f"--jsonl={self.file}",
                *options,
            ],
        )

    def events(self, event: str) -> list[Json]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [found for found in map(json.loads, lines) if found["event"] == event]

    def wait_for(self, event: str, count: int, seconds: float = 60.0) -> list[Json]:
        wait_until(lambda: len(self.events(event)) >= count, f"{count} × {event}", seconds)
        return self.events(event)


def test_a_rule_goes_and_comes_back(make_lab: MakeLab) -> None:
    lab = make_lab("kb233256")
    key = write_key(lab)
    start_agent(lab, key)
    watch = Watch(lab, key, "--only=esp,icmp-echo,kerberos-tcp", "--metrics=9788")
    watch.wait_for("round", 3)
    lab.load("fw", CLOSE_TCP_88)
    gone = watch.wait_for("change", 2)
    scraped = lab.run("near", [sys.executable, "-c", FETCH]).stdout
    lab.run("fw", ["nft", "delete", "table", "inet", "later"])
    changes = watch.wait_for("change", 4)
    watch.wait_for("round", watch.events("round")[-1]["round"] + 2)
    watch.process.terminate()
    said = watch.end()
    assert said.code == 0
    for change, (before, after) in zip(
        changes, [("passes", "lost")] * 2 + [("lost", "passes")] * 2, strict=True
    ):
        assert (change["kind"], change["flow"]) == ("kerberos-tcp", "new")
        assert (change["before"], change["after"]) == (before, after)
    assert {change["direction"] for change in gone} == {"outbound", "inbound"}
    assert 'ipsec_probe_check_through{destination_port="88",direction="inbound"' in scraped
    assert "Kerberos TCP 88, inbound new: passes → lost" in " ".join(said.out.split())
    assert said.out.rstrip().endswith("PASS: 12 of 12 checks passed (1 of them state-possible).")
    # ESP rested: it was asked once, and is not what an earlier round of ours has opened.
    asked = [found["asked"] for found in watch.events("round")]
    assert asked[0] == 12
    assert set(asked[1:]) == {8}


def test_a_rule_for_esp_is_found_within_a_round_and_then_rests(make_lab: MakeLab) -> None:
    """Nothing has crossed, so that ESP may be asked again and again until it does."""
    lab = make_lab("esp-missing")
    key = write_key(lab)
    start_agent(lab, key)
    watch = Watch(lab, key, "--only=esp,icmp-echo", "--direction=outbound")
    assert watch.wait_for("round", 3)[-1]["summary"]["fail"] == 1
    lab.run("fw", ["nft", "insert rule inet lab forward meta l4proto esp accept"])
    (change,) = watch.wait_for("change", 1)
    assert (change["kind"], change["after"], change["outcome"]) == ("esp", "passes", "delivered")
    rounds = len(watch.events("round"))
    watch.wait_for("round", rounds + 3)
    watch.process.terminate()
    assert watch.end().code == 0
    assert [found["asked"] for found in watch.events("round")][rounds + 1 :][:2] == [2, 2]


def test_an_agent_that_goes_and_comes_back(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    agent = start_agent(lab, key)
    watch = Watch(lab, key, "--only=icmp-echo,kerberos-udp")
    watch.wait_for("round", 2)
    agent.kill()
    agent.wait()
    (blind,) = watch.wait_for("blind", 1)
    assert "refuses TCP 5088" in blind["error"]
    start_agent(lab, key)
    watch.wait_for("sighted", 1)
    watch.process.terminate()
    said = watch.end()
    assert said.code == 0
    assert not watch.events("change")
    assert "BLIND: nothing can be tested" in said.out


def test_no_agent_from_the_start(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    said = Watch(lab, write_key(lab), "--only=icmp-echo").end()
    assert said.code == 3
    assert "refuses TCP 5088" in said.words


def memory(pid: int) -> int:
    """Resident, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)


def test_it_does_not_grow(make_lab: MakeLab) -> None:
    """A week is ten thousand rounds. Once the heap has its size, a hundred may add nothing."""
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    watch = Watch(lab, key, "--only=esp,icmp-echo,kerberos-tcp,ike", "--every=0.1")
    watch.wait_for("round", 80, seconds=120)
    before = memory(watch.process.pid), descriptors(watch.process.pid)
    watch.wait_for("round", 180, seconds=180)
    after = memory(watch.process.pid), descriptors(watch.process.pid)
    assert after[0] < before[0] + 1024
    assert after[1] <= before[1] + 2  # a round may be under way
    threads = len(os.listdir(f"/proc/{watch.process.pid}/task"))
    assert threads < 5
    watch.process.terminate()
    assert watch.end().code == 0
