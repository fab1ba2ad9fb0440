"""``probe lab``: the real agent and the real ``probe run``, with a real firewall between them.

Both run as they would on two hosts, each in a namespace of its own; nothing is short-circuited.
The network itself is in :mod:`probe.lab.network`, the rule sets in :mod:`probe.lab.firewall`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import probe
from probe.lab.firewall import Firewall, LabError, LabUnavailable, firewall_names, load_firewall
from probe.lab.janitor import NETNS_DIRECTORY
from probe.lab.network import Lab, sweep

__all__ = [
    "Firewall",
    "Lab",
    "LabError",
    "LabUnavailable",
    "environment",
    "firewall_names",
    "load_firewall",
    "module",
    "run_lab",
    "start_agent",
    "sweep",
    "write_key",
]

PORT = 5088
START = 15.0  # seconds an agent may take until it listens
GRACE = 2.0  # seconds from an interrupt that was sent to us alone until it is passed on
INTERRUPTED = 130
UNTESTED = 3

_LISTENING = "0A"  # a TCP socket's state in /proc/net/tcp


def run_lab(
    firewall: Firewall,
    scenario: str = "kb233256",
    family: int = 4,
    extra_args: Sequence[str] = (),
) -> int:
    """Builds the lab, runs agent and probe in it, and returns the exit code of ``probe run``.

    Standard output and error are those of this process. LabError when it does not come to a run.
    """
    with Lab(firewall, family) as lab:
        key = write_key(lab)
        start_agent(lab, key)
        argv = [
            *module("probe"),
            "run",
            f"--peer={lab.far_address()}",
            f"--port={PORT}",
            f"--key={key}",
            f"--scenario={scenario}",
            *extra_args,
        ]
        with _interrupts() as interrupts:
            # In our process group, so that the terminal's Ctrl-C reaches it.
            run = lab.spawn("near", argv, env=environment(lab, "near"))
            interrupts.pass_to(run)
            code = run.wait()
    if code >= 0:
        return code
    return INTERRUPTED if code == -signal.SIGINT else UNTESTED


def write_key(lab: Lab) -> Path:
    """A fresh shared key, in a file that goes with the lab."""
    path = lab.directory / "key"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    return path


def start_agent(lab: Lab, key: Path, *options: str) -> subprocess.Popen[Any]:
    """Starts the real agent in far, and returns when it listens. LabError with its own words."""
    where = [f"--listen={lab.far_address()}", f"--port={PORT}"]
    argv = [*module("agent"), f"--key={key}", *where, *options]
    log = lab.directory / "agent.log"
    with log.open("wb") as output:
        agent = lab.spawn(
            "far",
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(lab, "far"),
            start_new_session=True,  # Ctrl-C is for the near side; it tells the far one to stop
        )
    inside = os.stat(f"{NETNS_DIRECTORY}/{lab.far}").st_ino
    deadline = time.monotonic() + START
    while not _listens(agent.pid, inside):
        code = agent.poll()
        if code is not None or time.monotonic() > deadline:
            how = f"ended with code {code}" if code is not None else f"is silent after {START:g} s"
            words = log.read_text(errors="replace").strip()
            raise LabUnavailable(f"the lab's agent {how}" + (f":\n{words}" if words else ""))
        time.sleep(0.02)  # a look at all sockets costs milliseconds of a core
    return agent


def module(name: str) -> list[str]:
    """The command that runs one of our modules, whatever lies about in the current directory."""
    return [sys.executable, "-P", "-m", name]


def environment(lab: Lab, where: str) -> dict[str, str]:
    """What a program of ours needs: our code to be found, and a flow ledger of its own.

    near and far are two hosts that would not share a state directory, and what goes on in the lab
    says nothing about this machine's own traffic.
    """
    found = {**os.environ, "XDG_STATE_HOME": str(lab.directory / where)}
    root = Path(probe.__file__).parent.parent
    if not root.name.endswith("-packages"):  # a source tree; what is installed is found as it is
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), found.get("PYTHONPATH"))))
    return found


def _listens(pid: int, namespace: int) -> bool:
    """Has the process entered its namespace, and does somebody listen on our port there?

    Read from /proc: a connection to find out would be an attempt in the agent's eyes.
    """
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino != namespace:
            return False
        lines = [
            line.split()
            for table in ("tcp", "tcp6")
            if (path := Path(f"/proc/{pid}/net/{table}")).exists()
            for line in path.read_text().splitlines()[1:]
        ]
    except OSError:  # the process ended meanwhile; the caller will see that
        return False
    return any(
        fields[1].endswith(f":{PORT:04X}") and fields[3] == _LISTENING
        for fields in lines
        if len(fields) > 3
    )


class _Interrupts:
    """Ctrl-C while the run goes on: it ends the run, and the run's code is still returned."""

    def __init__(self) -> None:
        self._came = False
        self._run: subprocess.Popen[Any] | None = None

    def pass_to(self, run: subprocess.Popen[Any]) -> None:
        self._run = run
        if self._came:
            self.note()

    def note(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """A terminal interrupts the whole group. Where only we were meant, the run must be told."""
        self._came = True
        if self._run is not None:
            timer = threading.Timer(GRACE, self._run.send_signal, [signal.SIGINT])
            timer.daemon = True
            timer.start()


@contextlib.contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """A handler, and not SIG_IGN: a child would inherit that."""
    interrupts = _Interrupts()
    before = signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
