"""``probe trace``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

DESCRIPTION = """\
Sends shots with a rising TTL from both ends, of the kind that does not get through and of one that
does, and tells hop by hop how far each came: which router forwarded it last, and which should have
got it and did not.
"""
EPILOG = """\
examples:
  probe trace --peer 10.0.0.5 --kind esp   where does ESP die?
  probe trace --peer 10.0.0.5              finds out first which of the KB's
                                           kinds fails, and walks its way

A router that answers for a hop has received the shot; that it forwarded it is
known only from the hops behind it. Routers limit how often they answer, so
silent hops are asked again, a second apart.

exit codes: 0 it gets through in both directions, 1 it dies somewhere, 2 wrong
usage, 3 could not be tested, 130 interrupted
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    trace = commands.add_parser(
        "trace",
        help="where on the path does a kind of packet die? hop by hop, from both ends",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    trace.set_defaults(command=run)
    option = trace.add_argument
    arguments.add_peer(trace)
    option("--kind", type=arguments.kind, help="default: the first of the KB's that fails")
    option(
        "--timeout",
        type=arguments.wait,
        default=1.0,
        metavar="S",
        help="silence counts after S seconds (default: 1)",
    )
    option(
        "--max-hops",
        type=arguments.hops,
        default=30,
        metavar="N",
        help="go no further than N hops (default: 30)",
    )
    option("--names", action="store_true", help="ask the resolver for the routers' names")
    option("--json", metavar="FILE|-", help="write JSON; the table goes to stderr for -")


def run(options: argparse.Namespace) -> int:
    import asyncio
    from dataclasses import replace

    from probe.commands.run import to_peer
    from probe.drive import Settings
    from probe.far.keyholder import NoKey, hold
    from probe.report import trace as report
    from probe.run import WrongRequest
    from probe.trace.walk import TraceRequest, exit_code, trace
    from scenarios import ScenarioError

    try:
        output.check_places(arguments.places(options))
        settings = Settings(wait=options.timeout)
        request = TraceRequest(
            replace(to_peer(options, *hold(options)), settings=settings),
            options.kind,
            options.max_hops,
            options.names,
        )
        with ExitStack() as stack:
            progress = output.progress(stack)
            traced = asyncio.run(trace(request, progress))
    except NoKey as error:
        return output.fail(error.exit_code, error)
    except (ScenarioError, WrongRequest, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    with output.uninterrupted():
        found = traced.result
        drawn = bool(found.ways)
        written = output.present(found, report, traced.error, options.json, drawn=drawn)
    return exit_code(traced) if written or traced.interrupted else output.WRONG
