"""The proof of advice: what failed passes once it was followed, and nothing else has been opened.

A trial takes three runs of the real command. The first, through a blocking firewall, gives the
advice. The second goes through the same firewall in a new lab (no state, no flow ledger) with the
advice followed. The third is the same once more, asked from another address of near's network.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pyroute2 import IPRoute

from agent.model import Check
from probe.advise import text
from probe.advise.stopped import PASSED, STOPPED
from probe.lab import Lab, environment, module, start_agent, write_key
from probe.report.saved import read
from probe.result import Conclusion, Expect, Outcome, RunResult, Verdict

TIMEOUT = 0.3  # seconds without news before silence counts; the lab's round trip is 0.1 ms
OTHER = {4: "10.77.1.9", 6: "fd77:1::9"}  # an address that no rule is about
NAMES = ("kind", "direction", "flow", "size", "fragmenting", "source_port", "destination_port")

# What is asked for, and beside it what must stay as it is.
ASKED = ("esp", "ah", "ike", "kerberos-udp", "kerberos-tcp")
CLOSED = ("ike-nat-t", "esp-in-udp", "nat-keepalive", "udp:1701", "tcp:445", "udp:464")

Install = Callable[[Lab], None]
Follow = Callable[[Lab, str], None]  # the lab, the advice


def by_section(apply: Callable[[Lab, str, str], object]) -> Follow:
    """Follows advice with ``apply``, which gets the lab, the place, and the commands for it."""

    def follow(lab: Lab, advice: str) -> None:
        for where, script in sections(advice):
            apply(lab, where, script)

    return follow


def rows(*kinds: str, expect: str = "pass", more: str = "") -> str:
    """Scenario rows of these kinds."""
    return "".join(f'[[row]]\nkind = "{kind}"\nexpect = "{expect}"\n{more}\n' for kind in kinds)


USUAL = 'title = "usual"\n' + rows(*ASKED) + rows(*CLOSED, expect="any")


@dataclass(frozen=True, slots=True)
class Trial:
    before: RunResult
    advice: str
    after: RunResult
    stranger: RunResult | None

    def still_failing(self) -> list[str]:
        """What failed before and does not pass now."""
        now = by_question(self.after)
        return [
            f"{name(c.check)}: {now[key].outcome} ({now[key].cause})"
            for key, c in by_question(self.before).items()
            if c.verdict in (Verdict.FAIL, Verdict.ERROR)
            and now[key].verdict is not Verdict.PASS
            and not (c.expected is Expect.BLOCK and now[key].verdict is Verdict.SKIP)
        ]

    def opened(self) -> list[str]:
        """What was stopped before, was not asked for, and passes now."""
        now = by_question(self.after)
        found = [
            name(c.check)
            for key, c in by_question(self.before).items()
            if c.expected is not Expect.PASS
            and c.outcome in (*STOPPED, Outcome.NOT_SENT)
            and now[key].outcome in PASSED
        ]
        if self.stranger is not None:
            there = by_question(self.stranger)
            found += [
                f"{name(c.check)} for {self.stranger.near.address}"
                for key, c in by_question(self.before).items()
                if c.outcome in (*STOPPED, Outcome.NOT_SENT) and there[key].outcome in PASSED
            ]
        return found


def by_question(result: RunResult) -> dict[tuple[object, ...], Conclusion]:
    return {tuple(getattr(c.check, each) for each in NAMES): c for c in result.conclusions}


def name(check: Check) -> str:
    size = f", {check.size} octets" if check.size else ""
    return f"{check.kind} {check.source_port or ''} {check.direction} {check.flow}{size}"


def conduct(
    platform: str,
    install: Install,
    follow: Follow,
    *,
    family: int = 4,
    scenario: str = USUAL,
    options: tuple[str, ...] = (),
    stranger: bool = True,
) -> Trial:
    with Lab(None, family) as lab:
        install(lab)
        before = ask(lab, scenario, *options)
    advice = text.rules(before, platform)
    with Lab(None, family) as lab:
        install(lab)
        follow(lab, advice)
        after = ask(lab, scenario, *options)
        other = None
        if stranger:
            move(lab)
            other = ask(lab, scenario, *options)
    return Trial(before, advice, after, other)


def both(cases: Iterable[str]) -> list[tuple[str, int]]:
    """Each case in IPv4, and every other one in IPv6 as well."""
    names = list(cases)
    return [(case, 4) for case in names] + [(case, 6) for case in names[::2]]


def ask(lab: Lab, scenario: str, *options: str) -> RunResult:
    """One run of the real command, and the result that it saved. Starts the agent if need be."""
    place = lab.directory / "scenario.toml"
    place.write_text(scenario)
    key = lab.directory / "key"
    if not key.exists():
        start_agent(lab, write_key(lab))
    saved = lab.directory / "result.json"
    argv = [*module("probe"), "run", f"--peer={lab.far_address()}", f"--key={key}"]
    argv += [f"--scenario={place}", f"--timeout={TIMEOUT}", f"--json={saved}", *options]
    done = lab.run("near", argv, env=environment(lab, "near"), timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    assert saved.exists(), done.stderr
    result = read(str(saved))
    saved.unlink()
    assert result.complete, done.stderr
    return result


def move(lab: Lab) -> None:
    """near takes another address, from now on its only one."""
    length = 24 if lab.family == 4 else 64
    with IPRoute(netns=lab.near) as ip:
        index = ip.link_lookup(ifname="eth0")[0]
        ip.addr("del", index=index, address=lab.near_address(), prefixlen=length)
        ip.addr("add", index=index, address=OTHER[lab.family], prefixlen=length, flags=0x02)
        gateway = lab.gateway_address("near")
        family = 2 if lab.family == 4 else 10
        ip.route("replace", dst="default", gateway=gateway, family=family)


def sections(advice: str) -> Iterator[tuple[str, str]]:
    """Where ("fw", "near", "far") → the part of a shell script that belongs there."""
    where, lines = "", list[str]()
    for line in advice.splitlines():
        if line.startswith("# On "):
            if where:
                yield where, "\n".join(lines)
            where = next((host for host in ("near", "far") if f" {host} (" in line), "fw")
            lines = []
        lines.append(line)
    if where:
        yield where, "\n".join(lines)


def shell(
    lab: Lab,
    where: str,
    script: str,
    names: Mapping[str, str] = MappingProxyType({}),
    env: Mapping[str, str] | None = None,
) -> None:
    """Runs a part of the advice, with the ``names`` filled in that its reader is asked for."""
    filled = "\n".join(_filled(line, names) for line in script.splitlines())
    place = lab.directory / "advice.sh"
    place.write_text(f"{filled}\n")
    done = lab.run(where, ["sh", "-eu", str(place)], env=env)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{place.read_text()}"


def _filled(line: str, names: Mapping[str, str]) -> str:
    """A line of assignments, with our own values."""
    if not re.match(r"\w+=", line):
        return line
    variables = [word.partition("=")[0] for word in shlex.split(line)]
    return " ".join(f"{variable}='{names[variable]}'" for variable in variables)
