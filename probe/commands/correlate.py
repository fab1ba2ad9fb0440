"""``probe correlate``: two records that were made without contact, judged together."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from agent.record.file import Record

DESCRIPTION = """\
Judges what `probe record` on the near host and `probe-agent --record` on the far one wrote at
the same hour, where the two could not talk to each other at all.
"""
EPILOG = """\
examples:
  probe record near.rec --peer 10.0.0.5 --at +10m
      says what to start on the far host, waits for the hour, and records
  probe correlate near.rec far.rec
      when both files are in one place

exit codes: as those of `probe run`
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    correlate = commands.add_parser(
        "correlate",
        help="judge two records that were made without contact",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    correlate.set_defaults(command=run)
    add_option = correlate.add_argument
    add_option("records", nargs=2, metavar="FILE", help="near's and far's, in any order")
    add_option("--key", metavar="FILE", help="the key that they were made with")
    add_option("--scenario", metavar="NAME|FILE", help="where near's is not found by its name")
    add_option("--strict", action="store_true", help="what state may have let through is a failure")
    add_option("-q", "--quiet", action="store_true", help="print the summary line only")
    add_option("-v", "--verbose", action="store_true", help="show what was seen of each shot")
    arguments.add_reports(correlate)


def run(options: argparse.Namespace) -> int:
    from agent.access import keys
    from agent.errors import AgentError
    from probe.record.joined import NoPair, conclude, pair
    from probe.run import Finished, exit_code
    from scenarios import ScenarioError, load

    places = arguments.places(options)
    try:
        output.check_places(places)
        known = keys.every(options.key, os.environ)
        near, far = pair(_read([Path(name) for name in options.records], known))
        scenario = load(options.scenario or near.scenario)
        finished = Finished(conclude(near, far, scenario, strict=options.strict))
    except (AgentError, NoPair, ScenarioError, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    written = output.deliver(finished.result, places, options)
    return exit_code(finished) if written else output.WRONG


def _read(paths: list[Path], known: tuple[bytes, ...]) -> list[Record]:
    """Made with one and the same key: with another, neither host can have known the other's shots,
    and who holds another may say what he likes.
    """
    from agent.record.file import MAX_OCTETS, RecordError, decode

    found: list[Record] = []
    made_with: set[bytes] = set()
    for path in paths:
        try:
            with path.open("rb") as file:
                record, key = decode(file.read(MAX_OCTETS), known)
        except OSError as error:
            raise RecordError(f"{path}: {error.strerror or error}") from None
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from None
        found.append(record)
        made_with.add(key)
    if len(made_with) > 1:
        raise RecordError(
            f"{' and '.join(map(str, paths))} were made with two different keys; start the far "
            "host with the --key-id that `probe record` says"
        )
    return found
