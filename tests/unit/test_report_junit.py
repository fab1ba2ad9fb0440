"""JUnit's XML, held against what the two schemas in use ask for: Ant's and Jenkins' xunit's.

What they have in common, and where they differ the narrower of the two, is written down here.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hypothesis import given

from probe.report.junit import render
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import lost, refused_ike, result, row, whole
from tests.unit.random_results import RESULTS

GOLDEN = Path(__file__).parent.parent / "golden" / "report.xml"
DECIMAL = re.compile(r"\d+\.\d{3}")
CHILDREN = ["properties", "testcase", "system-out", "system-err"]  # in this order
SUITE = {
    "name": re.compile(r"\S.*"),
    "package": re.compile(r"\S.*"),
    "id": re.compile("0"),
    "tests": re.compile(r"\d+"),
    "failures": re.compile(r"\d+"),
    "errors": re.compile(r"\d+"),
    "skipped": re.compile(r"\d+"),
    "time": DECIMAL,
    "timestamp": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
    "hostname": re.compile(r"\S.*"),
}


def suite_of(run: RunResult) -> Element:
    root = ElementTree.fromstring(render(run).encode())
    assert (root.tag, root.attrib) == ("testsuites", {})
    (suite,) = root
    return suite


def check_schema(suite: Element) -> None:
    assert suite.tag == "testsuite"
    assert set(suite.attrib) == set(SUITE)
    for name, pattern in SUITE.items():
        assert pattern.fullmatch(suite.attrib[name]), name
        assert _is_token(suite.attrib[name])
    tags = [child.tag for child in suite]
    assert tags == sorted(tags, key=CHILDREN.index)
    assert [tags.count(tag) for tag in CHILDREN if tag != "testcase"] == [1, 1, 1]
    found: Counter[str] = Counter()
    for case in suite.iter("testcase"):
        assert set(case.attrib) == {"name", "classname", "time"}
        assert DECIMAL.fullmatch(case.attrib["time"])
        assert _is_token(case.attrib["name"])
        assert _is_token(case.attrib["classname"])
        assert len(case) <= 1
        for told in case:
            typed = ["type"] if told.tag != "skipped" else []
            assert set(told.attrib) == {"message", *typed}
            found[told.tag] += 1
    assert set(found) <= {"failure", "error", "skipped"}
    counted = [suite.attrib[name] for name in ("failures", "errors", "skipped")]
    assert counted == [str(found[tag]) for tag in ("failure", "error", "skipped")]
    assert suite.attrib["tests"] == str(len(list(suite.iter("testcase"))))


def _is_token(text: str) -> bool:
    return text == " ".join(text.split())


def cases(run: RunResult) -> dict[str, str]:
    """Name → the element that says what came of it; "" for what passed."""
    return {
        case.attrib["name"]: case[0].tag if len(case) else ""
        for case in suite_of(run).iter("testcase")
    }


def test_golden() -> None:
    assert render(refused_ike()) + "\n" == GOLDEN.read_text()
    check_schema(suite_of(refused_ike()))


def test_one_case_a_check_with_a_name_for_people() -> None:
    assert cases(refused_ike()) == {
        "ESP IP 50, outbound new": "",
        "ESP IP 50, outbound reply": "",
        "ESP IP 50, inbound new": "",
        "ESP IP 50, inbound reply": "",
        "IKE UDP 500→500, outbound new": "failure",
        "IKE UDP 500→500, outbound reply": "skipped",
        "IKE UDP 500→500, inbound new": "",
        "IKE UDP 500→500, inbound reply": "skipped",
    }


def test_a_name_does_not_say_what_came_of_it() -> None:
    assert list(cases(result(whole("esp"), lost("ah")))) == list(
        cases(result(lost("esp"), whole("ah")))
    )


def test_the_same_question_twice_has_two_names() -> None:
    names = list(cases(result(whole("esp"), lost("esp"))))
    assert len(set(names)) == 8
    assert "ESP IP 50, outbound new (2)" in names


def test_the_cause_is_the_message() -> None:
    (case,) = (c for c in suite_of(refused_ike()).iter("failure"))
    assert case.attrib["message"] == "10.0.0.254 answered: prohibited by a filter"
    assert case.attrib["type"] == "refused"
    assert "near: left (10.0.0.1:500 → 10.0.0.5:500" in (case.text or "")


def test_lossy_is_a_failure_and_what_could_not_be_tested_an_error() -> None:
    run = result(
        row(Row("esp"), *[Outcome.LOSSY] * 4),
        row(Row("ah"), *[Outcome.UNOBSERVED] * 4),
    )
    assert Counter(cases(run).values()) == {"failure": 4, "error": 4}


def test_a_run_that_broke_off_is_an_error_whatever_came_of_its_checks() -> None:
    run = replace(result(whole("esp"), complete=False), error="the agent is gone")
    suite = suite_of(run)
    check_schema(suite)
    assert cases(run)["the run was finished"] == "error"
    (error,) = suite.iter("error")
    assert error.attrib["message"] == "the agent is gone"
    assert suite.findtext("system-err") == "the agent is gone"
    assert cases(result(complete=False)) == {"the run was finished": "error"}


def test_no_character_that_xml_has_not() -> None:
    run = refused_ike()
    said = "\x00\x1b[2J\ud800\ufffe\x0b<b>&\"'"
    broken = tuple(replace(c, cause=said, label=said) for c in run.conclusions)
    suite = suite_of(replace(run, conclusions=broken, notes=(said,), scenario=said, error=said))
    check_schema(suite)
    assert "?[2J??" in next(suite.iter("failure")).attrib["message"]


@given(RESULTS)
def test_any_result_is_as_the_schemas_have_it(run: RunResult) -> None:
    check_schema(suite_of(run))
