"""The parser of both command lines: what is misspelt is answered with what was meant."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import Any, NoReturn

_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")
_UNKNOWN = re.compile(r"unrecognized arguments: (--?[^ =]+)")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal: argparse makes one with every option, also where nobody asks for
    help, and would have shutil find the width, with all the archive formats that shutil imports.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


class Parser(argparse.ArgumentParser):
    """Its sub-commands are parsers of the same kind. Exit code 2 for a wrong command line.

    The description is wrapped, the epilog stays as it is written.
    """

    def __init__(self, *, description: str | None = None, **options: Any) -> None:
        text = textwrap.fill(" ".join(description.split()), 79) if description else None
        options.setdefault("formatter_class", Formatter)
        super().__init__(description=text, **options)

    def error(self, message: str) -> NoReturn:
        super().error(message + self._meant(message))

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Nothing is left over for the parser above, which would not know what was meant."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _meant(self, message: str) -> str:
        if choice := _CHOICE.search(message):
            return like(choice[1], re.findall(r"[^\s',]+", choice[2]))
        if unknown := _UNKNOWN.search(message):
            options = [name for action in self._actions for name in action.option_strings]
            return like(unknown[1], options)
        return ""


def _columns() -> int:
    """As shutil.get_terminal_size has it."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # no standard output, or no terminal
        return 80


def like(word: str, known: Iterable[str]) -> str:
    """``; did you mean …?``, or nothing where no known word is like it."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
