"""Which key this host shows to a far agent: one that is in a file, or one made by pairing."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from agent.access import keys
from agent.errors import AgentError, KeyFileError, NoKeyFound
from probe import output
from probe.far.dial import LinkError, ProbeError, resolve


class NoKey(ProbeError):
    """There is no key to show. ``exit_code``: 2 for a wrong argument or file, else 3."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def hold(options: argparse.Namespace) -> tuple[bytes, ...]:
    """The keys to try, the newest first. NoKey says why there is none, and what to do.

    ``options``: those of :func:`probe.arguments.add_peer`. With ``--code`` a new key is made with
    the far host first, and kept.
    """
    if options.control == "ssh":
        return (b"",)  # ssh has its own
    if options.code is not None:
        return (_paired(options),)
    return find(options)


def find(options: argparse.Namespace) -> tuple[bytes, ...]:
    """Those in a file, the newest first. NoKey.

    ``options``: those of :func:`probe.arguments.add_host`. A peer whose name is misspelt has no key
    either, and is told that it is misspelt.
    """
    import asyncio

    try:
        return keys.find(options.key, os.environ, options.peer)[1]
    except KeyFileError as error:
        if isinstance(error, NoKeyFound) and options.key is None:
            try:
                asyncio.run(resolve(options.peer, 0, options.family))
            except LinkError as unknown:
                raise NoKey(str(unknown), output.UNTESTED) from unknown
        raise NoKey(str(error), output.WRONG) from error


def _paired(options: argparse.Namespace) -> bytes:
    import asyncio

    from probe.far import pair

    try:
        code = pair.code(options.code)
        place = _place(options.key, options.peer)
        keys.check_place(place)
    except AgentError as error:
        raise NoKey(str(error), output.WRONG) from error
    try:
        key = asyncio.run(pair.pair(options, code))
    except (LinkError, AgentError) as error:
        raise NoKey(str(error), output.UNTESTED) from error
    try:
        keys.store(place, [key])
    except KeyFileError as error:
        raise NoKey(
            f"{error}. The agent has kept its half: pair again, with a new code", output.WRONG
        ) from error
    output.say(f"probe: paired with {options.peer}; the key for next time is {place}", sys.stderr)
    return key


def _place(given: str | None, peer: str) -> Path:
    """Where the next run will look for it. KeyFileError where that is taken, or cannot be."""
    named = given or os.environ.get(keys.KEY_FILE)
    if named:
        if keys.is_there(Path(named)):
            raise KeyFileError(f"{named} exists already; it is left as it is. Name another file")
        return Path(named)
    places = keys.of_peer(peer, os.environ)
    if not places:
        raise KeyFileError(f"{peer!r} cannot be the name of a key file. Name one with --key")
    return keys.own_place(places)
