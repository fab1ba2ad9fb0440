"""What an agent costs the host that it runs on: memory at rest, and processor time in a flood."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from probe.lab import Lab, environment, module
from tests.netns.test_bad_luck_agent import HELLO, OPEN, Session
from tests.netns.torrent import PORTS, RATE

SECONDS = 4.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB."""

    resident: float
    own: (
        float  # of it what no file holds; the rest is Python's and its libraries', for all to share
    )
    alone: float  # of that what it shares with no process that it forked, or was forked by


@dataclass(frozen=True, slots=True)
class Load:
    processor: float  # share of one core
    seen: int  # packets a second that came to be looked at
    missed: int  # packets a second that the kernel had no room for


def memory(pid: int) -> Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()

    def total(name: str) -> float:
        return sum(map(int, re.findall(rf"^{name}: +(\d+) kB", text, re.MULTILINE))) / 1024

    return Memory(total("Rss"), total("Anonymous"), total("Private_Dirty"))


def keeper(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def at_rest(lab: Lab, pid: int) -> Load:
    """Flooded, while nobody tests."""
    with _flood(lab):
        return Load(_processor(pid), 0, 0)


def at_work(lab: Lab, pid: int, key: Path) -> Load:
    """Flooded, while a run asks for what the flood looks like: ESP, and UDP on its three ports."""
    check = dict(OPEN["checks"][0])
    ike = {"kind": "ike", "direction": "outbound"}
    checks = [
        check,
        *(
            {**check, **ike, "number": 2 + place, "kind": kind, "destination_port": port}
            for place, (kind, port) in enumerate(
                zip(("ike", "esp-in-udp", "kerberos-udp"), PORTS, strict=True)
            )
        ),
    ]
    with _flood(lab), Session(lab, key) as session:
        session.ask(HELLO)
        session.ask({**OPEN, "checks": checks})
        began, ticks = time.monotonic(), _ticks(pid)
        before = session.ask({"type": "collect"})["facts"]
        time.sleep(SECONDS)
        after = session.ask({"type": "collect"})["facts"]
        seconds, ticks = time.monotonic() - began, _ticks(pid) - ticks
    # Of the capture alone; most of them reach one of its sockets as well.
    captured, dropped = (
        (after[name] - before[name]) / seconds for name in ("captured", "capture_dropped")
    )
    return Load(ticks / TICKS / seconds, int(captured - dropped), int(dropped))


def _processor(pid: int) -> float:
    before = _ticks(pid)
    time.sleep(SECONDS)
    return (_ticks(pid) - before) / TICKS / SECONDS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def _flood(lab: Lab) -> Iterator[None]:
    argv = [*module("tests.netns.torrent"), lab.far_address(), "60", str(RATE)]
    flood = lab.spawn("fw", argv, env=environment(lab, "fw"), stdout=subprocess.PIPE, text=True)
    try:
        assert flood.stdout is not None
        flood.stdout.readline()
        yield
    finally:
        flood.send_signal(signal.SIGKILL)
        flood.wait()
