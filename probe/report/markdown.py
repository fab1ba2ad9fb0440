"""The result for a ticket: a table and what follows from it, in GitHub's Markdown.

GitLab, Gitea and Jira take it as it is. What another host or a scenario says is text there and
nothing else: no markup, no table cell of its own, nobody is notified.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from probe.advise import advise
from probe.report import matrix
from probe.report.matrix import Line, Reason
from probe.report.text import plain
from probe.result import Conclusion, Host, RunResult
from scenarios import CELLS

_MARKUP = re.compile(r"[\\`*_{}\[\]|~#]|^[-+](?= )|^\d+(?=[.)] )")
_CALLS = re.compile(r"[@#!](?=\w)|:(?=//)")  # @somebody, #12, !34, http://: becomes a link
_APART = "&#8203;"  # has no width


def render(result: RunResult) -> str:
    """Blocks with an empty line between them, without a newline at its end."""
    lines = sorted(matrix.lines(result.conclusions), key=lambda line: line.rank)
    blocks = [
        f"**{_text(matrix.summary(result).text)}**",
        "  \n".join(_about(result)),
        "\n".join(_table(lines)) if lines else "",
        f"\\* {_text(matrix.STATE_MARK)}" if matrix.is_starred(result.conclusions) else "",
        _list("Why", [_reason(reason) for reason in matrix.whys(result)]),
        _list("What to do", [_text(rule) for rule in advise(result)]),
        _list("Notes", [_reason(remark) for remark in matrix.remarks(result)]),
    ]
    return "\n\n".join(block for block in blocks if block)


def _about(result: RunResult) -> Iterator[str]:
    yield f"near {_host(result.near)} → far {_host(result.far)}"
    started = datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield f"{_text(matrix.about(result))}, {started}, probe {_text(result.near.version)}"
    if result.options:
        yield f"asked with {_code(' '.join(result.options))}"
    if result.error:
        yield f"not finished: {_text(result.error)}"


def _host(host: Host) -> str:
    return _code(host.address) + (f" ({_code(host.name)})" if host.name else "")


def _table(lines: list[Line]) -> Iterator[str]:
    """With the failing cells in bold: UPPER CASE alone is easily missed in a long ticket."""
    yield "| | outbound new | outbound reply | inbound new | inbound reply |"
    yield "|---|---|---|---|---|"
    for line in lines:
        cells = (_cell(line.cells.get(cell)) for cell in CELLS)
        yield f"| {_text(line.name)} | {' | '.join(cells)} |"


def _cell(conclusion: Conclusion | None) -> str:
    if conclusion is None:
        return ""
    word = _text(matrix.word(conclusion))
    return f"**{word}**" if matrix.is_bad(conclusion) else word


def _reason(reason: Reason) -> str:
    cause = _text(reason.cause)
    return f"**{_text(reason.befell)}**: {cause}" if reason.befell else cause


def _list(heading: str, items: list[str]) -> str:
    return "\n".join([f"### {heading}", "", *(f"- {item}" for item in items)]) if items else ""


def _text(text: str) -> str:
    """Shown as it is, wherever it stands."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _CALLS.sub(rf"\g<0>{_APART}", _MARKUP.sub(_escape, escaped))


def _escape(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def _code(text: str) -> str:
    """In a code span, where there is no markup and nobody is called."""
    return f"`{plain(text).replace('`', chr(39))}`" if text.strip() else "?"
