"""The walk's table and its JSON, from walks along a path that the test draws."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.model import Direction
from probe.report.trace import render, render_json
from probe.result import Host, PathFacts, RunResult
from probe.trace.conclusion import TraceResult, conclude
from probe.trace.hops import Case
from tests.unit.walks import FAR, Path


def traced(path: Path, **names: str) -> TraceResult:
    walked = path.walk()
    while wanted := Case(walked).wanted():
        walked = path.ask_again(wanted)
    assert walked.reference is not None
    run = RunResult(
        "kb233256",
        0.0,
        2.5,
        True,
        Host("here", "10.0.0.9", "0.1.0"),
        Host("there\x1b[2J", FAR, "0.1.0", FAR),
        PathFacts(1.0),
        (walked.subject, walked.reference),
    )
    references = {Direction.OUTBOUND: "icmp-echo"}
    known = {address.replace("_", "."): name for address, name in names.items()}
    return TraceResult(run, "esp", references, (conclude(walked),), known)


def test_the_table() -> None:
    text = render(traced(Path(drops={"esp": 2}, silent=(1,))), colour=False)
    assert text.splitlines() == [
        "near 10.0.0.9 (here) → far 10.9.9.9 (there?[2J)   trace of ESP, IPv4, 2.5 s",
        "",
        "OUTBOUND            ESP    ICMP echo",
        "------------------  -----  -----------",
        "     near 10.0.0.9  sent   sent",
        "  1  ?  silent      yes    yes",
        "  2  10.0.2.1       yes    yes",
        "  3  10.0.3.1       NO     yes",
        "     far 10.9.9.9   NO     yes",
        "",
        "DIES  ESP, outbound: 10.0.2.1 received it; the next hop, 10.0.3.1, which ICMP",
        "      echo reaches, never did: 10.0.2.1 drops it on the way through, or 10.0.3.1",
        "      does at its entrance.",
        "",
        "FAIL: ESP does not get through outbound.",
    ]


def test_what_passes_is_told_in_a_line() -> None:
    text = render(traced(Path(routers=1)), colour=False)
    assert "passes  ESP, outbound: it gets through 1 router." in text
    assert text.endswith("PASS: ESP gets through outbound.")
    assert "no router lies between" in render(traced(Path(routers=0)), colour=False)


def test_names_stand_beside_addresses_and_no_line_is_too_wide() -> None:
    result = traced(Path(drops={"esp": 1}), **{"10_0_1_1": "a" * 60, "10_0_2_1": "edge"})
    text = render(result, colour=False)
    assert "10.0.2.1 (edge)" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_colour_is_only_added() -> None:
    result = traced(Path(drops={"esp": 2}))
    assert "\x1b[1;31mNO\x1b[0m" in render(result, colour=True)
    assert "\x1b" not in render(result, colour=False)


def test_the_json() -> None:
    result = traced(Path(drops={"esp": 2}, silent=(1,)), **{"10_0_2_1": "edge"})
    found = json.loads(render_json(result))
    assert (found["schema"], found["complete"], found["trace"]) == (1, True, "esp")
    assert found["started"] == "1970-01-01T00:00:00.000000Z"
    (way,) = found["ways"]
    assert (way["direction"], way["outcome"], way["reference"]) == ("outbound", "lost", "icmp-echo")
    assert way["last_forwarder"] == {"hop": 1, "addresses": []}
    assert way["last_receiver"] == {"hop": 2, "addresses": ["10.0.2.1"]}
    assert way["first_without"] == {"hop": 3, "addresses": ["10.0.3.1"]}
    assert [hop["reached"] for hop in way["hops"]] == ["yes", "yes", "no"]
    assert way["hops"][1]["names"] == ["edge"]
    assert (way["hops"][1]["shots"], way["hops"][1]["answers"]) == (3, 3)
    last = json.loads(render_json(traced(Path(drops={"esp": 3}))))["ways"][0]["first_without"]
    assert last == {"hop": None, "addresses": [FAR]}


def test_before_anything_is_known() -> None:
    result = traced(Path())
    empty = replace(result, ways=(), run=replace(result.run, complete=False))
    text = render(empty, colour=False)
    assert text.endswith("ERROR, and the walk was not finished: ESP was not tested.")
    assert json.loads(render_json(empty))["complete"] is False
