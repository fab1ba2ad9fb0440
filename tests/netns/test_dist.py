"""The single file that ``make dist`` makes, on a host that has Python and nothing else.

There is no package installed, no home, and no place to write: the whole file system is read-only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from probe.lab import Lab, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Running, Said, outcomes, wait_until

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parent.parent.parent
PYTHON = os.path.realpath(f"{sys.base_prefix}/bin/python3")
BARE = ("env", "-i", PYTHON, "-I", "-S")  # no site-packages, no variable, no current directory
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = subprocess.run(
        ["make", "--no-print-directory", "dist"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Elsewhere, so that nothing of this checkout is found beside it.
    return Path(
        shutil.copy(ROOT / "dist" / "ipsec-probe.pyz", tmp_path_factory.mktemp("elsewhere"))
    )


def run(argv: list[str]) -> Said:
    done = subprocess.run(
        [*BARE, *argv], cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    return Said(done.returncode, done.stdout, done.stderr)


def read_only(lab: Lab, where: str) -> tuple[str, ...]:
    """A prefix: but for this lab's own directory, where the state goes, nothing can be written."""
    place = lab.directory / where
    place.mkdir(exist_ok=True)
    return ("unshare", "--mount", "--", "sh", "-c", READ_ONLY, str(place))


def start(lab: Lab, where: str, built: Path, *options: str) -> Running:
    state = f"PROBE_STATE_DIR={lab.directory / where}"
    argv = [*BARE[:2], state, *BARE[2:], str(built), *options]
    return Running(lab, where, argv, prefix=read_only(lab, where))


def test_a_run_between_two_hosts_that_have_only_the_file(make_lab: MakeLab, built: Path) -> None:
    lab = make_lab("esp-missing")
    key = write_key(lab)
    before = set(os.listdir("/tmp"))
    agent = start(lab, "far", built, "agent", f"--key={key}", "--log=json")
    agent.hear("listens")
    pid = agent.process.pid
    wait_until(lambda: Path(f"/proc/{pid}/root").exists(), "the agent")
    peer = f"--peer={lab.far_address()}"
    said = start(lab, "near", built, "run", peer, f"--key={key}", "--json=-").end()
    assert said.code == 1
    found = json.loads(said.out)
    new = outcomes(found, flow="new")
    assert new.pop("esp") == {"lost"}
    assert set().union(*new.values()) <= {"delivered", "state-possible"}
    assert "ESP" in said.err
    agent.process.send_signal(signal.SIGHUP)
    agent.process.terminate()
    ended = agent.end()
    assert ended.code == 0
    session = next(line for line in map(json.loads, log(ended)) if line["event"] == "session")
    assert session["outcome"] == "closed"
    left = set(os.listdir("/tmp")) - before
    assert not any("pyz" in name or "ipsec" in name for name in left)


def log(said: Said) -> list[str]:
    return [line for line in said.err.splitlines() if line.startswith("{")]


def test_it_is_both_programs(built: Path, tmp_path: Path) -> None:
    assert run([str(built), "--version"]).out.startswith("probe 0.")
    assert run([str(built), "agent", "--version"]).out.startswith("probe-agent 0.")
    named = tmp_path / "probe-agent"
    named.symlink_to(built)
    assert run([str(named), "--version"]).out.startswith("probe-agent 0.")
    assert run([str(built), "scenarios", "show", "kb233256"]).code == 0
    assert run([str(built), "scenarios", "show", "kb23325"]).code == 2
    lab = run([str(built), "lab"])
    assert lab.code == 3
    assert "is not part of the single file" in lab.err
    status = run([str(built), "agent", "--status", "--port=9"])
    assert status.code == 3


def test_another_python_is_told_so(built: Path, tmp_path: Path) -> None:
    """The same file, made for a Python that is not this one."""
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(built) as old, zipfile.ZipFile(other, "w") as new:
        text = old.read("__main__.py").decode()
        assert f"cpython {sys.version_info[0]}.{sys.version_info[1]}" in text
        new.writestr("__main__.py", text.replace("cpython 3.", "cpython 2."))
    said = run([str(other), "--version"])
    assert said.code == 3
    assert "this file was made for cpython 2." in said.err


def test_it_holds_no_compiler_of_packets_and_every_licence(built: Path) -> None:
    """scapy makes templates in a checkout; no program that runs needs it."""
    names = zipfile.ZipFile(built).namelist()
    assert not any(name.startswith(("scapy", "pytest", "tests")) for name in names)
    packages = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    for package in packages:
        assert any(name.startswith(package) and "LICEN" in name.upper() for name in names), package
    assert "agent/serve.py" in names, "our own source goes along"
