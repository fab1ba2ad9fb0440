"""What every report for people says, whatever it looks like: lines, words in cells, reasons.

UPPER CASE is not as the scenario wants it, lower case is, or is only told. What failed stands
first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from agent.model import Flow
from probe.naming import carrier, service
from probe.report.text import plain, sentence
from probe.result import Conclusion, Expect, Outcome, RunResult, Verdict
from scenarios import CELLS, Cell

STATE_MARK = (
    "arrived, but earlier traffic on the same addresses and ports may have opened the way: no "
    "proof that a new flow is allowed."
)

_BADNESS = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN)  # worst first
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

_WHOLE = "it arrived whole"
_PROVED = f"{_WHOLE}, and nothing earlier can have opened the way"


@dataclass(slots=True)
class Line:
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
        return min(rank(conclusion) for conclusion in self.cells.values())


class Reason(NamedTuple):
    """Why a thing is as it is. ``befell``: what it befell; "" for the run as a whole."""

    befell: str
    cause: str
    verdict: Verdict = Verdict.SKIP

    @property
    def text(self) -> str:
        return f"{self.befell}: {self.cause}" if self.befell else self.cause


class Summary(NamedTuple):
    verdict: Verdict  # the worst there is
    text: str


def lines(conclusions: Iterable[Conclusion]) -> list[Line]:
    """One line for each kind as the scenario asks it; a reply stands in its request's line."""
    conclusions = tuple(conclusions)
    by_number = {conclusion.check.number: conclusion for conclusion in conclusions}
    found: dict[tuple[object, ...], Line] = {}
    for conclusion in conclusions:
        check = conclusion.check
        opener = conclusion
        if check.flow is Flow.REPLY and check.partner is not None:
            opener = by_number.get(check.partner, conclusion)
        label = plain(opener.label or service(check.kind).title)
        carried = carrier(opener.check).removeprefix(label).lstrip(", ")
        for again in count():  # more than once where a scenario asks the same twice
            key = (check.kind, label, carried, again)
            line = found.setdefault(key, Line(label, carried))
            if (check.direction, check.flow) not in line.cells:
                line.cells[check.direction, check.flow] = conclusion
                break
    return list(found.values())


def names(conclusions: Iterable[Conclusion]) -> list[tuple[str, Conclusion]]:
    """Each check with a name of its own, in their order: "IKE UDP 500→500, outbound new".

    It says what was asked and nothing of what came of it, so that it is the same from run to run.
    """
    conclusions = tuple(conclusions)
    by_id = {
        id(conclusion): f"{line.name}, {' '.join(cell)}"
        for line in lines(conclusions)
        for cell, conclusion in line.cells.items()
    }
    taken: Counter[str] = Counter()
    found = []
    for conclusion in conclusions:
        name = by_id[id(conclusion)]
        taken[name] += 1
        found.append((f"{name} ({taken[name]})" if taken[name] > 1 else name, conclusion))
    return found


def word(conclusion: Conclusion) -> str:
    """What stands in a cell."""
    outcome, verdict = conclusion.outcome, conclusion.verdict
    if conclusion.expected is Expect.BLOCK and verdict is Verdict.PASS:
        return "blocked"
    if conclusion.expected is Expect.BLOCK and verdict is Verdict.FAIL:
        return "PASSED!"
    if outcome is Outcome.LOSSY:
        return _share(conclusion)
    found = _WORDS[outcome]
    return found.upper() if verdict is Verdict.FAIL else found


def _share(conclusion: Conclusion) -> str:
    whole = conclusion.arrived < conclusion.shots  # else the loss was on the host, not on the way
    got = conclusion.arrived if whole else conclusion.delivered
    text = f"lossy {got}/{conclusion.shots}"
    return text if len(text) <= 12 else f"lossy {got / max(conclusion.shots, 1):.0%}"


def cause(conclusion: Conclusion) -> str:
    """In a whole sentence, also where there is nothing to explain."""
    usual = _PROVED if conclusion.check.flow is Flow.NEW else _WHOLE
    usual = _UNTOLD if is_bad(conclusion) else usual
    return sentence(conclusion.cause or usual)


def is_starred(conclusions: Iterable[Conclusion]) -> bool:
    """Has any cell the ``*`` that STATE_MARK explains?"""
    return any(conclusion.outcome is Outcome.STATE_POSSIBLE for conclusion in conclusions)


def is_bad(conclusion: Conclusion) -> bool:
    return conclusion.verdict in _BADNESS


def rank(conclusion: Conclusion) -> int:
    """0 for the worst."""
    return _BADNESS.index(conclusion.verdict) if is_bad(conclusion) else len(_BADNESS)


# -- reasons ---------------------------------------------------------------------------------------


def whys(result: RunResult) -> list[Reason]:
    """Of all that is not as expected: one reason a cause, the worst first."""
    return list(_reasons(result, is_bad))


def remarks(result: RunResult) -> list[Reason]:
    """What is worth a word and is nobody's fault, and the notes on the run as a whole."""
    return [*_reasons(result, _is_told), *(Reason("", sentence(note)) for note in result.notes)]


def _is_told(conclusion: Conclusion) -> bool:
    """Nobody's fault, and yet worth a word. A reply that had no request is not."""
    if conclusion.outcome is Outcome.NOT_APPLICABLE:
        return conclusion.check.flow is Flow.NEW
    if conclusion.outcome is Outcome.DELIVERED:
        return bool(conclusion.cause) and not is_bad(conclusion)
    return _is_unjudged(conclusion)


def _is_unjudged(conclusion: Conclusion) -> bool:
    """It did not get through, and the scenario leaves open whether it should."""
    return (
        conclusion.expected is Expect.ANY
        and not is_bad(conclusion)
        and conclusion.outcome not in (*_THROUGH, Outcome.NOT_APPLICABLE)
    )


def _reasons(result: RunResult, wanted: Callable[[Conclusion], bool]) -> Iterator[Reason]:
    """With the name of everything that a cause befell."""
    causes: dict[tuple[int, str], list[tuple[str, Conclusion]]] = {}
    for name, conclusion in line_by_line(result.conclusions):
        if wanted(conclusion):
            key = rank(conclusion), conclusion.cause
            causes.setdefault(key, []).append((name, conclusion))
    for (place, cause), named in sorted(causes.items(), key=lambda item: item[0][0]):
        worst = _BADNESS[place] if place < len(_BADNESS) else Verdict.SKIP
        yield Reason(befell(named), sentence(cause or _UNTOLD), worst)


def line_by_line(conclusions: Iterable[Conclusion]) -> Iterator[tuple[str, Conclusion]]:
    """Each with its line's name, or with the title alone where no other line has it."""
    found = lines(conclusions)
    titles = Counter(line.title for line in found)
    for line in found:
        name = line.title if titles[line.title] == 1 else line.name
        for cell in CELLS:
            if cell in line.cells:
                yield name, line.cells[cell]


def befell(named: Iterable[tuple[str, Conclusion]]) -> str:
    """ "ESP IP 50 and AH IP 51, inbound new"."""
    cells_by_name: dict[str, list[str]] = {}
    for name, conclusion in named:
        cell = f"{conclusion.check.direction} {conclusion.check.flow}"
        cells_by_name.setdefault(name, []).append(cell)
    names_by_cells: dict[tuple[str, ...], list[str]] = {}
    for name, cells in cells_by_name.items():
        names_by_cells.setdefault(tuple(cells), []).append(name)
    return "; ".join(f"{_and(names)}, {_and([*cells])}" for cells, names in names_by_cells.items())


def summary(result: RunResult) -> Summary:
    """In one sentence."""
    counts = Counter(conclusion.verdict for conclusion in result.conclusions)
    if not counts:
        return Summary(Verdict.ERROR, "ERROR: nothing was tested.")
    state = sum(
        c.outcome is Outcome.STATE_POSSIBLE and c.verdict is Verdict.PASS
        for c in result.conclusions
    )
    told = sum(_is_unjudged(c) for c in result.conclusions)
    tails = {
        Verdict.FAIL: "failed",
        Verdict.ERROR: "could not be tested",
        Verdict.WARN: _doubtful(result),
        Verdict.PASS: "passed" + (f" ({state} of them state-possible)" if state else ""),
        Verdict.SKIP: "skipped" + (f" ({told} of them not judged)" if told else ""),
    }
    present = [verdict for verdict in tails if counts[verdict]]
    worst, *others = present
    sentence = f"{counts[worst]} of {counts.total()} checks {tails[worst]}"
    sentence += "".join(f", {counts[verdict]} {tails[verdict]}" for verdict in others)
    end = "" if result.complete else ", and the run was not finished"
    return Summary(worst, f"{worst.upper()}{end}: {sentence}.")


def _doubtful(result: RunResult) -> str:
    """What a warning is about: loss, or a way in that perhaps only state has opened."""
    outcomes = [c.outcome for c in result.conclusions if c.verdict is Verdict.WARN]
    state = outcomes.count(Outcome.STATE_POSSIBLE)
    if state == len(outcomes):
        return "may have passed only by earlier state"
    return "lossy" if not state else f"in doubt ({len(outcomes) - state} lossy)"


# -- words -----------------------------------------------------------------------------------------


def about(result: RunResult) -> str:
    """ "kb233256, IPv4, 0.8 s"."""
    families = sorted({conclusion.check.family for conclusion in result.conclusions})
    alone = ["no agent"] if result.path.control == "none" else []
    versions = [f"IPv{family}" for family in families]
    return ", ".join([*alone, result.scenario, *versions, f"{result.seconds:.1f} s"])


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
