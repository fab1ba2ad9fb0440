"""Timed runs in the lab's near namespace. A time counts only where every verdict is right."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.wire import codec
from probe.lab import Lab, environment, module
from scenarios import load

SCENARIO = load("all")
KINDS = frozenset(row.kind for row in SCENARIO.rows)
CELLS = Counter((row.kind, *cell) for row in SCENARIO.rows for cell in row.cells)
GATE = ("esp", "ike", "kerberos-tcp", "icmp-echo")  # dropped, while the others pass
WAIT = "--timeout=0.3"  # silence counts sooner, so that this does not take minutes
TRANSPORT = {6: "tcp", 17: "udp"}


class Wrong(Exception):
    """A run whose answer is not the truth: its time means nothing."""


def service(kind: str) -> tuple[int, int | None]:
    """What the rules here know a kind by: its IP protocol, and the port of its service."""
    found = codec(kind)
    return found.protocol(4), found.port


def hit(dropped: Iterable[str]) -> frozenset[str]:
    """The kinds that rules against ``dropped`` drop: also those that share a service with one."""
    services = set(map(service, dropped))
    return frozenset(kind for kind in KINDS if service(kind) in services)


def rules(hook: str, dropped: Iterable[str]) -> str:
    """An nftables file that drops these kinds both ways, silently, and keeps no state."""
    lines: list[str] = []
    for protocol, port in sorted(set(map(service, dropped)), key=str):
        if port is None:
            lines.append(f"meta l4proto {protocol} drop")
        else:
            lines += [f"{TRANSPORT[protocol]} {end} {port} drop" for end in ("dport", "sport")]
    return (
        f"flush ruleset\ntable inet bench {{\n chain {hook} {{\n"
        f"  type filter hook {hook} priority filter; policy accept;\n  "
        + "\n  ".join(lines)
        + "\n }\n}\n"
    )


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    began: float  # by time.perf_counter(), which is one clock for all processes
    result: dict[str, Any]  # as --json has it


class Bench:
    """Programs in the near namespace, timed from outside and started all alike."""

    def __init__(self, lab: Lab, key: Path) -> None:
        self.lab = lab
        self._key = key
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def dropping(self, dropped: Iterable[str], where: str = "fw") -> Iterator[None]:
        """Meanwhile these kinds are dropped there: on the way, or by far's own firewall."""
        hook = "forward" if where == "fw" else "input"
        self.lab.load(where, rules(hook, dropped))
        try:
            yield
        finally:
            self.lab.flush(where)

    def timed(self, argv: Sequence[str]) -> tuple[Run, subprocess.CompletedProcess[str]]:
        """A program with a state directory of its own."""
        directory = self.lab.directory / f"state-{next(self._numbers)}"
        found = {**environment(self.lab, "near"), "XDG_STATE_HOME": str(directory)}
        began = time.perf_counter()
        done = self.lab.run("near", argv, env=found)
        return Run(time.perf_counter() - began, began, {}), done

    def nothing(self) -> float:
        """``python -c pass``: what everything is held against."""
        run, _ = self.timed([sys.executable, "-P", "-c", "pass"])
        return run.seconds

    def help(self) -> float:
        run, done = self.timed([*module("probe"), "--help"])
        if done.returncode or "usage: probe" not in done.stdout:
            raise Wrong(f"probe --help ended with code {done.returncode}:\n{done.stderr}")
        return run.seconds

    def options(self, *more: str) -> list[str]:
        """The arguments of a run. An agent that lives on remembers earlier runs, and rightly calls
        what they opened state-possible; nothing in this lab keeps state, so it may forget."""
        return [
            "run",
            f"--peer={self.lab.far_address()}",
            f"--key={self._key}",
            "--scenario=all",
            "--json=-",
            "--state-timeout=0.01",
            *more,
        ]

    def gate(self) -> frozenset[str]:
        """The kinds that were dropped and found so, while all others were found to pass."""
        with self.dropping(GATE):
            self.probe(GATE, WAIT)
        return hit(GATE)

    def probe(
        self,
        dropped: Iterable[str] = (),
        *more: str,
        program: Sequence[str] = tuple(module("probe")),
    ) -> Run:
        """A cold ``probe run``, while ``dropped`` are. Wrong when one verdict is."""
        gone = hit(dropped)
        run, done = self.timed([*program, *self.options(*more)])
        if done.returncode != bool(gone) or not done.stdout:
            raise Wrong(f"probe run ended with code {done.returncode}:\n{done.stderr}{done.stdout}")
        result = json.loads(done.stdout)
        faults = list(_faults(result["checks"], gone))
        if faults or not result["complete"]:
            raise Wrong("\n".join(["wrong verdicts:", *faults]))
        return Run(run.seconds, run.began, result)


def _faults(checks: Sequence[Mapping[str, Any]], gone: frozenset[str]) -> Iterable[str]:
    cells = Counter((check["kind"], check["direction"], check["flow"]) for check in checks)
    for cell in (cells - CELLS) | (CELLS - cells):
        yield f"  {' '.join(cell)}: {cells[cell]} checks, and should be {CELLS[cell]}"
    for check in checks:
        wanted = _wanted(check, gone)
        found = (check["outcome"], check["verdict"])
        if found != wanted:
            name = " ".join((check["kind"], check["direction"], check["flow"]))
            yield f"  {name}: {' '.join(found)}, and should be {' '.join(wanted)}"


def _wanted(check: Mapping[str, Any], gone: frozenset[str]) -> tuple[str, str]:
    """The truth: what the rules drop is lost, and nothing else."""
    new = check["flow"] == "new"
    if check["kind"] in gone:
        judged = new and check["expected"] == "pass"
        return ("lost" if new else "not-applicable", "fail" if judged else "skip")
    kind = codec(check["kind"])
    portless = kind.port is None and not kind.answered_by_kernel  # each ping is a flow of its own
    asked_before = check["direction"] == "outbound" and new  # inbound, on the same tuple
    if asked_before and (portless or check["source_port"] is not None):
        return "state-possible", "pass"
    return "delivered", "pass"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Pairs of (base, subject) in seconds, each measured side by side."""

    pairs: tuple[tuple[float, float], ...]

    @property
    def median(self) -> float:
        return statistics.median(subject / base for base, subject in self.pairs)

    def __str__(self) -> str:
        low, _, high = statistics.quantiles([b / a for a, b in self.pairs], n=4)
        base, subject = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        return (
            f"{self.median:6.2f} x   quartiles {low:.2f} to {high:.2f}, ratio of medians "
            f"{subject / base:.2f} ({subject * 1e3:.0f} ms to {base * 1e3:.0f} ms), "
            f"{len(self.pairs)} pairs"
        )


def interleaved(
    base: Callable[[], float], subject: Callable[[], float], count: int, seconds: float
) -> tuple[Ratio, Ratio]:
    """(base against itself, subject against base): ``count`` times, or for that long.

    The subject stands between two bases, which change places, so that drift falls on both.
    """
    control: list[tuple[float, float]] = []
    pairs: list[tuple[float, float]] = []
    end = time.monotonic() + seconds
    while len(pairs) < 3 or (len(pairs) < count and time.monotonic() < end):
        first, middle, last = base(), subject(), base()
        if len(pairs) % 2:
            first, last = last, first
        control.append((first, last))
        pairs.append((first, middle))
    return Ratio(tuple(control)), Ratio(tuple(pairs))
