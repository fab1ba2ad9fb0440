"""``probe scenarios``: what there is to be tested, and what one of them asks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from probe import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction


EPILOG = """\
examples:
  probe scenarios                  what comes with the program
  probe scenarios show dc-to-dc    what that one sends, and why
  probe scenarios show mine.toml   is my own file right?
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    scenarios = commands.add_parser(
        "scenarios",
        help="list the scenarios, or show one",
        description="A scenario says what to send and what to expect of it.",
        epilog=EPILOG,
    )
    scenarios.set_defaults(command=run)
    scenarios.add_argument("action", nargs="?", choices=("show",))
    scenarios.add_argument("name", nargs="?", metavar="NAME|FILE")


def run(options: argparse.Namespace) -> int:
    from scenarios import ScenarioError, load, names

    try:
        if options.action is None:
            for name in names():
                output.say(f"{name:<16} {load(name).title}")
            return 0
        if options.name is None:
            return output.fail(
                output.WRONG, "scenarios show: which one? `probe scenarios` lists them"
            )
        scenario = load(options.name)
    except ScenarioError as error:
        return output.fail(output.WRONG, error)
    from probe.report.text import wrap

    told = [scenario.title, *scenario.description.strip().split("\n\n")]
    columns = output.width(sys.stdout)
    output.say("\n\n".join(wrap(" ".join(text.split()), columns) for text in told if text) + "\n")
    for row in scenario.rows:
        output.say(f"  {row.label or row.kind:<20} {row.direction}")
    return 0
