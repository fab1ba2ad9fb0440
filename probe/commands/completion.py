"""``probe completion``: what a shell needs to know of our command lines."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from probe import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

EPILOG = """\
examples:
  source <(probe completion bash)          now, in this shell
  probe completion bash > /etc/bash_completion.d/probe
  probe completion zsh > ~/.zfunc/_probe   a directory of your $fpath
  probe completion fish > ~/.config/fish/completions/probe.fish
"""


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    completion = commands.add_parser(
        "completion",
        help="print a script that completes our command lines in a shell",
        description="Prints a script with which a shell completes the command lines of probe and "
        "probe-agent.",
        epilog=EPILOG,
    )
    completion.set_defaults(command=run)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(options: argparse.Namespace) -> int:
    from agent.cli import parser as agents
    from probe.cli import parser
    from probe.completion import read, script

    output.say(script(options.shell, [read(parser()), read(agents())]))
    return 0
