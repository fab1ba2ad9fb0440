"""The firewalls that advice can be written for: one module each, found by its file's name.

A new platform is a new file here with ``TITLE``, ``COMMENT``, ``SOURCES`` and ``write(rules)``; its
name is the file's, with dashes. ``write`` yields the lines, comments with ``COMMENT`` in front. The
rules come in the order in which they are to be tried.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol, cast

from probe.advise.rule import Rule


class Platform(Protocol):
    """What a platform's module has."""

    TITLE: str
    COMMENT: str  # what begins a line that is no command
    SOURCES: tuple[str, ...]  # the vendor's documents that its syntax and its facts are from

    def write(self, rules: Sequence[Rule]) -> Iterator[str]: ...


class UnknownPlatform(Exception):
    """There is no advice for that. The text is fit for a user."""


def names() -> tuple[str, ...]:
    """As ``--platform`` takes them."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)))


def load(name: str) -> Platform:
    """The platform of that name. UnknownPlatform proposes one that is like it."""
    if name not in names():
        raise UnknownPlatform(_unknown(name))
    return cast(Platform, import_module(f"{__name__}.{name.replace('-', '_')}"))


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower().replace("_", "-"), names(), n=1)
    near = near or [n for n in names() if name.lower() and name.lower() in n][:1]
    if near:
        return f"there is no platform {name!r}; did you mean {near[0]!r}?"
    return f"there is no platform {name!r}; there are {', '.join(names())}"
