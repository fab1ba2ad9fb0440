"""One arrow of the picture, from the host that sends to the place where it ends. In SVG.

Places across are percentages and the rest are pixels, so that a track fits a phone and a sheet of
paper without its signs being scaled. Below each other the tracks' bands make the two hosts.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from agent.model import Direction
from probe.report.elements import el
from probe.report.path import Arrow, Stop
from probe.result import Outcome

# Percent of the way from the outer edge of the host that sends to that of the one that should get.
BAND = 14.0  # how wide a host is
START = 3.0
ENDS = {
    Stop.ORIGIN: 8.0,
    Stop.BETWEEN: 50.0,
    Stop.UNKNOWN: 50.0,
    Stop.HOST: 89.0,
    Stop.SOCKET: 97.0,
}
_MIDDLE = "50%"  # down
_DASHED = (Outcome.STATE_POSSIBLE, Outcome.LOSSY, Outcome.UNOBSERVED)


def draw(arrow: Arrow) -> Element:
    """Hidden from a screen reader: the words beside it say the same."""
    conclusion = arrow.conclusion
    back = conclusion.check.direction is Direction.INBOUND
    end = ENDS[arrow.stop]
    dashed = " dashed" if conclusion.outcome in _DASHED else ""
    return el(
        "svg",
        _band("0%"),
        _band(f"{100 - BAND:g}%"),
        _line(end, ENDS[Stop.SOCKET], back, "rest") if arrow.stop is not Stop.SOCKET else None,
        _line(START, end, back, f"line{dashed}"),
        _at(end, back, *_sign(arrow, back)),
        aria_hidden="true",
        class_=conclusion.verdict,
    )


def _band(left: str) -> Element:
    return el("rect", x=left, y="0", width=f"{BAND:g}%", height="100%", class_="band")


def _line(start: float, end: float, back: bool, class_: str) -> Element:
    ends = {"x1": _place(start, back), "x2": _place(end, back)}
    return el("line", **ends, y1=_MIDDLE, y2=_MIDDLE, class_=class_)


def _at(place: float, back: bool, *signs: Element) -> Element:
    """The signs around a place on the line, which is their origin."""
    return el("svg", *signs, x=_place(place, back), y=_MIDDLE, overflow="visible")


def _place(share: float, back: bool) -> str:
    return f"{100 - share if back else share:g}%"


def _sign(arrow: Arrow, back: bool) -> list[Element]:
    """A head where it gets through, a cross where it dies, a barred circle where it is refused."""
    outcome = arrow.conclusion.outcome
    if outcome is Outcome.ALTERED:
        return [_halo(), el("text", "≠", text_anchor="middle", y="5")]
    if arrow.stop is Stop.SOCKET:
        tip, tail = (-4, 6) if back else (4, -6)
        return [el("path", d=f"M{tip},0 L{tail},-6 L{tail},6 Z", class_="head")]
    if outcome is Outcome.UNOBSERVED:
        return [_halo(), el("text", "?", text_anchor="middle", y="5")]
    if outcome is Outcome.REFUSED:
        return [
            _halo(),
            el("circle", r="6", class_="mark"),
            el("path", d="M-4,4 L4,-4", class_="mark"),
        ]
    return [_halo(), el("path", d="M-5,-5 L5,5 M-5,5 L5,-5", class_="mark")]


def _halo() -> Element:
    return el("circle", r="9", class_="halo")
