"""The files that a real run leaves behind, and two real runs held against each other."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from probe.lab import Lab, load_firewall, module, start_agent, write_key
from probe.report import FORMS, PACKETS
from tests.netns.conftest import MakeLab
from tests.netns.ends import probe, start_probe, wait_until

pytestmark = pytest.mark.netns

QUICK = ("--only=esp", "--timeout=0.4", "-q")
CUT = """
table inet cut {
    chain forward {
        type filter hook forward priority -10; policy accept;
        meta l4proto esp drop
    }
}
"""


def ours(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that needs no network."""
    argv = [*module("probe"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def forms(directory: Path) -> dict[str, Path]:
    """Those that a saved run can be drawn in again; a capture has tests of its own."""
    return {form: directory / f"report.{form}" for form in FORMS if form not in PACKETS}


def check_files(places: dict[str, Path], *, complete: bool) -> None:
    """Each is whole, and they tell of the same run."""
    saved = json.loads(places["json"].read_text())
    assert saved["complete"] is complete
    page = places["html"].read_text()
    assert page.rstrip().endswith("</html>")
    assert page.count("<details") == len(saved["checks"])
    suite = ElementTree.parse(places["junit"]).getroot()[0]
    assert int(suite.attrib["tests"]) == len(saved["checks"]) + (not complete)
    assert suite.attrib["failures"] == str(saved["summary"]["fail"] + saved["summary"]["warn"])
    assert len(places["csv"].read_text().splitlines()) == len(saved["checks"]) + 1
    assert places["markdown"].read_text().startswith("**")


def test_every_file_of_a_run_and_the_run_shown_again(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab("esp-missing")
    key = write_key(lab)
    start_agent(lab, key)
    places = forms(tmp_path)
    options = [f"--{form}={place}" for form, place in places.items()]
    said = probe(lab, key, *options)
    assert (said.code, said.err) == (1, "")
    check_files(places, complete=True)
    assert "outbound: lost somewhere between" in places["html"].read_text()
    assert "1 router" in places["html"].read_text()
    shown = ours("show", str(places["json"]))
    assert (shown.returncode, shown.stdout) == (0, said.out), "what was saved is shown as it was"
    for form, place in places.items():
        assert ours("show", "-q", str(places["json"]), f"--{form}=-").stdout == place.read_text()


def test_an_interrupted_run_leaves_them_all(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab("closed")
    key = write_key(lab)
    start_agent(lab, key)
    places = forms(tmp_path)
    options = [f"--{form}={place}" for form, place in places.items()]
    run = start_probe(lab, key, "--fresh=wait", "--timeout=20", *options)
    control = ":13E0 01 "  # TCP 5088, as /proc/net/tcp has it
    table = Path(f"/proc/{run.process.pid}/net/tcp")
    wait_until(lambda: control in table.read_text(), "the control connection")
    run.process.send_signal(signal.SIGINT)
    said = run.end()
    assert said.code == 130
    check_files(places, complete=False)
    assert "Not finished: interrupted" in places["html"].read_text()


def run_and_save(lab: Lab, key: Path, place: Path, *options: str) -> dict[str, str]:
    """kind and direction → outcome, of the new flows."""
    probe(lab, key, *QUICK, f"--json={place}", *options)
    checks = json.loads(place.read_text())["checks"]
    return {f"{c['kind']} {c['direction']}": c["outcome"] for c in checks if c["flow"] == "new"}


def test_a_change_window(make_lab: MakeLab, tmp_path: Path) -> None:
    """A rule is taken away; its firewall goes on passing what it tracks, and then no longer."""
    lab = make_lab("kb233256")
    key = write_key(lab)
    start_agent(lab, key)
    before, after, later, mended = (tmp_path / f"{n}.json" for n in ("1", "2", "3", "4"))
    inbound = "--direction=inbound"
    assert run_and_save(lab, key, before, inbound)["esp inbound"] == "delivered"

    lab.flush("fw")
    lab.load("fw", load_firewall("esp-missing").path)
    assert run_and_save(lab, key, after, inbound)["esp inbound"] == "state-possible"
    told = ours("diff", str(before), str(after))
    assert told.returncode == 3
    assert "UNCLEAR  ESP, inbound new" in told.stdout
    assert "WORSE  " not in told.stdout

    lab.load("fw", CUT)
    assert run_and_save(lab, key, later, inbound)["esp inbound"] == "lost"
    told = ours("diff", str(before), str(later))
    assert told.returncode == 1
    assert "WORSE  ESP, inbound new, was pass and is LOST: " in told.stdout

    lab.flush("fw")
    lab.load("fw", load_firewall("kb233256").path)
    run_and_save(lab, key, mended, inbound)
    told = ours("diff", str(later), str(mended))
    assert told.returncode == 0
    assert "better  ESP, inbound new, was LOST" in told.stdout
