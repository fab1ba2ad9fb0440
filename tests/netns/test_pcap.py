"""``--pcap``: one capture of both ends, as Wireshark reads it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from probe.lab import Lab, environment, module, start_agent, write_key
from tests.dissect.wireshark import ERROR, WARNING, read, worst
from tests.netns.conftest import MakeLab
from tests.netns.ends import Running, Watch, agent_log, probe, result, start_probe, wait_until
from tests.netns.test_bad_luck_running import FIRST_ROUND, SLOW
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

FIELDS = (
    "frame.interface_name",
    "frame.protocols",
    "_ws.expert.severity",
    "frame.time_epoch",
    "frame.comment",
)
SOUND = ("udp.checksum.status", "tcp.checksum.status", "ip.checksum.status", "icmp.checksum.status",
         "icmpv6.checksum.status")  # fmt: skip


class Frame(NamedTuple):
    end: str
    protocols: str
    severities: str
    time: str
    comment: str


def frames(file: Path) -> list[Frame]:
    return [Frame(*fields) for fields in read(file, FIELDS)]


def captured(lab: Lab, *options: str) -> tuple[list[Frame], dict[str, Any], Path]:
    file = lab.directory / "run.pcapng"
    found = judged(lab, f"--pcap={file}", *options)
    return frames(file), found, file


def one_end(file: Path, end: str) -> list[Frame]:
    """As a reader saves it who looks at one end alone."""
    alone = file.with_name(f"{end}.pcapng")
    wanted = f'frame.interface_name == "{end}"'
    subprocess.run(
        ["tshark", "-n", "-r", str(file), "-Y", wanted, "-w", str(alone)],
        check=True,
        capture_output=True,
    )
    return frames(alone)


@pytest.mark.parametrize("family", [4, 6])
def test_wireshark_reads_all_that_crossed(make_lab: MakeLab, family: int) -> None:
    options = ("--scenario=all", "--sizes", "--timeout=0.4")
    whole, run, file = captured(make_lab("open", family), *options)
    assert {frame.end for frame in whole} == {"near", "far"}
    assert not [f for f in whole if "malformed" in f.protocols or worst(f.severities) >= ERROR]
    for status in SOUND:
        found = {value[0] for value in read(file, [status], sums=True)}
        assert found <= {"", "1", "1,1", "3"}, status  # 0 is bad, 3 is "not present"
    layers = {layer for frame in whole for layer in frame.protocols.split(":")}
    icmp = "icmp" if family == 4 else "icmpv6"
    assert {"esp", "ah", "isakmp", "udpencap", "kerberos", "tcp", icmp} <= layers
    for end in ("near", "far"):
        alone = one_end(file, end)
        assert len(alone) == sum(frame.end == end for frame in whole)
        assert not [f for f in alone if worst(f.severities) >= WARNING]
    # A packet in fragments is there in all its parts, at both ends.
    parts = Counter((f.end, word) for f in whole for word in PARTS if word in f.comment)
    assert all(parts[end, word] >= 10 for end in ("near", "far") for word in PARTS), parts
    sightings(whole, run)
    causes(whole)


PARTS = ("first fragment", "last missing fragment")


def sightings(whole: list[Frame], run: dict[str, Any]) -> None:
    """Each sighting on a wire that the JSON tells has its packet, by the same words and stamp."""
    told = {(f.end, int(f.time.replace(".", "")[:-3])) for f in whole}
    seen = {
        (seen["at"], micros(seen["time"]))
        for check in run["checks"]
        for seen in check["evidence"]
        if seen["event"] in ("left", "arrived")
    }
    assert len(seen) > 100
    # Both are rounded from one stamp, in two ways.
    assert {s for s in seen if not {(s[0], s[1] + n) for n in (-1, 0, 1)} & told} == set()


def causes(whole: list[Frame]) -> None:
    """Of each shot the first arrival stands behind the first departure, both ways mixed."""
    first: dict[tuple[str, bool], int] = {}
    for place, frame in enumerate(whole):
        shot, _, what = frame.comment.partition(":")
        first.setdefault((shot, " arrived at " in f" {what.splitlines()[0]}"), place)
    arrived = [shot for shot, arrival in first if arrival]
    assert len(arrived) > 100
    assert [shot for shot in arrived if first[shot, False] > first[shot, True]] == []


def micros(text: str) -> int:
    from datetime import datetime

    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


@pytest.mark.parametrize("family", [4, 6])
def test_a_refusal_is_in_it_and_named(make_lab: MakeLab, family: int) -> None:
    whole, run, _ = captured(make_lab("reject", family), "--only=esp,ike,kerberos-tcp")
    assert not [f for f in whole if "malformed" in f.protocols or worst(f.severities) >= ERROR]
    by_shot: dict[str, list[Frame]] = defaultdict(list)
    for frame in whole:
        by_shot[frame.comment.partition(":")[0]].append(frame)
    refused = [f for f in whole if "refused by" in f.comment]
    assert refused
    for frame in refused:
        left = by_shot[frame.comment.partition(":")[0]]
        assert ": left" in left[0].comment or "SYN left" in left[0].comment, "it left before"
        assert "prohibited (ICMP" in frame.comment
        assert "outcome: refused" in frame.comment
    names = {f.comment.partition(", ")[0] for f in refused}
    assert names == {"ESP", "IKE", "Kerberos"}
    assert run["summary"]["fail"]


def test_a_lost_packet_stands_alone(make_lab: MakeLab) -> None:
    whole, _, _ = captured(make_lab("esp-missing"), "--only=esp,ah")
    lost = [f for f in whole if f.comment.startswith("ESP, IP 50, outbound new")]
    assert {f.end for f in lost} == {"near"}
    assert all("\\noutcome: lost: " in f.comment for f in lost)
    passed = [f for f in whole if f.comment.startswith("AH, IP 51, inbound new, shot 1:")]
    assert [f.end for f in passed] == ["far", "near"], "its departure stands before its arrival"


def test_nothing_but_the_run_is_in_it(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    flood = Running(lab, "fw", [sys.executable, "-m", "tests.netns.flood", lab.far_address()])
    try:
        flood.hear("ready")
        whole, run, _ = captured(lab, "--only=icmp-echo,esp,ike,kerberos-udp")
        assert flood.process.poll() is None, "the flood ended before the run"
    finally:
        flood.process.kill()
        flood.process.wait()
    assert {frame.end for frame in whole} == {"near", "far"}
    assert all(", shot " in frame.comment for frame in whole)
    assert any(note.startswith("far passed over ") for note in run["notes"])


def test_an_interrupted_run_leaves_what_it_had(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("fw", SLOW)
    key = write_key(lab)
    watch = Watch(lab)
    start_agent(lab, key)
    file = lab.directory / "run.pcapng"
    run = start_probe(lab, key, "--json=-", f"--pcap={file}")
    wait_until(lambda: watch.count("far") > FIRST_ROUND + 1, "the slow round", 20)
    run.process.send_signal(signal.SIGINT)
    said = run.end(5)
    assert said.code == 130
    assert result(said)["complete"] is False
    whole = frames(file)
    assert sum(f.end == "far" for f in whole) >= FIRST_ROUND
    # TCP crosses there; of the rest near, which had not begun, has nothing to show.
    assert {f.comment.partition(",")[0] for f in whole if f.end == "near"} <= {"Kerberos"}
    wait_until(lambda: " session " in agent_log(lab), "the agent's word on it")


def test_an_unwritable_place_is_refused_before_the_run(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    watch = Watch(lab)
    said = probe(lab, key, f"--pcap={tmp_path}/nowhere/run.pcapng")
    assert said.code == 2
    assert f"--pcap {tmp_path}/nowhere/run.pcapng: there is no directory" in said.words
    assert watch.count("near") == watch.count("far") == 0


def test_the_lab_writes_one_as_well(tmp_path: Path) -> None:
    file = tmp_path / "lab.pcapng"
    argv = [*module("probe"), "lab", "--firewall=esp-missing", "--only=esp,ah", f"--pcap={file}"]
    done = subprocess.run([*argv, "--json=-"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["complete"]
    assert {frame.end for frame in frames(file)} == {"near", "far"}


def test_standard_output_has_the_capture_alone(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    argv = [*module("probe"), "run", f"--peer={lab.far_address()}", f"--key={key}", "--only=esp"]
    file = lab.directory / "stdout.pcapng"
    with file.open("wb") as output:
        done = lab.run("near", [*argv, "--pcap=-"], env=environment(lab, "near"), stdout=output)
    assert done.returncode == 0
    assert len(frames(file)) >= 8
