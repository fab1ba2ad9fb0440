"""One case, really run: the real agent and the real command with the case's rules between them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.lab import Lab, environment, module, start_agent, write_key
from tests.netns.truth.oracle import Cell, allowed
from tests.netns.truth.rules import DROP, INBOUND, OUTBOUND, Case, Chain, Match, Rule

TIMEOUT = 0.3  # seconds without news before silence counts; the lab's round trip is 0.1 ms
NO_LIMIT = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit"


@dataclass(frozen=True, slots=True)
class Disagreement:
    case: Case
    cell: Cell
    said: str
    right: frozenset[str]
    cause: str

    def __str__(self) -> str:
        kind, way, flow = self.cell
        right = " or ".join(sorted(self.right))
        return (
            f"case {self.case.name} (IPv{self.case.family}), {kind} {way} {flow}: the program says "
            f"{self.said} ({self.cause}), the rules say {right}"
        )


@dataclass(frozen=True, slots=True)
class Trial:
    case: Case
    outcomes: dict[Cell, str]
    causes: dict[Cell, str]
    right: dict[Cell, frozenset[str]]

    @property
    def disagreements(self) -> list[Disagreement]:
        if set(self.outcomes) != set(self.right):
            raise AssertionError(f"other checks than expected: {sorted(self.outcomes)}")
        return [
            Disagreement(self.case, cell, said, self.right[cell], self.causes[cell])
            for cell, said in self.outcomes.items()
            if said not in self.right[cell]
        ]


def conduct(case: Case) -> Trial:
    """Builds a lab, runs the case in it, and takes it down again."""
    with _lab(case) as lab:
        checks = _run(lab, _agent(lab), case.kinds)
    outcomes = {cell: str(check["outcome"]) for cell, check in checks.items()}
    causes = {cell: str(check["cause"]) for cell, check in checks.items()}
    return Trial(case, outcomes, causes, allowed(case))


def with_loss(
    runs: int, percent: int, dropped: Match | None, kinds: Sequence[str], family: int = 4
) -> Iterator[dict[Cell, str]]:
    """Several runs over one path that loses packets, and drops one kind for good."""
    rules = () if dropped is None else (Rule(DROP, dropped),)
    loss = {OUTBOUND: percent, INBOUND: percent}
    case = Case("loss", family, tuple(kinds), Chain(rules), loss)
    with _lab(case) as lab:
        key = _agent(lab)
        for _ in range(runs):
            checks = _run(lab, key, case.kinds)
            yield {cell: str(check["outcome"]) for cell, check in checks.items()}


@contextmanager
def _lab(case: Case) -> Iterator[Lab]:
    with Lab(None, case.family) as lab:
        for place, rules in case.files().items():
            lab.load(place, rules)
        if not case.limited:
            for place in ("near", "far"):
                lab.run(place, ["sh", "-c", NO_LIMIT])
        yield lab


def _agent(lab: Lab) -> Path:
    key = write_key(lab)
    start_agent(lab, key)
    return key


def _run(lab: Lab, key: Path, kinds: Sequence[str]) -> dict[Cell, dict[str, Any]]:
    """The checks in the JSON of ``probe run`` in near, against the agent in far."""
    argv = [*module("probe"), "run", f"--peer={lab.far_address()}", f"--key={key}", "--json=-"]
    done = lab.run(
        "near",
        [*argv, f"--timeout={TIMEOUT}", "--scenario=all", f"--only={','.join(kinds)}"],
        env=environment(lab, "near"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["complete"], done.stderr
    found: dict[Cell, dict[str, Any]] = {}
    for request, reply in zip(result["checks"][::2], result["checks"][1::2], strict=True):
        assert (request["kind"], request["flow"], reply["flow"]) == (reply["kind"], "new", "reply")
        kind = request["kind"]
        if kind == "ike" and request["source_port"] != 500:
            kind = "ike any"
        for check in (request, reply):
            found[kind, check["direction"], check["flow"]] = check
    return found
