"""What changed, told: the worst first, and what did not change in a line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given

from probe.compare import Comparison, compare
from probe.report.diff import render, render_json, summary
from probe.report.saved import load
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import lost, refused_ike, result, row, whole
from tests.unit.random_results import RESULTS

GOLDEN = Path(__file__).parent.parent / "golden" / "diff.txt"
PASS, STATE, MOOT = Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.NOT_APPLICABLE


def compared(before: RunResult, after: RunResult) -> Comparison:
    return compare(before, replace(after, started=before.started + 3600))


def plain(before: RunResult, after: RunResult) -> str:
    return render(compared(before, after), colour=False)


def everything() -> Comparison:
    """Something of each sort."""
    before = result(
        whole("esp"),
        lost("ah"),
        whole("ike"),
        row(Row("kerberos-udp"), STATE, PASS, STATE, PASS),
        whole("kerberos-tcp"),
    )
    after = result(
        lost("esp"),
        whole("ah"),
        refused_ike().conclusions[4:],
        row(Row("kerberos-udp"), STATE, PASS, PASS, PASS),
        row(Row("kerberos-tcp"), STATE, PASS, Outcome.UNOBSERVED, MOOT),
        whole("udp:1701"),
    )
    return compared(before, replace(after, complete=False, error="interrupted"))


def test_golden() -> None:
    assert render(everything(), colour=False) + "\n" == GOLDEN.read_text()


def test_the_worst_stands_first() -> None:
    text = render(everything(), colour=False)
    words = [line.split()[0] for line in text.splitlines() if line and line[0] != " "]
    shown = [w for w in dict.fromkeys(words) if w.isalpha()]
    assert shown == [
        "before",
        "after",
        "near",
        "DOUBT",
        "WORSE",
        "UNCLEAR",
        "better",
        "changed",
        "same",
    ]


def test_what_did_not_change_is_a_line() -> None:
    text = plain(result(whole("esp"), lost("ah")), result(whole("esp"), lost("ah")))
    assert "\n\nsame  8 checks: 4 pass, 2 fail, 2 skip.\n\nNOT WORSE: 8 of 8 checks are" in text


def test_what_is_not_proved_is_said_though_it_did_not_change() -> None:
    starred = result(row(Row("esp"), STATE, PASS, PASS, PASS))
    text = " ".join(plain(starred, starred).split())
    assert "1 of them is pass* in both runs: proved neither before nor now" in text


def test_why_it_failed_before_is_told_of_what_is_well_again() -> None:
    text = " ".join(plain(result(lost("esp")), result(whole("esp"))).split())
    assert "better ESP, outbound new and inbound new, was LOST (cause of lost) and is pass." in text


def test_the_summary() -> None:
    def told(before: RunResult, after: RunResult) -> str:
        return summary(compared(before, after), colour=False)

    esp = result(whole("esp"))
    assert told(esp, esp) == "NOT WORSE: 4 of 4 checks are as before."
    assert told(esp, result(lost("esp"))) == (
        "WORSE: 2 of 4 checks are worse, 2 follow from these."
    )
    starred = result(row(Row("esp"), STATE, PASS, PASS, PASS))
    assert told(esp, starred) == "UNCLEAR: 1 of 4 checks cannot be told, 3 as before."
    assert told(result(), result()) == "UNCLEAR: neither run asked anything."


def test_it_fits_the_terminal() -> None:
    for width in (80, 120):
        text = render(everything(), colour=False, width=width)
        assert max(map(len, text.splitlines())) <= width


def test_colour_is_only_added() -> None:
    found = compared(result(whole("esp")), result(lost("esp")))
    assert "\x1b[1;31mWORSE" in render(found, colour=True)
    assert "\x1b" not in render(found, colour=False)


def test_the_json() -> None:
    found = json.loads(render_json(everything()))
    assert list(found) == ["schema", "diff", "before", "after", "doubts", "path", "changes"]
    assert found["diff"] == {
        "worse": 3,
        "unclear": 4,
        "better": 2,
        "other": 5,
        "follows": 5,
        "same": 5,
    }
    worse = [change for change in found["changes"] if change["change"] == "worse"]
    assert [(c["before"]["outcome"], c["after"]["outcome"]) for c in worse] == [
        ("delivered", "lost"),
        ("delivered", "lost"),
        ("delivered", "refused"),
    ]
    assert "evidence" not in worse[0]["after"]
    assert found["after"]["started"] == "2023-11-14T23:13:20.250000Z"
    assert found["doubts"] == ["the run after was not finished (interrupted)"]


@given(RESULTS, RESULTS)
def test_any_two_results_can_be_told(before: RunResult, after: RunResult) -> None:
    found = compare(before, after)
    text = render(found, colour=False, width=80)
    assert all(character == "\n" or character.isprintable() for character in text)
    json.loads(render_json(found))


@given(RESULTS, RESULTS)
def test_a_saved_run_compares_as_it_did(before: RunResult, after: RunResult) -> None:
    from probe.report.json import render as save

    again = compare(load(save(before)), load(save(after)))
    assert [d.change for d in again.differences] == [
        d.change for d in compare(before, after).differences
    ]
