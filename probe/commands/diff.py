"""``probe diff``: what changed between two saved runs?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from probe import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

DESCRIPTION = """\
Compares two results that `probe run --json FILE` saved, check by check: what is
worse, what cannot be told, what is better, what changed otherwise.
"""
EPILOG = """\
examples:
  probe run --peer 10.0.0.5 --json before.json
      and then, when the firewall has been changed
  probe run --peer 10.0.0.5 --fresh wait --json after.json
  probe diff before.json after.json

A firewall goes on passing what it tracks after its rule is gone, so a check
that was proved before and is pass* after cannot be told: --fresh wait, or
another address (--alias), asks on a clean path. What was not observed is no
change of the firewall either.

exit codes: 0 nothing is worse, 1 something is worse, 2 a file is wrong,
3 nothing is known to be worse, but of something it cannot be told
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    diff = commands.add_parser(
        "diff",
        help="what changed between two saved runs?",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    diff.set_defaults(command=run)
    diff.add_argument("before", metavar="BEFORE", help="a saved run; - is standard input")
    diff.add_argument("after", metavar="AFTER", help="another, of later")
    diff.add_argument("--json", metavar="FILE|-", help="write JSON; for - the text goes to stderr")
    diff.add_argument("-q", "--quiet", action="store_true", help="print the summary line only")


def run(options: argparse.Namespace) -> int:
    from probe.compare import Change, compare
    from probe.report import diff
    from probe.report.saved import SavedError, read

    places = {} if options.json is None else {"json": options.json}
    try:
        output.check_places(places)
        if options.before == options.after == "-":
            raise SavedError("only one of the two can be standard input")
        found = compare(read(options.before), read(options.after))
    except (SavedError, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    to_stdout = options.json == "-"
    stream = sys.stderr if to_stdout else sys.stdout
    written = not places or to_stdout or output.write(options.json, diff.render_json(found))
    colour = output.wants_colour(stream)
    if options.quiet:
        output.say(diff.summary(found, colour=colour, width=output.UNFOLDED), stream)
    else:
        output.say(diff.render(found, colour=colour, width=output.width(stream)), stream)
    if to_stdout:
        output.emit(diff.render_json(found))
    if not written:
        return output.WRONG
    changes = {difference.change for difference in found.differences}
    if Change.WORSE in changes:
        return 1
    return output.UNTESTED if Change.UNCLEAR in changes or not changes else 0
