"""``probe lab``: the same run as ``probe run``, on this one machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from probe import arguments, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction


EPILOG = """\
examples:
  probe lab --list                        the firewalls there are
  probe lab --firewall esp-missing        what does a missing rule look like?
  probe lab --firewall my-rules.nft -6    your own rules, in IPv6
  probe lab --firewall my-rules.nft --scenario client-to-dc --direction outbound

In your rules near is behind the interface near0 and far behind far0, or as a
line at the top says: # lab: near is eth1

exit codes: as those of `probe run`
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    lab = commands.add_parser(
        "lab",
        help="the same run on this one machine, through a real firewall in the middle",
        description="Builds near | firewall | far in network namespaces, loads an nftables rule "
        "set in the middle, runs agent and probe for real, and leaves nothing behind.",
        epilog=EPILOG,
    )
    lab.set_defaults(command=run)
    lab.add_argument(
        "--firewall",
        default="kb233256",
        metavar="NAME|FILE.nft",
        help="a ready-made firewall, or your own rules (default: kb233256)",
    )
    lab.add_argument("--list", action="store_true", help="list the ready-made firewalls")
    lab.add_argument("-6", dest="family", action="store_const", const=6, default=4, help="use IPv6")
    arguments.add_test(lab)
    arguments.add_reports(lab)
    arguments.add_advice(lab)


def run(options: argparse.Namespace) -> int:
    import textwrap
    from pathlib import Path

    if not Path(__file__).exists():
        return output.fail(
            output.UNTESTED,
            "probe lab starts programs of its own and is not part of the single file. Install "
            "the program: pip install .",
        )
    from probe.lab import LabError, firewall_names, load_firewall, run_lab

    try:
        if options.list:
            for name in firewall_names():
                about = f"{name:<18} {load_firewall(name).description}"
                output.say(textwrap.fill(about, 79, subsequent_indent=" " * 19))
            return 0
        return run_lab(
            load_firewall(options.firewall),
            options.scenario,
            options.family,
            arguments.passed_on(options),
        )
    except LabError as error:
        return output.fail(error.exit_code, error)
