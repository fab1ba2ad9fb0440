"""The two ends as a test drives them: programs of ours in a lab, and what they said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import netns

from agent.log import status
from probe.lab import Lab, environment, module

Json = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """How a program ended. Whatever it was, no traceback reached its user."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.out + self.err, self.err
        assert "Exception ignored" not in self.err, self.err

    @property
    def words(self) -> str:
        """Standard error in one line, however it was wrapped."""
        return " ".join(self.err.split())


class Running:
    """A program of ours that goes on in the background."""

    def __init__(
        self,
        lab: Lab,
        where: str,
        argv: Sequence[str],
        *,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.process: subprocess.Popen[str] = lab.spawn(
            where,
            [*prefix, *argv],
            env={**environment(lab, where), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self, word: str) -> None:
        """Reads its standard output until a line has that word."""
        assert self.process.stdout is not None
        while word not in (line := self.process.stdout.readline()):
            assert line, f"it ended before it said {word!r}: {self.process.communicate()[1]}"

    def end(self, seconds: float = 20.0) -> Said:
        """Waits for it."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"still running after {seconds} s:\n{out}\n{err}") from None
        return Said(self.process.returncode, out or "", err)


def start_probe(lab: Lab, key: Path, *options: str, command: str = "run", **more: Any) -> Running:
    """``probe run`` at near; its peer is far unless an option says otherwise."""
    argv = [*module("probe"), command, f"--key={key}", f"--peer={lab.far_address()}", *options]
    return Running(lab, "near", argv, **more)


def probe(lab: Lab, key: Path, *options: str, seconds: float = 20.0, **more: Any) -> Said:
    return start_probe(lab, key, *options, **more).end(seconds)


def agent_log(lab: Lab) -> str:
    log = (lab.directory / "agent.log").read_text()
    assert "Traceback" not in log, log
    return log


def in_session(lab: Lab) -> bool:
    """Whether somebody whom the far agent has greeted is testing, by its own word."""
    told = status.ask(status.place(lab.directory / "far" / "probe", 5088))
    return any(session["host"] for session in told["sessions"])


def result(said: Said) -> Json:
    """What ``--json -`` wrote: one whole object and nothing else."""
    found = json.loads(said.out)
    assert isinstance(found, dict)
    assert found["schema"] == 1
    assert sum(found["summary"].values()) == len(found["checks"])
    return found


def outcomes(found: Json, **wanted: str) -> dict[str, set[str]]:
    """kind → the outcomes of its checks that have these members (direction="inbound", …)."""
    told: dict[str, set[str]] = {}
    for check in found["checks"]:
        if all(check[name] == value for name, value in wanted.items()):
            told.setdefault(check["kind"], set()).add(check["outcome"])
    return told


def wait_until(true: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


def inside(lab: Lab, where: str, work: Callable[[], socket.socket]) -> socket.socket:
    """A socket made in a namespace by this process; it stays there and is used from here."""
    name = {"near": lab.near, "fw": lab.fw, "far": lab.far}[where]

    def enter() -> socket.socket:
        netns.setns(name, flags=0)
        return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


WATCH = """
table inet watch {
    counter from_near { }
    counter from_far { }
    chain everything {
        type filter hook prerouting priority -300;
        iifname "near0" ip protocol != tcp counter name from_near
        iifname "far0" ip protocol != tcp counter name from_far
    }
}
"""


class Watch:
    """Counts in the firewall the IPv4 packets of either host, but for TCP (the control link)."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        lab.load("fw", WATCH)

    def count(self, side: str) -> int:
        argv = ["nft", "-j", "list", "counter", "inet", "watch", f"from_{side}"]
        found = json.loads(self._lab.run("fw", argv).stdout)
        return next(int(e["counter"]["packets"]) for e in found["nftables"] if "counter" in e)
