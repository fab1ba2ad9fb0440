"""The table: what a person at a terminal reads. Never wider than asked for, from 66 columns on.

UPPER CASE is not as the scenario wants it, lower case is, or is only told. What failed stands
first: in the rows, in the WHY lines, and in the summary that ends it all.
"""

from __future__ import annotations

from probe.advise import advise
from probe.report import matrix
from probe.report.matrix import Line
from probe.report.text import block, plain, wrap
from probe.result import RunResult, Verdict
from scenarios import CELLS

_SGR = {Verdict.FAIL: "1;31", Verdict.ERROR: "35", Verdict.WARN: "33", Verdict.PASS: "32"}
_GAP = 2  # between two columns, as tabulate's "simple" has it
_HEADING_SPACE = 2  # tabulate's MIN_PADDING: a column is wider than its heading by this
_TITLE_WIDTH = 16
_NARROWEST_LABEL = 8


def render(result: RunResult, *, colour: bool, width: int = 80) -> str:
    """The whole report, without a newline at its end."""
    lines = matrix.lines(result.conclusions)
    parts = [_header(result, width)]
    if lines:
        parts.append(_table(sorted(lines, key=lambda line: line.rank), colour, width))
    if matrix.is_starred(result.conclusions):
        parts.append(wrap(matrix.STATE_MARK, width, "* "))
    parts += [
        block((("WHY  ", reason.text) for reason in matrix.whys(result)), width),
        block((("NOTE  ", remark.text) for remark in matrix.remarks(result)), width),
    ]
    if rules := advise(result):
        parts.append("WHAT TO DO\n" + block((("- ", rule) for rule in rules), width))
    parts.append(summary(result, colour=colour, width=width))
    return "\n\n".join(part for part in parts if part)


def summary(result: RunResult, *, colour: bool, width: int = 80) -> str:
    """The last line alone, which says it all."""
    verdict, text = matrix.summary(result)
    return _paint(wrap(text, width), verdict, colour)


def _header(result: RunResult, width: int) -> str:
    near, far = (
        f"{side} {host.address}"
        + (f" ({host.name})" if host.name not in ("", host.address) else "")
        for side, host in (("near", result.near), ("far", result.far))
    )
    ends, what = plain(f"{near} → {far}"), plain(matrix.about(result))
    one_line = f"{ends}   {what}"
    if len(one_line) <= width:
        return one_line
    return f"{wrap(ends, width)}\n{wrap(what, width)}"


def _table(lines: list[Line], colour: bool, width: int) -> str:
    from tabulate import tabulate  # costs more than all of this module: only when it is needed

    words = [
        [matrix.word(line.cells[cell]) if cell in line.cells else "" for cell in CELLS]
        for line in lines
    ]
    headers = ["", "OUTBOUND\nnew", "\nreply", "INBOUND\nnew", "\nreply"]
    taken = sum(
        _GAP + max(_HEADING_SPACE + max(map(len, heading.split("\n"))), *map(len, column))
        for heading, *column in zip(headers[1:], *words, strict=True)
    )
    room = max(width - taken, _NARROWEST_LABEL)
    pad = min(max(len(line.title) for line in lines), _TITLE_WIDTH)
    rows = []
    for line, cells in zip(lines, words, strict=True):
        label = f"{line.title:<{pad}}  {line.carrier}".rstrip()
        if len(label) > room:
            label = wrap(line.name, room)
        painted = (
            _paint(word, line.cells[cell].verdict, colour) if cell in line.cells else word
            for cell, word in zip(CELLS, cells, strict=True)
        )
        rows.append([label, *painted])
    text = tabulate(rows, headers, tablefmt="simple", disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _paint(text: str, verdict: Verdict, colour: bool) -> str:
    return f"\x1b[{_SGR[verdict]}m{text}\x1b[0m" if colour and verdict in _SGR else text
