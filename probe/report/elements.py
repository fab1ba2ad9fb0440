"""Elements of a page: text in them is text, whatever it says."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from probe.report.text import plain

_BLOCKS = {"head", "body", "header", "section", "table", "tr", "div", "svg", "details", "p", "li"}


def el(tag: str, *children: str | Element | None, **attributes: str) -> Element:
    """``class_`` and ``http_equiv`` stand for what is no name in Python. None is left out."""
    made = Element(
        tag,
        {name.rstrip("_").replace("_", "-"): plain(value) for name, value in attributes.items()},
    )
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + plain(child)
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + plain(child)
    if tag in _BLOCKS:
        made.tail = "\n"  # a line each, for those who compare two pages
    return made
