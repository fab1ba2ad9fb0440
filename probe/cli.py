"""``probe``: the commands, and what they return.

Exit codes: 0 every check is as expected; 1 at least one is not; 2 the command line or a file is
wrong; 3 it could not be tested; 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from agent import __version__
from probe import arguments, output, state_command, trace_command

if TYPE_CHECKING:
    from probe.run import Finished, Request

WRONG, UNTESTED, INTERRUPTED = 2, 3, 130
DIRECTIONS = ("outbound", "inbound", "both")

EPILOG = """\
examples:
  probe run --peer 10.0.0.5            the KB's whole list, in both directions
  probe run --peer 10.0.0.5 --only esp,ike --json result.json
  probe trace --peer 10.0.0.5 --kind esp   where on the path does ESP die?
  probe state --peer 10.0.0.5 --kind esp   how long does the way back stay open?
  probe lab --firewall esp-missing     the same, on this machine, through a firewall of its own
  probe lab --firewall my-rules.nft    your own rules, before they go live

exit codes: 0 as expected, 1 not as expected, 2 wrong usage, 3 could not be tested, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    output.prepare()
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except KeyboardInterrupt:
        return output.fail(INTERRUPTED, "interrupted")
    except OSError as error:
        return output.fail(WRONG, f"cannot write the output: {error.strerror or error}")
    finally:
        for stream in (sys.stdout, sys.stderr):
            output.flush(stream)
        gc.freeze()  # the process ends: a last search for garbage would take a tenth of a run


# -- the command line --------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="probe",
        description="Which IPsec and Kerberos packets get through this firewall, in each "
        "direction, for a new flow and for a reply? Asks an agent on the far side (probe-agent).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"probe {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="test the path to a far host where probe-agent runs",
        description="Exchanges real packets with the agent at --peer and prints what got through.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(command=_run)
    arguments.add_peer(run)
    _add_test_options(run)

    trace_command.add(commands)
    state_command.add(commands)

    lab = commands.add_parser(
        "lab",
        help="the same run on this one machine, through a real firewall in the middle",
        description="Builds near | firewall | far in network namespaces, loads an nftables rule "
        "set in the middle, runs agent and probe for real, and leaves nothing behind.",
    )
    lab.set_defaults(command=_lab)
    lab.add_argument(
        "--firewall",
        default="kb233256",
        metavar="NAME|FILE.nft",
        help="a ready-made firewall, or your own rules (default: kb233256)",
    )
    lab.add_argument("--list", action="store_true", help="list the ready-made firewalls")
    lab.add_argument("-6", dest="family", action="store_const", const=6, default=4, help="use IPv6")
    _add_test_options(lab)

    scenarios = commands.add_parser("scenarios", help="list the scenarios, or show one")
    scenarios.set_defaults(command=_scenarios)
    scenarios.add_argument("action", nargs="?", choices=("show",))
    scenarios.add_argument("name", nargs="?", metavar="NAME")

    keygen = commands.add_parser("keygen", help="write a new shared key")
    keygen.set_defaults(command=_keygen)
    keygen.add_argument("file", nargs="?", metavar="FILE", help="default: /etc/probe/key as root")
    return parser


def _add_test_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--scenario", default="kb233256", metavar="NAME|FILE", help="default: kb233256")
    add("--only", type=arguments.kinds, default=(), metavar="KIND,…", help="only these kinds")
    add("--direction", choices=DIRECTIONS, default="both", help="of the new flows (default: both)")
    add("--json", metavar="FILE|-", help="write the result as JSON; the table goes to stderr for -")
    add("--strict", action="store_true", help="what state may have let through is a failure")
    add(
        "--state-timeout",
        type=arguments.state_timeout,
        default=600.0,
        metavar="S",
        help="how long a firewall may remember a flow (default: 600)",
    )
    add(
        "--fresh",
        choices=("wait", "address"),
        help="a clean tuple for ESP, AH and IKE: wait until firewalls have forgotten, or take a "
        "temporary IPv6 address",
    )
    add(
        "--alias",
        metavar="ADDR",
        type=arguments.address,
        help="the same by a further address of this host",
    )
    add(
        "--timeout",
        type=arguments.wait,
        default=1.0,
        metavar="S",
        help="silence counts after S seconds",
    )
    add("--sizes", action="store_true", help="also send what is large in real life, in fragments")
    add("--inspect", action="store_true", help="also send noise: does something read the payload?")
    add(
        "--shots",
        type=arguments.shots,
        default=3,
        metavar="N",
        help="packets of each check (default: 3)",
    )


# -- commands ----------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from agent import keys
    from agent.errors import KeyFileError
    from probe.run import WrongRequest, exit_code, run
    from scenarios import ScenarioError

    try:
        output.check_place(options.json)
        request = _request(options, keys.find(options.key, os.environ)[1])
        with ExitStack() as stack:
            progress = output.progress(stack)
            finished = asyncio.run(run(request, progress))
    except (KeyFileError, ScenarioError, WrongRequest, output.NoPlace) as error:
        return output.fail(WRONG, error)
    # The run is over. What is left is quick, and a second Ctrl-C must not tear it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        written = _show(finished, options.json)
    finally:
        signal.signal(signal.SIGINT, before)
    return exit_code(finished) if written or finished.interrupted else WRONG


def _request(options: argparse.Namespace, key: bytes) -> Request:
    from agent.model import Direction
    from probe.drive import Settings
    from probe.plan import ORDER
    from probe.run import Request

    both = options.direction == "both"
    return Request(
        peer=options.peer,
        key=key,
        port=options.port,
        family=options.family,
        scenario=options.scenario,
        only=options.only,
        directions=ORDER if both else (Direction(options.direction),),
        strict=options.strict,
        sizes=options.sizes,
        inspect=options.inspect,
        alias=options.alias or "",
        fresh_address=options.fresh == "address",
        settings=Settings(
            options.shots, options.timeout, options.state_timeout, options.fresh == "wait"
        ),
    )


def _show(finished: Finished, json_to: str | None) -> bool:
    """False when the JSON could not be written after all."""
    from probe.report import json, table

    stream = sys.stderr if json_to == "-" else sys.stdout
    written = (
        json_to is None or json_to == "-" or output.write(json_to, json.render(finished.result))
    )
    if finished.error:
        output.say(f"probe: {finished.error}", sys.stderr)
    seen = any(conclusion.shots for conclusion in finished.result.conclusions)
    if seen or not finished.error:
        width = output.width(stream)
        colour = table.wants_colour(stream, os.environ)
        output.say(table.render(finished.result, colour=colour, width=width), stream)
    if json_to == "-":
        output.say(json.render(finished.result))
    return written


def _lab(options: argparse.Namespace) -> int:
    import textwrap

    from probe.lab import LabError, firewall_names, load_firewall, run_lab

    try:
        if options.list:
            for name in firewall_names():
                about = f"{name:<18} {load_firewall(name).description}"
                output.say(textwrap.fill(about, 79, subsequent_indent=" " * 19))
            return 0
        return run_lab(
            load_firewall(options.firewall), options.scenario, options.family, _passed_on(options)
        )
    except LabError as error:
        return output.fail(error.exit_code, error)


def _passed_on(options: argparse.Namespace) -> list[str]:
    """The options that `probe lab` hands to the `probe run` inside."""
    passed = [
        f"--direction={options.direction}",
        f"--state-timeout={options.state_timeout}",
        f"--timeout={options.timeout}",
        f"--shots={options.shots}",
    ]
    if options.only:
        passed.append(f"--only={','.join(options.only)}")
    if options.json:
        passed.append(f"--json={options.json}")
    if options.strict:
        passed.append("--strict")
    if options.sizes:
        passed.append("--sizes")
    if options.inspect:
        passed.append("--inspect")
    if options.fresh:
        passed.append(f"--fresh={options.fresh}")
    if options.alias:
        passed.append(f"--alias={options.alias}")
    return passed


def _scenarios(options: argparse.Namespace) -> int:
    from scenarios import ScenarioError, load, names

    try:
        if options.action is None:
            for name in names():
                output.say(f"{name:<16} {load(name).title}")
            return 0
        if options.name is None:
            return output.fail(WRONG, "scenarios show: which one? `probe scenarios` lists them")
        scenario = load(options.name)
    except ScenarioError as error:
        return output.fail(WRONG, error)
    output.say(f"{scenario.title}\n\n{scenario.description.strip()}\n")
    for row in scenario.rows:
        output.say(f"  {row.label or row.kind:<20} {row.direction}")
    return 0


def _keygen(options: argparse.Namespace) -> int:
    from agent import keys
    from agent.errors import KeyFileError

    places = keys.candidates(options.file, os.environ)
    path = places[-1] if os.geteuid() == 0 else places[0]
    try:
        keys.create(path)
    except KeyFileError as error:
        return output.fail(WRONG, error)
    output.say(f"wrote a new key to {path}; the other host needs the same file, mode 0600")
    return 0
