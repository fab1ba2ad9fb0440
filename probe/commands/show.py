"""``probe show``: a saved run once more, as a table or in any other form."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from probe import arguments, output
from probe.report import PACKETS

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

EPILOG = """\
examples:
  probe show result.json
  probe show result.json --html report.html
  probe show - --junit report.xml    what `probe run --json -` prints elsewhere

exit codes: 0 shown, whatever the run concluded; 2 the file is wrong
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    show = commands.add_parser(
        "show",
        help="show a saved run again, or write it in another form",
        description="Draws what `probe run --json FILE` saved. Sends nothing.",
        epilog=EPILOG,
    )
    show.set_defaults(command=run)
    show.add_argument("file", metavar="FILE", help="a saved run; - is standard input")
    arguments.add_verbosity(show)
    arguments.add_reports(show, without=PACKETS)


def run(options: argparse.Namespace) -> int:
    from probe.report.saved import SavedError, read

    places = arguments.places(options)
    try:
        output.check_places(places)
        result = read(options.file)
    except (SavedError, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    written = output.deliver(result, places, options)
    return 0 if written else output.WRONG
