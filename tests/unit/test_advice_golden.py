"""The whole advice for one rich result, as each platform writes it: tests/golden/advice.

The syntax of each is held against its vendor's documents in test_advice_platforms; here a person
reads what a user gets. After a change that is meant: python -m tests.unit.test_advice_golden
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.model import Direction, Event, Side, Sighting
from probe.advise import text
from probe.advise.platforms import names
from probe.result import Host, Outcome, RunResult
from scenarios import CELLS, Expect, Row
from tests.samples import lost, only, result, row, whole

GOLDEN = Path(__file__).parent.parent / "golden" / "advice"
PASS, GONE, MOOT, HOST = (
    Outcome.DELIVERED,
    Outcome.LOST,
    Outcome.NOT_APPLICABLE,
    Outcome.HOST_DROPPED,
)


def rich() -> RunResult:
    """ESP is lost both ways, IKE in fragments, a reply, a port; AH at far; L2TP passes."""
    cut = Sighting(Side.NEAR, Event.LEFT, 0, 1, 0.0, stage="fragment")
    large = tuple(
        replace(c, evidence=(cut,)) for c in row(Row("ike", size=2000), GONE, MOOT, PASS, PASS)
    )
    clear = Row("udp:1701", expect=dict.fromkeys(CELLS, Expect.BLOCK))
    return result(
        whole("ike"),
        large,
        lost("esp"),
        row(Row("ah"), HOST, MOOT, PASS, PASS),
        row(Row("kerberos-udp"), PASS, MOOT, MOOT, GONE),
        only(lost("kerberos-tcp"), Direction.OUTBOUND)[:1],
        row(clear, PASS, MOOT, GONE, MOOT),
    )


def in_ipv6() -> RunResult:
    run = rich()
    near = Host("alpha", "2001:db8::1", "0.1.0", "2001:db8::1")
    far = Host("beta", "2001:db8:5::5", "0.1.0", "2001:db8:5::5")
    conclusions = tuple(replace(c, check=replace(c.check, family=6)) for c in run.conclusions)
    return replace(run, near=near, far=far, conclusions=conclusions)


def written(platform: str) -> str:
    return f"{text.rules(rich(), platform)}\n\n{text.rules(in_ipv6(), platform)}\n"


@pytest.mark.parametrize("platform", names())
def test_it_is_written_so(platform: str) -> None:
    assert written(platform) == (GOLDEN / f"{platform}.txt").read_text()


def test_there_is_one_of_each() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(names())


if __name__ == "__main__":
    for name in names():
        (GOLDEN / f"{name}.txt").write_text(written(name))
