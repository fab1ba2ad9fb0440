"""Writes the manual pages from the command lines themselves: ``make man``.

A page holds what ``--help`` says of the program and of each of its commands, examples included, and
what no command's help has room for: files, environment, exit status.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the checkout that this script lies in

from agent import __version__
from agent.cli import parser as agents_parser
from probe.cli import parser as probes_parser
from probe.completion import Command, Option, read

SHORT = {
    "probe": "which IPsec and Kerberos packets get through this firewall?",
    "probe-agent": "the far end of probe",
}
FILES = """\
/etc/probe/key, ~/.config/probe/key: the key that both hosts share (mode 0600);
$PROBE_KEY_FILE names another

keys.d/NAME, peers.d/HOST, beside the key: keys made by pairing, one file for each
operator at an agent and for each agent at an operator

/etc/probe/agent.toml: options of probe-agent

/var/lib/probe: the flow ledger, which keeps what earlier runs have opened in a
firewall; $PROBE_STATE_DIR or $XDG_STATE_HOME name another
"""
EXIT = {
    "probe": """\
0: every check is as expected; 1: at least one is not; 2: the command line or a file is wrong; 3: it
could not be tested; 130: interrupted, and the table so far printed. Where a command has others, it
says so.
""",
    "probe-agent": "0: stopped; 2: the command line or a file is wrong; 3: it cannot work here.\n",
}


def page(program: Command) -> str:
    """The whole page in man(7), with a newline at its end."""
    (name,) = program.path
    other = "probe-agent" if name == "probe" else "probe"
    lines = [
        f'.TH {_roff(name).upper()} 1 "" "ipsec-probe {__version__}" "User Commands"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(SHORT[name])}",
        ".SH SYNOPSIS",
        f".B {_roff(name)}",
        _roff(program.usage.removeprefix(name).strip()),
        ".SH DESCRIPTION",
        _roff(program.description),
        ".SH OPTIONS",
        *_options(program),
    ]
    if program.commands:
        lines.append(".SH COMMANDS")
        for command in program.commands:
            lines += [f".SS {_roff(' '.join(command.path))}", _roff(command.description)]
            lines += [*_options(command), *_examples(command.epilog)]
    lines += [".SH EXAMPLES", *_examples(program.epilog)]
    lines += [".SH EXIT STATUS", _roff(EXIT[name].strip()), ".SH FILES"]
    for paragraph in FILES.split("\n\n"):
        place, _, words = paragraph.strip().partition(": ")
        lines += [".TP", f".B {_roff(place)}", _roff(words)]
    lines += [".SH SEE ALSO", f".BR {_roff(other)} (1),", ".BR nft (8)"]
    return "\n".join(line for line in lines if line) + "\n"


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        if "--help" in option.names and len(command.path) > 1:
            continue  # every command has it
        yield ".TP"
        yield ".B " + _roff(_spelled(option))
        yield _roff(option.about) or "\\&"


def _spelled(option: Option) -> str:
    names = ", ".join(option.names)
    return f"{names} {option.called}" if option.values.taken else names


def _examples(epilog: str) -> Iterator[str]:
    """The lines below "examples:" as they stand, all else as text."""
    for block in re.split(r"\n\n+", epilog.strip()):
        head, _, lines = block.partition("\n")
        if head == "examples:":
            yield from (".PP", ".EX", *map(_roff, lines.splitlines()), ".EE")
        elif block:
            yield from (".PP", _roff(" ".join(block.split())))


def _roff(text: str) -> str:
    """Nothing in ``text`` steers troff; a line of it begins with no control character."""
    escaped = " ".join(text.split()) if "\n" in text else text
    escaped = escaped.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = escaped.replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def pages() -> dict[str, str]:
    """File name → contents."""
    return {
        f"{program.path[0]}.1": page(program)
        for program in (read(probes_parser()), read(agents_parser()))
    }


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")
