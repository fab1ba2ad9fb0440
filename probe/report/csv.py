"""The result for a spreadsheet: a row a check, as RFC 4180 has it, under a header that stays.

Every row names its run (scenario, start, hosts), so that the files of several runs can be joined.
Text is quoted and never begins like a formula: a spreadsheet would reckon it, and what a cell says
may come from another host. Columns are only ever added, at the end.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from probe.naming import service
from probe.report.text import plain
from probe.result import Conclusion, RunResult

COLUMNS = (
    "scenario",
    "started",
    "near",
    "far",
    "name",
    "kind",
    "direction",
    "flow",
    "family",
    "size",
    "fragmenting",
    "source_port",
    "destination_port",
    "shots",
    "arrived",
    "delivered",
    "outcome",
    "expected",
    "verdict",
    "cause",
)

_FORMULA = ("=", "+", "-", "@")  # and tab and return, of which plain() leaves nothing
_Value = str | int | None


def render(result: RunResult) -> bytes:
    """All rows, in UTF-8, each with CR LF at its end, the last one too."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for conclusion in result.conclusions:
        writer.writerow([_cell(value) for value in _row(result, conclusion)])
    return file.getvalue().encode()


def _row(result: RunResult, conclusion: Conclusion) -> tuple[_Value, ...]:
    check = conclusion.check
    return (
        result.scenario,
        datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        result.near.address,
        result.far.address,
        conclusion.label or service(check.kind).title,
        check.kind,
        check.direction,
        check.flow,
        check.family,
        check.size,
        check.fragmenting,
        check.source_port,
        check.destination_port,
        conclusion.shots,
        conclusion.arrived,
        conclusion.delivered,
        conclusion.outcome,
        conclusion.expected,
        conclusion.verdict,
        conclusion.cause,
    )


def _cell(value: _Value) -> _Value:
    if not isinstance(value, str):
        return "" if value is None else value
    text = plain(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
