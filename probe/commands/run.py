"""``probe run``: which packets get through to the far host, and back?"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from probe.result import RunResult
    from probe.run import Request

EPILOG = """\
examples:
  probe run --peer 10.0.0.5                the KB's whole list, both directions
  probe run --peer 10.0.0.5 --only esp,ike --json result.json
  probe run --peer 10.0.0.5 --html report.html --junit report.xml
  probe run --peer 10.0.0.5 --scenario client-to-dc -v
  probe run --peer 10.0.0.5 --no-agent     nothing is installed over there

exit codes: 0 as expected, 1 not as expected, 2 wrong usage, 3 could not be
tested, 130 interrupted
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    run_ = commands.add_parser(
        "run",
        help="test the path to a far host where probe-agent runs",
        description="Exchanges real packets with the agent at --peer and prints what got through.",
        epilog=EPILOG,
    )
    run_.set_defaults(command=run)
    arguments.add_peer(run_)
    run_.add_argument(
        "--no-agent",
        action="store_true",
        help="where no agent can be installed on the far host: tell what its answers prove",
    )
    arguments.add_test(run_)
    arguments.add_reports(run_)
    arguments.add_advice(run_)


def run(options: argparse.Namespace) -> int:
    import asyncio

    from probe.far.keyholder import NoKey, hold
    from probe.run import Session, WrongRequest, exit_code
    from probe.run import run as perform
    from scenarios import ScenarioError

    places = arguments.places(options)
    try:
        output.check_places(places)
        new, held = Session, [b""]
        if options.no_agent:
            from probe.noagent import NoAgentSession

            new = NoAgentSession
        else:
            held = [*hold(options)]
        request = asked_for(options, *held)
        with ExitStack() as stack:
            progress = output.progress(stack)
            finished = asyncio.run(perform(request, progress, new))
    except NoKey as error:
        return output.fail(error.exit_code, error)
    except (ScenarioError, WrongRequest, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    with output.uninterrupted():
        written = output.deliver(finished.result, places, options)
        _advise(finished.result, places, options.advise)
    return exit_code(finished) if written or finished.interrupted else output.WRONG


def asked_for(options: argparse.Namespace, key: bytes, *older: bytes) -> Request:
    """What the options of ``probe run`` and ``probe watch`` ask for."""
    from dataclasses import replace

    from agent.model import Client, Direction
    from probe.drive import Settings
    from probe.plan import ORDER

    both = options.direction == "both"
    return replace(
        to_peer(options, key, *older),
        scenario=options.scenario,
        only=options.only,
        directions=ORDER if both else (Direction(options.direction),),
        strict=options.strict,
        sizes=options.sizes,
        inspect=options.inspect,
        alias=options.alias or "",
        fresh_address=options.fresh == "address",
        settings=Settings(
            options.shots,
            options.timeout,
            options.state_timeout,
            options.fresh == "wait",
            keep="pcap" in arguments.places(options),
            client=Client(options.principal, options.realm),
        ),
    )


def to_peer(options: argparse.Namespace, key: bytes, *older: bytes) -> Request:
    """The far host, and how its agent is to be reached: what :func:`arguments.add_peer` asks.

    WrongRequest where the file for it is none.
    """
    from probe.run import Request, WrongRequest

    ssh = None
    if options.control == "ssh" and not getattr(options, "no_agent", False):
        from probe.far.ssh import NoFile, find_file

        ssh = arguments.ssh(options)
        try:
            find_file(ssh.file)
        except NoFile as error:
            raise WrongRequest(str(error)) from error
    return Request(
        peer=options.peer,
        key=key,
        older_keys=older,
        port=options.port,
        control=options.control,
        ssh=ssh,
        family=options.family,
    )


def _advise(result: RunResult, places: dict[str, str], platform: str | None) -> None:
    """The rules that are missing, behind the table."""
    if platform is None:
        return
    from probe.advise import text

    if text.wanting(result):
        stream = sys.stderr if "-" in places.values() else sys.stdout
        output.say(f"\n{text.rules(result, platform)}", stream)
