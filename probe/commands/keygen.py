"""``probe keygen``: new keys, other keys, and no keys any more."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from probe import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from agent.access.keyring import KeyFiles

EPILOG = """\
examples:
  probe keygen                         where both programs look for it first
  probe keygen lab.key                 elsewhere: name it with --key
  probe keygen --rotate                a new one, beside the old
  probe keygen --retire                the old one out, when both have the new
  probe keygen --name alice            at the agent: a key to be given to alice
  probe keygen --name alice --revoke   and she is out
  probe keygen --list                  whose keys an agent here takes

To make keys without copying a file: probe-agent --pair
"""
AGENT = "A running agent hears of it by SIGHUP."


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    keygen = commands.add_parser(
        "keygen",
        help="write, rotate and revoke keys",
        description="Writes a new shared key, or changes the keys of this host.",
        epilog=EPILOG,
    )
    keygen.set_defaults(command=run)
    which = keygen.add_mutually_exclusive_group()
    which.add_argument("file", nargs="?", metavar="FILE", help="default: /etc/probe/key as root")
    which.add_argument("--name", metavar="NAME", help="the key of one operator, at the agent")
    what = keygen.add_mutually_exclusive_group()
    option = what.add_argument
    option("--rotate", action="store_true", help="put a new key before the old ones")
    option("--retire", action="store_true", help="take out all keys but the newest")
    option("--revoke", action="store_true", help="delete the key of --name")
    option("--list", action="store_true", help="whose keys an agent here takes")


def run(options: argparse.Namespace) -> int:
    from agent.errors import KeyFileError

    try:
        return _run(options)
    except KeyFileError as error:
        return output.fail(output.WRONG, error)


def _run(options: argparse.Namespace) -> int:
    from agent.access import keyring, keys
    from agent.errors import KeyFileError

    files = keyring.find_files(options.file, None, os.environ)
    if options.list:
        return _list(files)
    if options.revoke and options.name is None:
        raise KeyFileError("--revoke: whose? Say --name NAME; `probe keygen --list` lists them")
    path = files.file
    if options.name is not None:
        path = files.directory / keyring.check_name(options.name, "--name ")
    elif options.file is None and not (options.rotate or options.retire):
        path = keys.own_place(keys.candidates(None, os.environ))
    if options.rotate:
        keys.rotate(path)
        output.say(
            f"put a new key before the old one in {path}.\n"
            "Copy the file to the other host, mode 0600; until then the old key is good.\n"
            f"Then take the old one out: probe keygen --retire. {AGENT}"
        )
    elif options.retire:
        gone = keys.retire(path)
        output.say(f"{path} holds the newest key alone; older ones taken out: {gone}.\n{AGENT}")
    elif options.revoke:
        keys.remove(path)
        output.say(f"deleted {path}.\n{AGENT}")
    else:
        _create(path, options.name)
    return 0


def _create(path: Path, name: str | None) -> None:
    from agent.access import keyring, keys

    if name is None:
        keys.create(path)
        output.say(f"wrote a new key to {path}; the other host needs the same file, mode 0600")
        return
    keyring.make_directory(path.parent)
    keys.create(path)
    output.say(
        f"wrote a key for {name} to {path}.\n"
        f"Copy it to their host as {keys.SYSTEM_KEY}, mode 0600. {AGENT}"
    )


def _list(files: KeyFiles) -> int:
    ring = files.load()
    if not len(ring):
        output.say(f"no keys in {files.file} and {files.directory}")
    for key in ring:
        output.say(f"{key.name:<24} {key.id}")
    return 0
