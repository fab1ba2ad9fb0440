"""The table: what a person at a terminal reads. Never wider than asked for, from 66 columns on.

UPPER CASE is not as the scenario wants it, lower case is, or is only told. What failed stands
first: in the rows, in the WHY lines, and in the summary that ends it all.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from agent.model import Flow
from probe.advise import advise
from probe.naming import carrier, service
from probe.result import Conclusion, Expect, Outcome, RunResult, Verdict
from scenarios import CELLS, Cell

_BADNESS = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN)  # worst first
_SGR = {Verdict.FAIL: "1;31", Verdict.ERROR: "35", Verdict.WARN: "33", Verdict.PASS: "32"}
_WORDS = {
    Outcome.DELIVERED: "pass",
    Outcome.STATE_POSSIBLE: "pass*",
    Outcome.ALTERED: "altered",
    Outcome.REFUSED: "refused",
    Outcome.LOST: "lost",
    Outcome.HOST_DROPPED: "host",
    Outcome.NOT_SENT: "not sent",
    Outcome.UNOBSERVED: "?",
    Outcome.NOT_APPLICABLE: "-",
}
_THROUGH = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE)
_UNTOLD = "it got through whole, and was not to"  # the only cause that needs no words of its own
_GAP = 2  # between two columns, as tabulate's "simple" has it
_HEADING_SPACE = 2  # tabulate's MIN_PADDING: a column is wider than its heading by this
_TITLE_WIDTH = 16
_NARROWEST_LABEL = 8


@dataclass(slots=True)
class _Line:
    """One row of the table."""

    title: str
    carrier: str
    cells: dict[Cell, Conclusion] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The title alone may stand for two lines: Kerberos, by UDP and by TCP."""
        return " ".join(filter(None, (self.title, self.carrier)))

    @property
    def rank(self) -> int:
        return min(_rank(conclusion) for conclusion in self.cells.values())


def render(result: RunResult, *, colour: bool, width: int = 80) -> str:
    """The whole report, without a newline at its end."""
    lines = _lines(result.conclusions)
    parts = [_header(result, width)]
    if lines:
        parts.append(_table(sorted(lines, key=lambda line: line.rank), colour, width))
    parts += [
        _block(_legend(result.conclusions), width),
        _block(_reasons(lines, _is_bad, "WHY"), width),
        _block([*_reasons(lines, _is_told, "NOTE"), *_notes(result)], width),
    ]
    if rules := advise(result):
        parts.append("WHAT TO DO\n" + _block((("- ", rule) for rule in rules), width))
    parts.append(summary(result, colour=colour, width=width))
    return "\n\n".join(part for part in parts if part)


def summary(result: RunResult, *, colour: bool, width: int = 80) -> str:
    """The last line alone, which says it all."""
    verdict, text = _summary(result)
    return _paint(_wrap(text, width), verdict, colour)


def _lines(conclusions: Iterable[Conclusion]) -> list[_Line]:
    """One line for each kind as the scenario asks it; a reply stands in its request's line."""
    conclusions = tuple(conclusions)
    by_number = {conclusion.check.number: conclusion for conclusion in conclusions}
    lines: dict[tuple[object, ...], _Line] = {}
    for conclusion in conclusions:
        check = conclusion.check
        opener = conclusion
        if check.flow is Flow.REPLY and check.partner is not None:
            opener = by_number.get(check.partner, conclusion)
        label = _plain(opener.label or service(check.kind).title)
        carried = carrier(opener.check).removeprefix(label).lstrip(", ")
        for again in count():  # more than once where a scenario asks the same twice
            key = (check.kind, label, carried, again)
            line = lines.setdefault(key, _Line(label, carried))
            if (check.direction, check.flow) not in line.cells:
                line.cells[check.direction, check.flow] = conclusion
                break
    return list(lines.values())


def _header(result: RunResult, width: int) -> str:
    near, far = (
        f"{side} {host.address}" + (f" ({host.name})" if host.name else "")
        for side, host in (("near", result.near), ("far", result.far))
    )
    families = sorted({conclusion.check.family for conclusion in result.conclusions})
    about = [result.scenario, *(f"IPv{family}" for family in families), f"{result.seconds:.1f} s"]
    ends = _plain(f"{near} → {far}")
    what = _plain(", ".join(about))
    one_line = f"{ends}   {what}"
    if len(one_line) <= width:
        return one_line
    return f"{_wrap(ends, width)}\n{_wrap(what, width)}"


def _table(lines: list[_Line], colour: bool, width: int) -> str:
    from tabulate import tabulate  # costs more than all of this module: only when it is needed

    words = [[_word(line.cells.get(cell)) for cell in CELLS] for line in lines]
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
            label = _wrap(line.name, room)
        painted = (
            _paint(word, line.cells[cell].verdict, colour) if cell in line.cells else word
            for cell, word in zip(CELLS, cells, strict=True)
        )
        rows.append([label, *painted])
    text = tabulate(rows, headers, tablefmt="simple", disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _word(conclusion: Conclusion | None) -> str:
    """What stands in a cell."""
    if conclusion is None:
        return ""
    outcome, verdict = conclusion.outcome, conclusion.verdict
    if conclusion.expected is Expect.BLOCK and verdict is Verdict.PASS:
        return "blocked"
    if conclusion.expected is Expect.BLOCK and verdict is Verdict.FAIL:
        return "PASSED!"
    if outcome is Outcome.LOSSY:
        return _share(conclusion)
    word = _WORDS[outcome]
    return word.upper() if verdict is Verdict.FAIL else word


def _share(conclusion: Conclusion) -> str:
    whole = conclusion.arrived < conclusion.shots  # else the loss was on the host, not on the way
    count = conclusion.arrived if whole else conclusion.delivered
    text = f"lossy {count}/{conclusion.shots}"
    return text if len(text) <= 12 else f"lossy {count / conclusion.shots:.0%}"


def _legend(conclusions: Iterable[Conclusion]) -> Iterator[tuple[str, str]]:
    outcomes = {conclusion.outcome for conclusion in conclusions}
    if Outcome.STATE_POSSIBLE in outcomes:
        yield (
            "* ",
            "arrived, but earlier traffic on the same addresses and ports may have opened the "
            "way: no proof that a new flow is allowed.",
        )


def _is_bad(conclusion: Conclusion) -> bool:
    return conclusion.verdict in _BADNESS


def _is_told(conclusion: Conclusion) -> bool:
    """Nobody's fault, and yet worth a word. A reply that had no request is not."""
    if conclusion.outcome is Outcome.NOT_APPLICABLE:
        return conclusion.check.flow is Flow.NEW
    if conclusion.outcome is Outcome.DELIVERED:
        return bool(conclusion.cause) and not _is_bad(conclusion)
    return _is_unjudged(conclusion)


def _is_unjudged(conclusion: Conclusion) -> bool:
    """It did not get through, and the scenario leaves open whether it should."""
    return (
        conclusion.expected is Expect.ANY
        and not _is_bad(conclusion)
        and conclusion.outcome not in (*_THROUGH, Outcome.NOT_APPLICABLE)
    )


def _reasons(
    lines: Iterable[_Line], wanted: Callable[[Conclusion], bool], word: str
) -> Iterator[tuple[str, str]]:
    """One paragraph a cause, worst first, with the name of everything that it befell."""
    lines = tuple(lines)
    titles = Counter(line.title for line in lines)
    causes: dict[tuple[int, str], dict[str, list[Cell]]] = {}
    for line in lines:
        name = line.title if titles[line.title] == 1 else line.name
        for cell in CELLS:
            conclusion = line.cells.get(cell)
            if conclusion is not None and wanted(conclusion):
                befell = causes.setdefault((_rank(conclusion), conclusion.cause), {})
                befell.setdefault(name, []).append(cell)
    for (_, cause), befell in sorted(causes.items(), key=lambda item: item[0][0]):
        yield f"{word}  ", f"{_befell(befell)}: {_sentence(cause or _UNTOLD)}"


def _notes(result: RunResult) -> Iterator[tuple[str, str]]:
    for note in result.notes:
        yield "NOTE  ", _sentence(note)


def _befell(cells_by_name: Mapping[str, list[Cell]]) -> str:
    """ "ESP IP 50 and AH IP 51, inbound new"."""
    names_by_cells: dict[tuple[Cell, ...], list[str]] = {}
    for name, cells in cells_by_name.items():
        names_by_cells.setdefault(tuple(cells), []).append(name)
    return "; ".join(
        f"{_and(names)}, {_and([' '.join(cell) for cell in cells])}"
        for cells, names in names_by_cells.items()
    )


def _summary(result: RunResult) -> tuple[Verdict, str]:
    """The worst verdict there is, and the last line."""
    counts = Counter(conclusion.verdict for conclusion in result.conclusions)
    if not counts:
        return Verdict.ERROR, "ERROR: nothing was tested."
    state = sum(
        c.outcome is Outcome.STATE_POSSIBLE and c.verdict is Verdict.PASS
        for c in result.conclusions
    )
    told = sum(_is_unjudged(c) for c in result.conclusions)
    tails = {
        Verdict.FAIL: "failed",
        Verdict.ERROR: "could not be tested",
        Verdict.WARN: "lossy",
        Verdict.PASS: "passed" + (f" ({state} of them state-possible)" if state else ""),
        Verdict.SKIP: "skipped" + (f" ({told} of them not judged)" if told else ""),
    }
    present = [verdict for verdict in tails if counts[verdict]]
    worst, *others = present
    sentence = f"{counts[worst]} of {counts.total()} checks {tails[worst]}"
    sentence += "".join(f", {counts[verdict]} {tails[verdict]}" for verdict in others)
    end = "" if result.complete else ", and the run was not finished"
    return worst, f"{worst.upper()}{end}: {sentence}."


def _rank(conclusion: Conclusion) -> int:
    bad = conclusion.verdict in _BADNESS
    return _BADNESS.index(conclusion.verdict) if bad else len(_BADNESS)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _paint(text: str, verdict: Verdict, colour: bool) -> str:
    return f"\x1b[{_SGR[verdict]}m{text}\x1b[0m" if colour and verdict in _SGR else text


def _plain(text: str) -> str:
    """Nothing that a far host says may steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _block(paragraphs: Iterable[tuple[str, str]], width: int) -> str:
    return "\n".join(_wrap(text, width, prefix) for prefix, text in paragraphs)


def _wrap(text: str, width: int, prefix: str = "") -> str:
    """``text`` behind ``prefix``, its further lines indented as far."""
    return textwrap.fill(
        _plain(text),
        max(width, 2 * len(prefix), 1),
        initial_indent=prefix,
        subsequent_indent=" " * len(prefix),
        break_on_hyphens=False,
    )
