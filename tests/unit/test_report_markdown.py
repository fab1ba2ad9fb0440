"""Markdown for a ticket: what failed first, and text is text there, whoever said it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from probe.report.markdown import render
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import FAR, lost, refused_ike, result, row, whole
from tests.unit.random_results import RESULTS

GOLDEN = Path(__file__).parent.parent / "golden" / "report.md"


def test_golden() -> None:
    assert render(refused_ike()) + "\n" == GOLDEN.read_text()


def test_what_failed_is_bold_and_stands_first() -> None:
    lines = render(result(whole("esp"), lost("ah"))).splitlines()
    assert lines[0] == "**FAIL: 2 of 8 checks failed, 4 passed, 2 skipped.**"
    table = [line for line in lines if line.startswith("|")]
    assert table[2] == "| AH IP 51 | **LOST** | - | **LOST** | - |"
    assert table[3] == "| ESP IP 50 | pass | pass | pass | pass |"


def test_reasons_and_advice() -> None:
    text = render(result(whole("ike"), lost("esp")))
    assert "### Why\n\n- **ESP, outbound new and inbound new**: cause of lost." in text
    assert "### What to do\n\n- IKE passes, ESP does not" in text


def test_the_star_is_a_star() -> None:
    text = render(result(row(Row("esp"), *[Outcome.STATE_POSSIBLE] * 4)))
    assert "| pass\\* |" in text
    assert "\n\\* arrived, but earlier traffic" in text


def test_an_unfinished_run_says_so() -> None:
    run = replace(result(complete=False), error="the agent is gone", options=("--strict",))
    text = render(run)
    assert "not finished: the agent is gone" in text
    assert "asked with `--strict`" in text
    assert "|" not in text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<script>", "&lt;script&gt;"),
        ("*bold* _it_ `code`", "\\*bold\\* \\_it\\_ \\`code\\`"),
        ("[link](http://x)", "\\[link\\](http:&#8203;//x)"),
        ("ask @all", "ask @&#8203;all"),
        ("see #12", "see \\#&#8203;12"),
        ("&lt;", "&amp;lt;"),
        ("# heading", "\\# heading"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("10.0.0.1 said", "10.0.0.1 said"),
        ("two\nlines", "two?lines"),
    ],
)
def test_text_is_text(said: str, shown: str) -> None:
    run = replace(result(whole("esp")), notes=(said,))
    assert f"\n- {shown}." in render(run)


def test_a_host_name_stays_in_its_span() -> None:
    run = replace(result(whole("esp")), far=replace(FAR, name="`*x*` @all"))
    assert "(`'*x*' @all`)" in render(run)


@given(RESULTS)
def test_every_row_has_its_five_cells(run: RunResult) -> None:
    for line in render(run).splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 6
