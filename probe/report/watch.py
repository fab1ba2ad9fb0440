"""What a watch tells: a line for people where something changed, JSON lines for programs.

The JSON lines: ``{"event": "round", …}`` after each round, ``{"event": "change", …}`` before it
for each check that fares otherwise, ``{"event": "blind"}`` and ``{"event": "sighted"}`` around a
time in which nothing could be tested. Keys are only ever added. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from agent.model import Flow
from probe.naming import carrier, service, size
from probe.result import Conclusion, RunResult, Verdict
from probe.watch.watching import Change, Round

_INDENT = 10


def lines(told: Round, *, width: int = 80) -> Iterator[str]:
    """What a person wants to know of a round: nothing, where nothing changed."""
    clock = datetime.fromtimestamp(told.time).strftime("%H:%M:%S")
    texts = [_words(change) for change in told.changes]
    if told.blind:
        texts.append(f"BLIND: nothing can be tested. {told.error}")
    if told.sighted:
        texts.append("tested again: what follows is measured")
    for text in texts:
        plain = "".join(character if character.isprintable() else "?" for character in text)
        indent = " " * _INDENT
        yield textwrap.fill(
            f"{clock:<{_INDENT}}{plain}", width, subsequent_indent=indent, break_on_hyphens=False
        )


def changed(told: Round) -> RunResult:
    """The round's own result with what changed alone: its evidence is of the last look."""
    checks = {change.conclusion.check for change in told.changes}
    found = tuple(c for c in told.result.conclusions if c.check in checks)
    return replace(told.result, conclusions=found)


def json_lines(told: Round) -> Iterator[str]:
    """Each without its newline."""
    at = _rfc3339(told.time)
    for change in told.changes:
        yield json.dumps({"event": "change", "time": at, **_change(change)})
    if told.blind:
        yield json.dumps({"event": "blind", "time": at, "error": told.error})
    if told.sighted:
        yield json.dumps({"event": "sighted", "time": at})
    verdicts = Counter(conclusion.verdict for conclusion in told.conclusions)
    yield json.dumps(
        {
            "event": "round",
            "time": at,
            "round": told.number,
            "seconds": round(told.result.seconds, 3),
            "asked": len(told.result.conclusions),
            "error": told.error,
            "summary": {verdict.value: verdicts[verdict] for verdict in Verdict},
        }
    )


def name(conclusion: Conclusion) -> str:
    """ "ESP IP 50, outbound new"; of replies the ports are left out, which are their request's."""
    check = conclusion.check
    title = conclusion.label or service(check.kind).title
    told = carrier(check) if check.flow is Flow.NEW else size(check)
    carried = told.removeprefix(title).lstrip(", ")
    return f"{f'{title} {carried}'.rstrip()}, {check.direction} {check.flow}"


def _words(change: Change) -> str:
    found = change.conclusion
    good = found.verdict in (Verdict.PASS, Verdict.SKIP)
    what = f"{name(found)}: {change.before} → {change.after}"
    if change.steady:
        return f"STEADY  {name(found)}: {change.after}, and no longer flapping"
    cause = f". {found.cause[:1].upper()}{found.cause[1:]}" if found.cause else ""
    word = "better" if good else found.verdict.upper()
    if change.flapping:
        cause += ". It changes often: from now on it is told again when it has been steady"
    return f"{word}  {what}{cause}"


def _change(change: Change) -> dict[str, object]:
    found, check = change.conclusion, change.conclusion.check
    return {
        "name": name(found),
        "kind": check.kind,
        "direction": check.direction.value,
        "flow": check.flow.value,
        "family": check.family,
        "size": check.size,
        "fragmenting": check.fragmenting.value,
        "source_port": check.source_port,
        "destination_port": check.destination_port,
        "before": change.before,
        "after": change.after,
        "outcome": found.outcome.value,
        "expected": found.expected.value,
        "verdict": found.verdict.value,
        "cause": found.cause,
        "flapping": change.flapping,
        "steady": change.steady,
    }


def _rfc3339(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat("T", "milliseconds").replace("+00:00", "Z")
    )
