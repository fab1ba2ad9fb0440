"""The page as text: it needs nothing but itself, and what hosts say is text in it.

How it looks is in tests/browser, where a browser draws it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given

from agent.model import Event, Side, Sighting
from probe.report.html import render
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import FAR, lost, refused_ike, result, row, whole
from tests.unit.random_results import RESULTS

GOLDEN = Path(__file__).parent.parent / "golden" / "report.html"
SHEET = resources.files("probe.report").joinpath("page.css").read_text()
VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=y>\x1b\ud800"


class Page(HTMLParser):
    """Elements and text, with every element closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_golden() -> None:
    """But for the style sheet, which is a file of its own."""
    text = render(refused_ike())
    assert text.count(SHEET) == 1
    assert text.replace(SHEET, "") + "\n" == GOLDEN.read_text()


def test_it_needs_nothing_but_itself() -> None:
    page = Page(render(refused_ike()))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert {attributes["href"] or "" for attributes in page.find("a")} <= {
        f"#check-{n}" for n in range(1, 9)
    }
    assert not re.search(r"url\(|@import|//", SHEET)
    (policy,) = (m for m in page.find("meta") if m.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_head_of_the_page() -> None:
    text = render(refused_ike())
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<title>FAIL: alpha → beta, kb233256</title>" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert text.index('<meta charset="utf-8">') < 1024


def test_what_failed_stands_first() -> None:
    text = Page(render(result(whole("ike"), lost("esp")))).text
    order = [
        "FAIL: 2 of 8 checks failed",
        "near 10.0.0.1 (alpha) → far 10.0.0.5 (beta)",
        "Why",
        "Cause of lost.",
        "What to do",
        "IKE passes, ESP does not",
        "What gets through",
        "✕ LOST",
        "✓ pass",
        "How far it comes",
        "outbound: lost somewhere between",
        "What was seen",
        "The run",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_every_cell_leads_to_its_evidence() -> None:
    page = Page(render(refused_ike()))
    anchors = {attributes["id"] for attributes in page.find("p") if "id" in attributes}
    assert {f"#{anchor}" for anchor in anchors} == {a["href"] for a in page.find("a")}
    assert "refused by 10.0.0.254: communication administratively prohibited" in page.text


def test_what_is_bad_is_open() -> None:
    details = Page(render(refused_ike())).find("details")
    assert [d["class"] for d in details if "open" in d] == ["fail"]
    assert len(details) == 8


def test_all_is_told_of_the_run() -> None:
    run = replace(
        result(whole("esp"), complete=False),
        notes=("Port 500 is held",),
        options=("--strict", "--shots=5"),
        error="the agent is gone",
    )
    text = Page(render(run)).text
    for part in (
        "Not finished: the agent is gone",
        "2023-11-14 22:13:20 UTC",
        "Port 500 is held.",
        "--strict --shots=5",
        "0.1.0",
        "0.4 ms",
    ):
        assert part in text


def test_two_versions_are_told_apart() -> None:
    run = replace(result(whole("esp")), far=replace(FAR, version="9.9"))
    assert "0.1.0 near, 9.9 far" in Page(render(run)).text


def test_nothing_was_tested() -> None:
    page = Page(render(result(complete=False)))
    assert "⊘ ERROR: nothing was tested." in page.text
    assert not page.find("table")
    assert not page.find("svg")


def test_whatever_a_host_says_is_text() -> None:
    seen = (Sighting(Side.NEAR, Event.REFUSED, 0, 1, 1.0, source=HOSTILE, note=HOSTILE),)
    rows = row(Row("esp", label=HOSTILE), *[Outcome.REFUSED] * 4)
    run = replace(
        result(tuple(replace(c, cause=HOSTILE, evidence=seen) for c in rows)),
        scenario=HOSTILE,
        notes=(HOSTILE,),
        options=(HOSTILE,),
        error=HOSTILE,
        near=replace(FAR, name=HOSTILE, address=HOSTILE, version=HOSTILE, seen_as=HOSTILE),
        far=replace(FAR, name=HOSTILE, address=HOSTILE, version=HOSTILE, seen_as=HOSTILE),
    )
    text = render(run)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "\x1b" not in text
    assert text.encode()


@given(RESULTS)
def test_any_result_makes_a_page(run: RunResult) -> None:
    page = Page(render(run))
    assert len(page.find("details")) == len(run.conclusions)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


# -- colours ---------------------------------------------------------------------------------------


def schemes() -> dict[str, dict[str, str]]:
    """The colours by their names: in light, in dark, on paper."""
    blocks = re.findall(r":root \{(.*?)\}", SHEET, re.S)
    found = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in blocks]
    return dict(zip(("light", "dark", "paper"), found, strict=True))


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
def test_every_text_stands_out_from_what_is_behind_it(scheme: str) -> None:
    """WCAG 2 AA asks for 4.5 to 1."""
    colours = schemes()[scheme]
    for name in ("text", "faint", "link", "fail", "error", "warn", "pass", "skip"):
        for ground in ("back", "band"):
            low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name} on {ground}"
