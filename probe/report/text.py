"""Text as every report writes it: whole sentences, in lines of a width, that steer nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable


def plain(text: str) -> str:
    """Nothing that a far host says may steer the terminal, or break a file's syntax.

    What is left is legal in XML 1.0 as well, which has no word for control characters.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def wrap(text: str, width: int, prefix: str = "") -> str:
    """``text``, made plain, behind ``prefix``, its further lines indented as far."""
    return textwrap.fill(
        plain(text),
        max(width, 2 * len(prefix), 1),
        initial_indent=prefix,
        subsequent_indent=" " * len(prefix),
        break_on_hyphens=False,
    )


def block(paragraphs: Iterable[tuple[str, str]], width: int) -> str:
    """Paragraphs, each of a prefix and its text, one below the other."""
    return "\n".join(wrap(text, width, prefix) for prefix, text in paragraphs)
