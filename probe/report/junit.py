"""The result for a build server: JUnit's XML, one test case a check.

What Jenkins and GitLab read is written so that it holds to both schemas in use, Ant's (Windy Road)
and Jenkins' own: counts at the suite, one outcome at most in a case, no time zone in the timestamp.
A check that is lossy is a failure, as it is for the exit code. Names say what was asked and
nothing of what came of it, so that a server can follow a check from run to run.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from xml.etree import ElementTree

from agent.model import Sighting
from probe.advise import advise
from probe.report import evidence, matrix
from probe.report.text import plain
from probe.result import Conclusion, RunResult, Verdict

_ELEMENTS = {
    Verdict.FAIL: "failure",
    Verdict.WARN: "failure",
    Verdict.ERROR: "error",
    Verdict.SKIP: "skipped",
}
_UNFINISHED = "the run was finished"


def render(result: RunResult) -> str:
    """The whole document, in UTF-8 once it is written, without a newline at its end."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", _counts(result))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(result).items():
        ElementTree.SubElement(properties, "property", name=name, value=plain(value))
    for name, conclusion in matrix.names(result.conclusions):
        suite.append(_case(result, name, conclusion))
    if not result.complete:
        suite.append(_unfinished(result))
    ElementTree.SubElement(suite, "system-out").text = "\n".join(_words(result))
    ElementTree.SubElement(suite, "system-err").text = plain(result.error)
    ElementTree.indent(suites, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, "unicode")


def _counts(result: RunResult) -> dict[str, str]:
    elements = Counter(_ELEMENTS.get(c.verdict, "") for c in result.conclusions)
    unfinished = 0 if result.complete else 1
    moment = datetime.fromtimestamp(result.started, UTC)
    return {
        "name": _suite(result),
        "package": "ipsec-probe",
        "id": "0",
        "tests": str(len(result.conclusions) + unfinished),
        "failures": str(elements["failure"]),
        "errors": str(elements["error"] + unfinished),
        "skipped": str(elements["skipped"]),
        "time": f"{result.seconds:.3f}",
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S"),
        "hostname": _token(result.near.name) or "localhost",
    }


def _suite(result: RunResult) -> str:
    return f"ipsec-probe.{_token(result.scenario)}"


def _properties(result: RunResult) -> dict[str, str]:
    return {
        "near": f"{result.near.address} {result.near.name}".strip(),
        "far": f"{result.far.address} {result.far.name}".strip(),
        "version": result.near.version,
        "far.version": result.far.version,
        "options": " ".join(result.options),
    }


def _case(result: RunResult, name: str, conclusion: Conclusion) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        name=_token(name),
        classname=_suite(result),
        time=f"{_span(conclusion.evidence):.3f}",
    )
    element = _ELEMENTS.get(conclusion.verdict)
    if element is not None:
        cause = plain(conclusion.cause or conclusion.outcome)
        told = ElementTree.SubElement(case, element, message=cause)
        if element != "skipped":  # which has no types, says Ant's
            told.set("type", conclusion.outcome)
        told.text = "\n".join([f"{cause}.", *evidence.stories(conclusion)])
    return case


def _unfinished(result: RunResult) -> ElementTree.Element:
    """What is left out where a run broke off may not look as if it had been well."""
    case = ElementTree.Element("testcase", name=_UNFINISHED, classname=_suite(result), time="0.000")
    why = plain(result.error or "it broke off")
    ElementTree.SubElement(case, "error", message=why, type="incomplete").text = why
    return case


def _span(sightings: tuple[Sighting, ...]) -> float:
    """Seconds from the first to the last sighting, by the clock of the host that saw the longer."""
    times: dict[str, list[float]] = {}
    for sighting in sightings:
        times.setdefault(sighting.at, []).append(sighting.time)
    return max((max(seen) - min(seen) for seen in times.values()), default=0.0)


def _words(result: RunResult) -> list[str]:
    return [
        matrix.summary(result).text,
        *(f"WHY  {plain(reason.text)}" for reason in matrix.whys(result)),
        *(f"NOTE  {plain(remark.text)}" for remark in matrix.remarks(result)),
        *(f"TO DO  {plain(rule)}" for rule in advise(result)),
    ]


def _token(text: str) -> str:
    """XML Schema's xs:token: no space at either end, nor two in a row."""
    return " ".join(plain(text).split())
