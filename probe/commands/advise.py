"""``probe advise``: from a saved run to the rules that are missing, in a firewall's own words."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from probe.result import RunResult

EPILOG = """\
examples:
  probe advise result.json                       what to do, in plain sentences
  probe advise result.json --platform nftables   the rules, to be pasted
  probe advise --list                            the platforms

The same at the end of a run: probe run --peer 10.0.0.5 --advise nftables

exit codes: 0 nothing to mend, 1 there is advice, 2 wrong usage or file,
3 nothing can be advised: what failed could not be tested
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    advise = commands.add_parser(
        "advise",
        help="the rules that are missing, for your firewall",
        description="Says which rules would turn what failed in a saved run (`probe run --json "
        "FILE`): the fewest, for this run's addresses and ports alone. Sends nothing and changes "
        "nothing.",
        epilog=EPILOG,
    )
    advise.set_defaults(command=run)
    advise.add_argument("file", nargs="?", metavar="FILE", help="a saved run; - is standard input")
    advise.add_argument(
        "--platform",
        type=arguments.platform,
        metavar="PLATFORM",
        help="write the rules for this firewall",
    )
    advise.add_argument("--list", action="store_true", help="list the platforms")


def run(options: argparse.Namespace) -> int:
    from probe.report.saved import SavedError, read

    if options.list:
        return _list()
    if options.file is None:
        return output.fail(output.WRONG, "advise: which run? Name a file that --json has written")
    try:
        result = read(options.file)
    except SavedError as error:
        return output.fail(output.WRONG, error)
    return show(result, options.platform)


def show(result: RunResult, platform: str | None) -> int:
    """Prints the advice; returns the exit code."""
    from probe.advise import text

    if text.settled(result):
        output.say(text.NOTHING)
        return 0
    if not text.wanting(result):
        output.say(text.UNTESTED)
        return output.UNTESTED
    output.say(text.rules(result, platform) if platform else text.sentences(result))
    return 1


def _list() -> int:
    from probe.advise import platforms

    for name in platforms.names():
        output.say(f"{name:<12} {platforms.load(name).TITLE}")
    return 0
