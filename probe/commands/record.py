"""``probe record``: near's half of a run in which the two ends have no contact."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from agent.record.file import Record
    from probe.run import Request

DESCRIPTION = """\
For hosts that cannot talk to each other at all. Says what to start on the far host, waits for the
hour, sends and listens as the schedule has it, and writes what was seen. The far host does the same
by its own clock; `probe correlate` then judges both records.
"""
EPILOG = """\
examples:
  probe record near.rec --peer 10.0.0.5 --at +10m
  probe record near.rec --peer 10.0.0.5 --at 18:30 --scenario site-to-site
  probe correlate near.rec far.rec     when both files are in one place

exit codes: 0 recorded, 2 wrong usage, 3 it could not be recorded, 130
interrupted; what was seen so far is written, and says that it is not complete
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    record = commands.add_parser(
        "record",
        help="test without any contact to the far host, at an agreed hour",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    record.set_defaults(command=run)
    add_option = record.add_argument
    add_option("file", metavar="FILE", help="where the record is written")
    arguments.add_host(record)
    add_option(
        "--at",
        required=True,
        metavar="TIME",
        help="when: +5m, 18:30 (local time), or 2026-01-31T18:30:00Z",
    )
    add_option(
        "--slack",
        type=arguments.slack,
        default=5.0,
        metavar="S",
        help="how far the two hosts' clocks may be apart (default: 5)",
    )
    add_option("--scenario", default="kb233256", metavar="NAME|FILE", help="default: kb233256")
    add_option("--only", type=arguments.kinds, default=(), metavar="KIND,…", help="only these")
    add_option(
        "--state-timeout",
        type=arguments.state_timeout,
        default=600.0,
        metavar="S",
        help="how long a firewall may remember a flow (default: 600)",
    )
    add_option(
        "--shots",
        type=arguments.shots,
        default=16,
        metavar="N",
        help="packets of each check (default: 16: nobody can ask again)",
    )


def run(options: argparse.Namespace) -> int:
    import time

    from agent.errors import AgentError
    from agent.record.file import encode
    from agent.record.schedule import moment
    from probe.far.dial import ProbeError
    from probe.far.keyholder import NoKey, find
    from probe.run import Request, WrongRequest
    from scenarios import ScenarioError

    try:
        output.check_place(options.file, options.file)
        now = time.time()
        at = moment(options.at, now)
        if at < now:
            return output.fail(
                output.WRONG, f"--at {options.at}: that hour is over; agree on a later one"
            )
        request = Request(
            peer=options.peer,
            key=find(options)[0],
            family=options.family,
            scenario=options.scenario,
            only=options.only,
        )
        made = _record(request, at, options)
    except NoKey as error:
        return output.fail(error.exit_code, error)
    except (ScenarioError, WrongRequest, ValueError, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    except (AgentError, ProbeError) as error:
        return output.fail(output.UNTESTED, error)
    with output.uninterrupted():
        if not output.write(options.file, encode(made, request.key)):
            return output.WRONG
    if not made.complete:
        return output.fail(output.INTERRUPTED, "interrupted; the record says so")
    output.say(
        f"wrote {options.file}. When far's record is here as well:\n"
        f"  probe correlate {options.file} far.rec"
    )
    return 0


def _record(request: Request, at: float, options: argparse.Namespace) -> Record:
    import asyncio
    from dataclasses import replace

    from agent.record.schedule import Terms
    from probe.record.near import record

    def say(orders: str) -> None:
        output.say_above(f"On the far host, start:\n\n  {orders}\n", sys.stdout)

    settings = replace(request.settings, state_timeout=options.state_timeout)
    terms = Terms(at, options.shots, options.slack)
    with ExitStack() as stack:
        progress = output.progress(stack)
        return asyncio.run(record(replace(request, settings=settings), terms, say, progress))
