"""``probe keygen``: a new shared key."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from probe import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction


EPILOG = """\
examples:
  probe keygen             where both programs look for it first
  probe keygen lab.key     elsewhere: name it with --key
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    keygen = commands.add_parser(
        "keygen",
        help="write a new shared key",
        description="Writes a new shared key. Copy it to the other host, mode 0600.",
        epilog=EPILOG,
    )
    keygen.set_defaults(command=run)
    keygen.add_argument("file", nargs="?", metavar="FILE", help="default: /etc/probe/key as root")


def run(options: argparse.Namespace) -> int:
    from agent import keys
    from agent.errors import KeyFileError

    places = keys.candidates(options.file, os.environ)
    path = places[-1] if os.geteuid() == 0 else places[0]
    try:
        keys.create(path)
    except KeyFileError as error:
        return output.fail(output.WRONG, error)
    output.say(f"wrote a new key to {path}; the other host needs the same file, mode 0600")
    return 0
