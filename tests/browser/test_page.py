"""The page in a real browser: in a window and on a phone, light and dark, and on paper.

``PROBE_SCREENSHOTS=DIR`` keeps the pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probe.report import matrix
from probe.report.html import render
from probe.result import Verdict
from scenarios import CELLS
from tests.browser.chromium import Browser
from tests.browser.states import HOSTILE, STATES

PHONE, SMALLEST, DESK = 390, 320, 1100  # CSS pixels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    found = {name: place / f"{name}.html" for name in STATES}
    for name, path in found.items():
        path.write_text(render(STATES[name]), "utf-8")
    return found


def keep(name: str, picture: bytes) -> None:
    if place := os.environ.get("PROBE_SCREENSHOTS"):
        Path(place, name).write_bytes(picture)


ROWS = """[...document.querySelectorAll('tbody tr')].map(
    row => [...row.children].map(cell => cell.innerText.trim().replace(/\\s+/g, ' ')))"""


@pytest.mark.parametrize("name", STATES)
def test_the_rows_are_there_and_nothing_else_is_asked_for(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name], width=DESK)
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.complaints() == []
    shown = {row[0]: row[1:] for row in browser.evaluate(ROWS)}
    lines = matrix.lines(STATES[name].conclusions)
    assert len(shown) == len(lines)
    for line in lines:
        words = shown[" ".join(line.name.split())]
        for cell, word in zip(CELLS, words, strict=True):
            assert word.endswith(matrix.word(line.cells[cell]) if cell in line.cells else "")
    heading = browser.evaluate("document.querySelector('h1').innerText")
    assert heading.endswith(matrix.summary(STATES[name]).text)


OVERFLOW = """(() => {
    const wide = document.documentElement.clientWidth;
    return [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('svg') || e.tagName == 'svg' && !e.parentElement.closest('svg'))
        .filter(e => e.getBoundingClientRect().right > wide + 1 || e.scrollWidth > e.clientWidth + 1
            && getComputedStyle(e).display != 'inline')
        .map(e => e.tagName + '.' + e.className + ': ' + e.innerText).concat(
            document.documentElement.scrollWidth > wide ? ['the page'] : []);
})()"""


@pytest.mark.parametrize("width", [SMALLEST, 360, PHONE, 768, DESK])
@pytest.mark.parametrize("name", STATES)
def test_nothing_is_wider_than_the_window(
    name: str, width: int, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name], width=width)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate(OVERFLOW) == []


CONTRASTS = """(() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const ground = e => {
        for (; e; e = e.parentElement) {
            const [r, g, b, a = 1] = parts(getComputedStyle(e).backgroundColor);
            if (a) return [r, g, b];
        }
    };
    const light = c => c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let least = [99, ''];
    for (let node; node = walk.nextNode();) {
        if (!node.textContent.trim() || !node.parentElement.getClientRects().length) continue;
        const [low, high] = [light(parts(getComputedStyle(node.parentElement).color).slice(0, 3)),
            light(ground(node.parentElement))].sort((a, b) => a - b);
        const found = (high + 0.05) / (low + 0.05);
        if (found < least[0]) least = [found, node.textContent];
    }
    return least;
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", STATES)
def test_every_word_stands_out(
    name: str, dark: bool, browser: Browser, pages: dict[str, Path]
) -> None:
    """WCAG 2 AA: 4.5 to 1, as the browser has computed it."""
    browser.open(pages[name], dark=dark)
    ratio, text = browser.evaluate(CONTRASTS)
    assert ratio >= 4.5, text
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark


def test_what_a_host_says_does_nothing(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"])
    assert browser.evaluate("document.title").startswith("FAIL: <script>")
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    assert browser.evaluate("document.body.innerText").count(HOSTILE) >= 5


def test_no_script_would_run_even_if_one_came_in(browser: Browser, tmp_path: Path) -> None:
    """The policy in its head holds by itself: a script put into the page is refused."""
    page = tmp_path / "page.html"
    text = render(STATES["esp-missing"])
    page.write_text(text.replace("</body>", "<script>document.title = 'owned'</script></body>"))
    browser.open(page)
    assert browser.evaluate("document.title").startswith("FAIL: ")
    assert "Content Security Policy" in " ".join(browser.complaints())


def test_what_failed_is_open_and_leads_the_reader(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["esp-missing"])
    opened = "[...document.querySelectorAll('details')].map(d => [d.className, d.open])"
    assert set(map(tuple, browser.evaluate(opened))) == {
        ("fail", True),
        ("pass", False),
        ("skip", False),
    }
    link = "[...document.querySelectorAll('td.pass a')].pop()"
    browser.evaluate(f"{link}.click()")
    shown = f"document.querySelector({link}.getAttribute('href'))"
    assert browser.evaluate(f"{shown}.closest('details').open"), "a cell opens its evidence"


ARROWS = """[...document.querySelectorAll('.track > svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    const at = e => (e.getBoundingClientRect().left + e.getBoundingClientRect().right) / 2;
    const sign = svg.querySelector('svg').firstElementChild;
    return [svg.closest('.track').nextElementSibling.innerText,
        Math.round(100 * (at(sign) - box.left) / box.width)];
})"""


@pytest.mark.parametrize("width", [360, DESK])
@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("esp-missing", {"outbound: lost somewhere between": 50}),
        ("refused", {"inbound: refused by 10.0.0.254": 50, "outbound: reaches far": 97}),
        (
            "host-dropped",
            {"outbound: dropped by far's own firewall": 89, "inbound: reaches near": 3},
        ),
        ("errors-only", {"inbound: never leaves far itself": 92, "outbound: never leaves near": 8}),
        ("nat", {"outbound: arrives, but changed": 89}),
    ],
)
def test_an_arrow_ends_where_it_dies(
    name: str, ends: dict[str, int], width: int, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name], width=width)
    arrows = browser.evaluate(ARROWS)
    for words, place in ends.items():
        found = {share for text, share in arrows if text.startswith(words)}
        assert found
        assert all(abs(share - place) <= 2 for share in found), (words, found)


def png_size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])


def colours(picture: bytes) -> int:
    """How many different octets its rows have: of an empty page, next to none."""
    data, place = b"", 8
    while place < len(picture):
        length = int.from_bytes(picture[place : place + 4])
        if picture[place + 4 : place + 8] == b"IDAT":
            data += picture[place + 8 : place + 8 + length]
        place += 12 + length
    return len(set(zlib.decompress(data)))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("name", STATES)
def test_a_picture_of_it(
    name: str, width: int, dark: bool, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name], width=width, dark=dark)
    picture = browser.screenshot()
    keep(f"{name}-{width}-{'dark' if dark else 'light'}.png", picture)
    wide, high = png_size(picture)
    assert wide <= width
    assert high >= browser.evaluate("document.documentElement.scrollHeight") - 1
    assert colours(picture) > 64


@pytest.mark.parametrize("name", ["esp-missing", "sixty-checks", "all-pass"])
def test_on_paper(name: str, browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """In dark ink on white, and what is folded on a screen is printed."""
    browser.open(pages[name], dark=True)
    document = browser.pdf()
    keep(f"{name}.pdf", document)
    path = tmp_path / "page.pdf"
    path.write_bytes(document)
    assert shutil.which("pdftotext"), "poppler-utils is needed"
    text = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, check=True, text=True
    ).stdout
    words = " ".join(text.split())
    assert matrix.summary(STATES[name]).text in words
    folded = [c for c in STATES[name].conclusions if c.verdict is Verdict.PASS]
    assert words.count("It arrived whole") == len(folded)
    browser.ask("Emulation.setEmulatedMedia", media="print", features=DARK)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == WHITE
    assert browser.evaluate(CONTRASTS)[0] >= 4.5
    assert len(re.findall(rb"/Type\s*/Page\b", document)) >= 1


WHITE = "rgb(255, 255, 255)"
DARK: list[dict[str, Any]] = [{"name": "prefers-color-scheme", "value": "dark"}]
