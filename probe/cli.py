"""``probe``: the commands, and what they return.

Exit codes: 0 every check is as expected; 1 at least one is not; 2 the command line or a file is
wrong; 3 it could not be tested; 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from agent import __version__
from agent.arguments import Parser
from probe import output
from probe.arguments import settle
from probe.commands import NAMES

EPILOG = """\
examples:
  probe run --peer 10.0.0.5                the KB's whole list, both directions
  probe run --peer 10.0.0.5 --only esp,ike --json result.json
  probe trace --peer 10.0.0.5 --kind esp   where on the path does ESP die?
  probe state --peer 10.0.0.5 --kind esp   how long is the way back open?
  probe watch --peer 10.0.0.5              tell me when something changes
  probe lab --firewall my-rules.nft        your own rules, on this machine

`probe COMMAND --help` says more of each.

exit codes: 0 as expected, 1 not as expected, 2 wrong usage, 3 could not be
tested, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    output.prepare()
    try:
        options = parser().parse_args(arguments)
        if wrong := settle(options):
            return output.fail(output.WRONG, wrong)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except KeyboardInterrupt:
        return output.fail(output.INTERRUPTED, "interrupted")
    except BrokenPipeError:  # argparse prints the help, and its reader may be gone
        output.silence(sys.stdout)
        return 0
    except OSError as error:
        return output.fail(output.WRONG, f"cannot write the output: {error.strerror or error}")
    finally:
        for stream in (sys.stdout, sys.stderr):
            output.flush(stream)
        gc.freeze()  # the process ends: a last search for garbage would take a tenth of a run


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="probe",
        description="Which IPsec and Kerberos packets get through this firewall, in each "
        "direction, for a new flow and for a reply? Asks an agent on the far side (probe-agent).",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"probe {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in NAMES:
        import_module(f"probe.commands.{name}").add(commands)
    return parser
