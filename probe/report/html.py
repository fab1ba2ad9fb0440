"""The result as one page: for a ticket, a phone, a printer, an archive.

It needs nothing but itself: no script, no font, no picture from elsewhere, and a policy in its head
that lets none in. The page is built as a tree of elements, so that whatever a host or a scenario
says is text in it and cannot be anything else. What failed stands first. Colour says nothing that
a word or a sign does not say as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from probe.advise import advise
from probe.judge.words import count
from probe.naming import service
from probe.report import evidence, matrix, track
from probe.report.elements import el
from probe.report.matrix import Line, Reason
from probe.report.path import Picture, picture
from probe.result import Conclusion, Expect, Host, PathMtu, RunResult, Verdict
from scenarios import CELLS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SIGNS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.WARN: "!",
    Verdict.ERROR: "⊘",
    Verdict.SKIP: "",
}
_HEADINGS = ("outbound new", "outbound reply", "inbound new", "inbound reply")


def render(result: RunResult) -> str:
    """The whole page, without a newline at its end."""
    anchors = {id(c): f"check-{place}" for place, c in enumerate(result.conclusions, 1)}
    lines = sorted(matrix.lines(result.conclusions), key=lambda line: line.rank)
    page = el("html", _head(result), _body(result, lines, anchors), lang="en")
    return "<!DOCTYPE html>\n" + ElementTree.tostring(page, "unicode", method="html").rstrip()


def _head(result: RunResult) -> Element:
    near, far = (host.name or host.address for host in (result.near, result.far))
    verdict = matrix.summary(result).verdict.upper()
    style = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    sheet = Element("style")
    sheet.text = f"\n{style}"
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="generator", content=f"ipsec-probe {result.near.version}"),
        el("title", f"{verdict}: {near} → {far}, {result.scenario}"),
        sheet,
    )


def _body(result: RunResult, lines: list[Line], anchors: dict[int, str]) -> Element:
    cells = (line.cells[cell] for line in lines for cell in CELLS if cell in line.cells)
    names = {id(conclusion): name for name, conclusion in matrix.names(result.conclusions)}
    whys = [_reason(reason) for reason in matrix.whys(result)]
    advice = [el("li", rule) for rule in advise(result)]
    remarks = [_reason(remark) for remark in matrix.remarks(result)]
    return el(
        "body",
        _header(result),
        _section("Why", el("ul", *whys, class_="reasons") if whys else None),
        _section("What to do", el("ol", *advice) if advice else None),
        _section("What gets through", *(_table(lines, anchors) if lines else ())),
        _section("How far it comes", *_path(result, picture(result))),
        _section("Notes", el("ul", *remarks, class_="reasons") if remarks else None),
        _section(
            "What was seen",
            *(_details(c, names[id(c)], anchors[id(c)]) for c in sorted(cells, key=matrix.rank)),
        ),
        _section("The run", el("dl", *_facts(result))),
    )


def _section(heading: str, *content: Element | None) -> Element | None:
    """None where there is nothing to say."""
    if not any(element is not None for element in content):
        return None
    return el("section", el("h2", heading), *content)


# -- the parts -------------------------------------------------------------------------------------


def _header(result: RunResult) -> Element:
    summary = matrix.summary(result)
    return el(
        "header",
        el("h1", f"{_SIGNS[summary.verdict]} {summary.text}"),
        el(
            "p",
            f"near {_ends(result.near)} → far {_ends(result.far)}",
            class_="ends",
        ),
        el("p", matrix.about(result), ", ", _time(result.started), class_="faint"),
        el("p", f"Not finished: {result.error}") if result.error else None,
        class_=summary.verdict,
    )


def _ends(host: Host) -> str:
    return f"{host.address} ({host.name})" if host.name else host.address


def _time(seconds: float) -> Element:
    moment = datetime.fromtimestamp(seconds, UTC)
    return el(
        "time",
        moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
        datetime=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _reason(reason: Reason) -> Element:
    befell = el("b", reason.befell) if reason.befell else None
    return el("li", befell, el("span", _capital(reason.cause)), class_=reason.verdict)


def _table(lines: list[Line], anchors: dict[int, str]) -> Iterator[Element]:
    # On a phone the rows are no longer displayed as a table's: the roles keep them one.
    head = el(
        "tr",
        el("th", role="columnheader"),
        *(el("th", heading, role="columnheader", scope="col") for heading in _HEADINGS),
        role="row",
    )
    rows = []
    for line in lines:
        name = el("th", line.title, role="rowheader", scope="row")
        if line.carrier:
            name.append(el("div", line.carrier, class_="faint small"))
        cells = (_cell(line.cells.get(cell), anchors) for cell in CELLS)
        rows.append(el("tr", name, *cells, role="row"))
    yield el(
        "table",
        el("thead", head, role="rowgroup"),
        el("tbody", *rows, role="rowgroup"),
        role="table",
    )
    if matrix.is_starred(c for line in lines for c in line.cells.values()):
        yield el("p", f"* {matrix.STATE_MARK}", class_="faint small")


def _cell(conclusion: Conclusion | None, anchors: dict[int, str]) -> Element:
    if conclusion is None:
        return el("td", role="cell")
    link = el("a", _word(conclusion), href=f"#{anchors[id(conclusion)]}")
    return el("td", link, role="cell", class_=conclusion.verdict)


def _word(conclusion: Conclusion) -> str:
    """The word of the table, with a sign for those who see no colours."""
    return f"{_SIGNS[conclusion.verdict]} {matrix.word(conclusion)}".strip()


def _path(result: RunResult, found: Picture) -> Iterator[Element | None]:
    if not found.arrows:
        return
    between = [el("span", text) for text in _between(result, found)]
    hosts = el(
        "div",
        el("div", el("b", "near"), result.near.address),
        el("div", *between),
        el("div", el("b", "far"), result.far.address),
        class_="hosts",
    )
    rows: list[Element] = []
    before = ""
    for arrow in found.arrows:
        again = arrow.name == before
        check = arrow.conclusion.check
        words = f"{check.direction}{' reply' if check.flow == 'reply' else ''}: {arrow.where}"
        rows += [
            el("div", "" if again else arrow.name, class_="kind"),
            el("div", track.draw(arrow), class_="track"),
            el("div", words, class_=f"end {arrow.conclusion.verdict}"),
        ]
        before = arrow.name
    yield el("div", hosts, *rows, class_="path")


def _between(result: RunResult, found: Picture) -> Iterator[str]:
    counts = set(found.routers.values())
    if len(counts) == 1:
        yield _routers(counts.pop())
    elif counts:
        yield ", ".join(f"{way} {_routers(n)}" for way, n in found.routers.items())
    if found.refusers:
        yield f"{', '.join(found.refusers)} refused"
    if result.path.near_behind_nat:
        yield f"NAT: far sees near as {result.near.seen_as}"


def _routers(number: int) -> str:
    return {0: "no router", 1: "1 router"}.get(number, f"{number} routers")


def _details(conclusion: Conclusion, name: str, anchor: str) -> Element:
    counts = f"{count(conclusion.shots)}, {conclusion.arrived} arrived"
    if conclusion.delivered != conclusion.arrived:
        counts += f", {conclusion.delivered} delivered"
    wanted = {
        Expect.PASS: "",
        Expect.BLOCK: " The scenario wants this blocked.",
        Expect.ANY: " The scenario expects nothing here.",
    }[conclusion.expected]
    shots = [el("li", text) for text in evidence.stories(conclusion)]
    return el(
        "details",
        el(
            "summary",
            el("b", _word(conclusion)),
            el("span", name),
            " ",
            el("span", counts, class_="faint"),
        ),
        el("p", f"{_capital(matrix.cause(conclusion))}{wanted}", id=anchor, class_="cause"),
        el("ul", *shots, class_="shots") if shots else None,
        class_=conclusion.verdict,
        **({"open": "open"} if matrix.is_bad(conclusion) else {}),
    )


def _facts(result: RunResult) -> Iterator[Element]:
    path = result.path
    versions = dict.fromkeys(filter(None, (result.near.version, result.far.version)))
    known: dict[str, str | Element] = {
        "Scenario": result.scenario,
        "Started": _time(result.started),
        "Took": f"{result.seconds:.1f} s",
        "Asked with": " ".join(result.options),
        "Version": ", ".join(versions) if len(versions) < 2 else _versions(result),
        "Round trip": "" if path.rtt_ms is None else f"{path.rtt_ms:.1f} ms",
        "Loss": "; ".join(
            f"{way} {found.missing} of {found.sent} shots"
            for way, found in path.carriage.items()
            if found.sent
        ),
        "MTU": "; ".join(
            f"{way} {service(kind).title} {_mtu(mtu)}"
            for way, by_kind in path.mtu.items()
            for kind, mtu in by_kind.items()
        ),
    }
    for term, value in known.items():
        if value != "":
            yield el("dt", term)
            yield el("dd", value)


def _versions(result: RunResult) -> str:
    return f"{result.near.version} near, {result.far.version} far"


def _mtu(mtu: PathMtu) -> str:
    return f"{mtu.octets:,} octets" + (f" (stopped at {mtu.stopped:,})" if mtu.stopped else "")


def _capital(text: str) -> str:
    """A sentence that stands alone here, and behind a colon elsewhere."""
    return text[:1].upper() + text[1:]
