"""What changed between two runs, for a person and for a program. What is worse stands first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from probe.compare import Change, Comparison, Difference
from probe.report import matrix
from probe.report.json import check, rfc3339
from probe.report.text import block, plain, sentence, wrap
from probe.result import Conclusion, Host, Outcome, RunResult, Verdict

SCHEMA = 1

_WORDS = {
    Change.WORSE: "WORSE",
    Change.UNCLEAR: "UNCLEAR",
    Change.BETTER: "better",
    Change.OTHER: "changed",
}
_SGR = {Change.WORSE: "1;31", Change.UNCLEAR: "35"}
_TAILS = {
    Change.WORSE: "worse",
    Change.UNCLEAR: "cannot be told",
    Change.BETTER: "better",
    Change.OTHER: "changed otherwise",
    Change.FOLLOWS: "follow from these",
    Change.SAME: "as before",
}


def render(found: Comparison, *, colour: bool, width: int = 80) -> str:
    """The whole comparison, without a newline at its end."""
    told = {
        "DOUBT": found.doubts,
        **{word: _told(found, change) for change, word in _WORDS.items()},
        "PATH": found.path,
        "same": _rest(found),
    }
    parts = [
        "\n".join(_head(found)),
        *(
            block(((f"{word}  ", sentence(text)) for text in paragraphs), width)
            for word, paragraphs in told.items()
        ),
        summary(found, colour=colour, width=width),
    ]
    return "\n\n".join(part for part in parts if part)


def summary(found: Comparison, *, colour: bool, width: int = 80) -> str:
    """The last line alone, which says it all."""
    counts = Counter(difference.change for difference in found.differences)
    present = [change for change in Change if counts[change]]
    if not present:
        return "UNCLEAR: neither run asked anything."
    worst, *others = present
    text = f"{counts[worst]} of {counts.total()} checks {_be(counts[worst], worst)}"
    text += "".join(f", {counts[change]} {_TAILS[change]}" for change in others)
    title = _WORDS.get(worst, "") if worst in _SGR else "NOT WORSE"
    told = wrap(f"{title}: {text}.", width)
    return f"\x1b[{_SGR.get(worst, '32')}m{told}\x1b[0m" if colour else told


def _be(number: int, change: Change) -> str:
    verb = "" if change is Change.UNCLEAR else "is " if number == 1 else "are "
    return f"{verb}{_TAILS[change]}"


def _head(found: Comparison) -> Iterator[str]:
    for when, run in (("before", found.before), ("after", found.after)):
        started = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield plain(f"{when:<6}  {started}, {matrix.about(run)}")
    near, far = (_name(host) for host in (found.after.near, found.after.far))
    yield plain(f"near {near} → far {far}")


def _name(host: Host) -> str:
    return f"{host.address} ({host.name})" if host.name else host.address


def _told(found: Comparison, change: Change) -> Iterator[str]:
    """One paragraph for all that changed in the same way for the same cause."""
    names = _names(found)
    alike: dict[str, list[tuple[str, Conclusion]]] = {}
    for difference in found.of(change):
        known = difference.known
        alike.setdefault(_step(difference), []).append((names[id(known)], known))
    for step, named in alike.items():
        yield f"{matrix.befell(named)}, {step}"


def _names(found: Comparison) -> dict[int, str]:
    runs = (found.before, found.after)
    return {id(c): name for run in runs for name, c in matrix.line_by_line(run.conclusions)}


def _step(difference: Difference) -> str:
    """ "was pass and is LOST: 11 shots left far …"; of what is well again, why it was not."""
    was, now = difference.before, difference.after
    if now is None:
        return f"was {_state(difference.known)} and was not asked after"
    before = "was not asked before"
    if was is not None:
        before = f"was {_state(was)}"
        if was.cause and matrix.is_bad(was) and not matrix.is_bad(now):
            before += f" ({was.cause.rstrip('.')})"
        if was.expected is not now.expected:
            before += f", with {was.expected} expected, not {now.expected} as now,"
    return f"{before} and is {_state(now)}" + (f": {now.cause}" if now.cause else "")


def _state(conclusion: Conclusion) -> str:
    """The table's word, where that is one."""
    words = {Outcome.NOT_APPLICABLE: "not to be asked", Outcome.UNOBSERVED: "not observed"}
    return words.get(conclusion.outcome) or matrix.word(conclusion)


def _rest(found: Comparison) -> Iterator[str]:
    """What did not change, in a line."""
    same = [d.known for d in found.of(Change.SAME)]
    if not same:
        return
    words = Counter(c.verdict for c in same)
    told = ", ".join(f"{words[verdict]} {verdict}" for verdict in Verdict if words[verdict])
    yield f"{len(same)} checks: {told}"
    if starred := sum(1 for c in same if matrix.is_starred([c])):
        be = "is" if starred == 1 else "are"
        yield (
            f"{starred} of them {be} pass* in both runs: proved neither before nor now (a quiet "
            "path, --alias or --fresh proves it)"
        )


# -- for programs ----------------------------------------------------------------------------------


def render_json(found: Comparison) -> str:
    """The whole object, in ASCII, without a newline at its end."""
    counts = Counter(difference.change for difference in found.differences)
    return json.dumps(
        {
            "schema": SCHEMA,
            "diff": {change.value: counts[change] for change in Change},
            "before": _run(found.before),
            "after": _run(found.after),
            "doubts": list(found.doubts),
            "path": list(found.path),
            "changes": [
                {
                    "change": difference.change,
                    "before": _check(difference.before),
                    "after": _check(difference.after),
                }
                for difference in found.differences
                if difference.change is not Change.SAME
            ],
        },
        indent=1,
        allow_nan=False,
    )


def _run(run: RunResult) -> dict[str, object]:
    return {
        "scenario": run.scenario,
        "started": rfc3339(run.started),
        "complete": run.complete,
        "near": run.near.address,
        "far": run.far.address,
        "version": run.near.version,
        "options": list(run.options),
    }


def _check(conclusion: Conclusion | None) -> dict[str, object] | None:
    """As in a run's own JSON, but for the evidence."""
    if conclusion is None:
        return None
    return {name: value for name, value in check(conclusion).items() if name != "evidence"}
