"""``probe state``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

DESCRIPTION = """\
Is the way back (from the far host to this one) open only as a reply, and for
how long after the last packet? Opens a flow, is silent, has the far host reply
late, and finds by waiting when the firewall has forgotten: how often a
keepalive must be sent.
"""
EPILOG = """\
examples:
  probe state --peer 10.0.0.5 --kind esp
      how long does ESP get back in?
  probe state --peer 10.0.0.5 --kind esp-in-udp
      how often is a NAT keepalive needed?
  probe state --peer 10.0.0.5 --kind ike --max 300 --one-way
      looks further, and at flows that got no answer

--max is the longest single silence. The whole takes about two to three times
that, and --one-way up to as much again; Ctrl-C prints what is known by then.
Keep other traffic of that kind between the two hosts away meanwhile.

exit codes: 0 the way back is open (for replies, or for anything), 1 it is
closed, 2 wrong usage, 3 could not be told, 130 interrupted
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    state = commands.add_parser(
        "state",
        help="how long after the last packet does a firewall still let replies in?",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    state.set_defaults(command=run)
    option = state.add_argument
    arguments.add_peer(state)
    option(
        "--kind",
        required=True,
        type=arguments.kind,
        help="esp, ah, ike, ike-nat-t, esp-in-udp, kerberos-udp or udp:PORT",
    )
    option(
        "--max",
        type=arguments.silence,
        default=60.0,
        metavar="SECONDS",
        help="be silent no longer than this at a time (default: 60)",
    )
    option(
        "--one-way",
        action="store_true",
        help="also for a flow that got no answer, which many firewalls forget sooner",
    )
    option(
        "--wait",
        action="store_true",
        help="where earlier traffic may be remembered, first wait until it is forgotten",
    )
    option(
        "--state-timeout",
        type=arguments.state_timeout,
        default=600.0,
        metavar="S",
        help="how long a firewall may remember earlier traffic (default: 600)",
    )
    option(
        "--timeout",
        type=arguments.wait,
        default=1.0,
        metavar="S",
        help="a reply is missing after S seconds (default: 1)",
    )
    option("--json", metavar="FILE|-", help="write JSON; the report goes to stderr for -")


def run(options: argparse.Namespace) -> int:
    import asyncio
    from dataclasses import replace

    from probe.commands.run import to_peer
    from probe.drive import Settings
    from probe.far.keyholder import NoKey, hold
    from probe.report import state as report
    from probe.run import WrongRequest
    from probe.state.conduct import StateRequest, exit_code, measure

    try:
        output.check_places(arguments.places(options))
        settings = Settings(wait=options.timeout, state_timeout=options.state_timeout)
        request = StateRequest(
            replace(to_peer(options, *hold(options)), settings=settings),
            options.kind,
            options.max,
            options.one_way,
            options.wait,
        )
        with ExitStack() as stack:
            progress = output.progress(stack)
            measured = asyncio.run(measure(request, progress))
    except NoKey as error:
        return output.fail(error.exit_code, error)
    except (WrongRequest, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    with output.uninterrupted():
        found = measured.result
        drawn = bool(found.finding.trials)
        written = output.present(found, report, measured.error, options.json, drawn=drawn)
    return exit_code(measured) if written or measured.interrupted else output.WRONG
