"""Runs of every sort, as the page must be able to show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent.model import Direction, Event, Icmp, Side, Sighting
from probe.judge.tracks import origin, target
from probe.result import Carriage, Conclusion, Host, Outcome, PathFacts, PathMtu, RunResult
from scenarios import CELLS, Expect, Row
from tests.samples import FAR, NEAR, lost, result, row, whole

PASS, STATE, MOOT = Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.NOT_APPLICABLE
KINDS = ("icmp-echo", "esp", "ah", "ike", "kerberos-udp", "kerberos-tcp")
LONG = "x" * 255
HOSTILE = '<script>document.title="owned"</script><img src="http://hostile.invalid/x" onerror=a>'

_GONE = (Outcome.LOST, Outcome.REFUSED)


def seen(run: RunResult) -> RunResult:
    """With what the two hosts would have seen of the shots, two routers apart."""
    return replace(
        run, conclusions=tuple(replace(c, evidence=(*_shots(c),)) for c in run.conclusions)
    )


def _shots(conclusion: Conclusion) -> Iterator[Sighting]:
    check = conclusion.check
    ends = {Side.NEAR: NEAR.address, Side.FAR: FAR.address}
    here, there = origin(check), target(check)
    for shot in range(1, conclusion.shots + 1):
        left = Sighting(
            here,
            Event.LEFT,
            check.number,
            shot,
            1_700_000_000 + check.number + shot / 1000,
            ends[here],
            ends[there],
            check.source_port,
            check.destination_port,
            64,
            140,
        )
        if conclusion.outcome is not Outcome.NOT_SENT:
            yield left
        if conclusion.outcome is Outcome.REFUSED:
            yield replace(left, event=Event.REFUSED, icmp=Icmp(3, 13, "10.0.0.254"))
        elif conclusion.outcome not in (*_GONE, Outcome.NOT_SENT):
            yield replace(left, at=there, event=Event.ARRIVED, ttl=62)


def many() -> RunResult:
    """Sixty checks, large ones and plain ports among them, of which some fail."""
    ports = [whole(f"tcp:{port}") for port in (53, 135, 389, 445, 636, 3268, 3269, 49152, 65535)]
    large = [row(Row("ike", size=size), *[Outcome.LOST] * 4) for size in (1400, 2000)]
    run = result(*map(whole, KINDS[:4]), *ports, *large)
    assert len(run.conclusions) == 60
    mtu = {way: {"esp": PathMtu(1400, 1401), "ike": PathMtu(1500)} for way in Direction}
    loss = {way: Carriage(180, 2, 0.05, 0, 0) for way in Direction}
    return replace(run, path=PathFacts(12.3, carriage=loss, mtu=mtu), options=("--sizes",))


def hostile() -> RunResult:
    cells = row(Row("esp", label=HOSTILE), *[Outcome.REFUSED] * 4)
    run = result(tuple(replace(c, cause=HOSTILE) for c in cells), whole("ike"))
    host = Host(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    return replace(run, near=host, far=host, scenario=HOSTILE, notes=(HOSTILE,))


def wide() -> RunResult:
    """Nothing in it can be broken between words."""
    cells = row(Row("esp", label=LONG), *[Outcome.LOST] * 4)
    run = result(tuple(replace(c, cause=LONG, shots=60_000) for c in cells), whole("ah"))
    lossy = tuple(
        replace(c, shots=60_000, arrived=59_999) for c in row(Row("ike"), *[Outcome.LOSSY] * 4)
    )
    run = result(run.conclusions[:4], lossy)
    address = "fe80::1234:5678:9abc:def0:1234:5678%" + "e" * 15
    return replace(
        run, near=Host(LONG, address, "0.1.0"), far=Host(LONG, address, "0.1.0"), notes=(LONG,)
    )


BLOCKED = Row("udp:1701", label="L2TP in clear", expect=dict.fromkeys(CELLS, Expect.BLOCK))
STATES = {
    "all-pass": seen(result(*map(whole, KINDS))),
    "esp-missing": seen(result(lost("esp"), *map(whole, KINDS[2:]))),
    "refused": seen(result(whole("icmp-echo"), row(Row("esp"), *[Outcome.REFUSED, MOOT] * 2))),
    "host-dropped": seen(result(row(Row("ah"), Outcome.HOST_DROPPED, MOOT, PASS, PASS))),
    "nat": replace(
        seen(result(row(Row("ah"), Outcome.ALTERED, MOOT, MOOT, MOOT), whole("ike"))),
        path=PathFacts(1.0, near_behind_nat=True),
        near=replace(NEAR, seen_as="198.51.100.7"),
    ),
    "lossy": seen(result(row(Row("esp"), *[Outcome.LOSSY] * 4), row(Row("ah"), *[STATE] * 4))),
    "errors-only": result(*(row(Row(k), *[Outcome.NOT_SENT] * 4) for k in KINDS)),
    "broken-off": replace(
        result(row(Row("esp"), *[Outcome.UNOBSERVED] * 4), complete=False),
        error="10.0.0.5 answers ping, so the route is there: allow TCP 5088 towards it",
    ),
    "nothing": replace(result(complete=False), error="the agent is gone"),
    "must-not-pass": seen(result(row(BLOCKED, PASS, PASS, Outcome.LOST, MOOT), whole("esp"))),
    "sixty-checks": many(),
    "hostile": hostile(),
    "wide": wide(),
}
