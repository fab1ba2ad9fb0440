"""A row a check under a header that stays, and nothing in it that a spreadsheet would reckon."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from probe.report.csv import COLUMNS, render
from probe.result import RunResult
from tests.samples import refused_ike, result, whole
from tests.unit.random_results import RESULTS

GOLDEN = Path(__file__).parent.parent / "golden" / "report.csv"


def rows(run: RunResult) -> list[dict[str, str]]:
    text = render(run).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_golden() -> None:
    assert render(refused_ike()) == GOLDEN.read_bytes()


def test_the_header_is_a_contract() -> None:
    """Columns may be added at its end."""
    assert ",".join(COLUMNS).startswith(
        "scenario,started,near,far,name,kind,direction,flow,family,size,fragmenting,source_port,"
        "destination_port,shots,arrived,delivered,outcome,expected,verdict,cause"
    )


def test_a_row_a_check() -> None:
    found = rows(refused_ike())
    assert [row["verdict"] for row in found] == [*["pass"] * 4, "fail", "skip", "pass", "skip"]
    assert found[4]["cause"] == "10.0.0.254 answered: prohibited by a filter"
    assert (found[4]["source_port"], found[0]["source_port"]) == ("500", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\t=1", "\r=1"])
def test_nothing_is_a_formula(text: str) -> None:
    run = result(tuple(replace(c, label=text, cause=text) for c in whole("esp")))
    for row in rows(replace(run, scenario=text)):
        for name in ("name", "cause", "scenario"):
            assert row[name].lstrip()[0] not in "=+-@\t\r"


@given(RESULTS)
def test_whatever_it_says_it_stays_one_row_a_check(run: RunResult) -> None:
    text = render(run).decode()
    found = rows(run)
    assert len(found) == len(run.conclusions)
    assert all(None not in row and set(row) == set(COLUMNS) for row in found)
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n") == len(found) + 1
