"""What lies in packaging/: the unit is as hard as the README says, and the agent works in it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.linux.privileges import NEEDED
from probe.lab import write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Running, probe, wait_until
from tests.netns.nobody import (
    AS_NOBODY,
    AS_THE_UNIT,
    NOBODY,
    ROOT,
    only,
    own,
    own_key,
    reachable,
    told,
)

pytestmark = pytest.mark.netns

PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
UNIT = ROOT / "packaging" / "probe-agent.service"
MOST_EXPOSED = 16  # tenths, of systemd-analyze's 0 (best) to 10
# PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: what MemoryDenyWriteExecute= does, for this program alone.
NO_NEW_CODE = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0, 'Linux 6.3?'; "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_the_unit_is_valid(tmp_path: Path) -> None:
    program = tmp_path / "probe-agent"  # where the unit has it, nothing is installed here
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/probe-agent", str(program)))
    said("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy))


def test_the_unit_is_as_hard_as_the_readme_says() -> None:
    out = said(
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--no-pager",
        f"--threshold={MOST_EXPOSED}",
        str(UNIT),
    )
    score = re.search(r"exposure level for probe-agent.service: ([\d.]+)", out)
    assert score is not None
    assert float(score[1]) == MOST_EXPOSED / 10
    assert f"`systemd-analyze security`: {score[1]}" in (ROOT / "README.md").read_text()


def test_the_unit_grants_what_the_agent_needs_and_no_more() -> None:
    wanted = {"CAP_NET_RAW", "CAP_NET_BIND_SERVICE"}
    assert len(NEEDED) == len(wanted)
    for name in ("AmbientCapabilities", "CapabilityBoundingSet"):
        (granted,) = setting(name)
        assert set(granted.split()) == wanted


def allowed() -> set[str]:
    """The system calls that the unit's filter lets through."""
    groups: dict[str, set[str]] = {}
    name = ""
    for line in said("systemd-analyze", "syscall-filter", "--no-pager").splitlines():
        if line.startswith("@"):
            name = line.strip()
            groups[name] = set()
        elif line.strip() and not line.strip().startswith("#"):
            groups[name].add(line.strip())

    def calls(entry: str) -> set[str]:
        if not entry.startswith("@"):
            return {entry}
        return set().union(*map(calls, groups[entry]))

    found: set[str] = set()
    for words in setting("SystemCallFilter"):
        named = set().union(*(calls(entry) for entry in words.lstrip("~").split()))
        found = found - named if words.startswith("~") else found | named
    return found


def child(pid: int) -> int:
    """The last of a chain of programs, each of which started the next."""
    while below := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(below[0])
    return pid


def test_the_agent_works_within_the_units_walls(make_lab: MakeLab) -> None:
    """Its user, its capabilities, no code made in memory, and only the system calls it allows.

    There is no systemd to run the unit here: the calls are counted, and held against its list.
    """
    lab = make_lab("open")
    key = write_key(lab)
    mine = own_key(lab, key)
    counts = own(lab) / "calls"
    traced = ("strace", "--follow-forks", "--summary-only", "--summary-columns=name")
    guarded = (sys.executable, "-c", NO_NEW_CODE)
    agent = Running(
        lab,
        "far",
        [sys.executable, "-P", "-m", "agent", f"--key={mine}"],
        prefix=(*reachable(lab), *AS_THE_UNIT, *traced, f"--output={counts}", *guarded),
        env={"PROBE_STATE_DIR": str(own(lab))},
    )
    agent.hear("listens")
    pid = child(agent.process.pid)
    assert told(pid)["CapEff"] == only(*NEEDED)
    assert probe(lab, key, "--scenario=all").code == 0
    os.kill(pid, signal.SIGHUP)
    assert probe(lab, key, "--only=esp").code == 0
    os.kill(pid, signal.SIGTERM)
    assert agent.end().code == 0
    wait_until(counts.exists, "the list of calls")
    used = set(counts.read_text().split()) - {"syscall", "total"}
    used = {name for name in used if re.fullmatch(r"[a-z_0-9]+", name)}
    assert len(used) > 30, used
    assert used - allowed() == set()


def test_a_python_of_its_own_with_the_two_capabilities(make_lab: MakeLab) -> None:
    """The setcap way of the README: no root, no systemd."""
    lab = make_lab("open")
    place = own(lab)
    python = Path(shutil.copy(os.path.realpath(sys.executable), place / "python3"))
    said("setcap", "cap_net_raw,cap_net_bind_service+ep", str(python))
    key = write_key(lab)
    agent = Running(
        lab,
        "far",
        [str(python), "-P", "-m", "agent", f"--key={own_key(lab, key)}"],
        prefix=(*reachable(lab), *AS_NOBODY, "--"),
        env={"PROBE_STATE_DIR": str(place), "PYTHONPATH": f"{ROOT}:{PACKAGES}"},
    )
    agent.hear("listens")
    assert told(agent.process.pid)["CapEff"] == only(*NEEDED)
    assert told(agent.process.pid)["Uid"].split()[1] == str(NOBODY.pw_uid)
    assert probe(lab, key, "--scenario=all").code == 0
    agent.process.terminate()
    assert agent.end().code == 0
