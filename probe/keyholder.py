"""Which key this host shows to a far agent: one that is in a file, or one made by pairing."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import re
import socket
import sys
from pathlib import Path

from agent import keys, pairing, tls
from agent.errors import AgentError, KeyFileError
from agent.pairing import LONGEST_NAME, OPEN_KEY, Near, PairingError, WrongCode
from probe import output
from probe.dial import LinkError, ProbeError, UnknownKey, dial, resolve

SECONDS = 10.0  # for the whole exchange


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
    try:
        if options.code is None:
            return keys.find(options.key, os.environ, options.peer)[1]
        code = pairing.read_code(_asked_for() if options.code == "-" else options.code)
        place = _place(options.key, options.peer)
        keys.check_place(place)
    except (KeyFileError, PairingError) as error:
        raise NoKey(str(error), output.WRONG) from error
    try:
        key = asyncio.run(_pair(options, code))
    except (LinkError, AgentError) as error:
        raise NoKey(str(error), output.UNTESTED) from error
    try:
        keys.store(place, [key])
    except KeyFileError as error:
        raise NoKey(
            f"{error}. The agent has kept its half: pair again, with a new code", output.WRONG
        ) from error
    output.say(f"probe: paired with {options.peer}; the key for next time is {place}", sys.stderr)
    return (key,)


def _asked_for() -> str:
    """The code, from whoever sits there, or from a pipe."""
    try:
        # Without an echo: nobody need read it over a shoulder in the seconds that it is good for.
        typed = getpass.getpass("pairing code: ") if sys.stdin.isatty() else sys.stdin.readline()
    except (EOFError, OSError):
        typed = ""
    if not typed.strip():
        raise PairingError(
            "no pairing code was typed. `probe-agent --pair` shows it at the far host"
        )
    return typed.strip()


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


def own_name() -> str:
    """What the far host may call this operator: alice@adminpc."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    text = re.sub(r"[^A-Za-z0-9._@-]", "-", f"{user}@{socket.gethostname()}")
    return text.lstrip(".-_@")[:LONGEST_NAME]


async def _pair(options: argparse.Namespace, code: str) -> bytes:
    """A key that both ends have now. LinkError or PairingError says what to do."""
    _, address = await resolve(options.peer, options.port, options.family)
    try:
        reader, writer = await dial(address, options.port, OPEN_KEY)
    except UnknownKey:
        raise PairingError(
            f"the agent at {options.peer} lets nobody pair now. On the far host, run: probe-agent "
            "--pair (each code it shows is good for one use and ten minutes)"
        ) from None
    try:
        near = Near(code, tls.binding(writer.get_extra_info("ssl_object")), own_name(), os.urandom)
        async with asyncio.timeout(SECONDS):
            return await _exchange(near, reader, writer)
    except (TimeoutError, OSError) as error:
        raise PairingError(
            f"the pairing broke off ({error or 'no answer'}). Get a new code: {AGAIN}"
        ) from None
    except WrongCode:
        raise PairingError(
            f"what answers at {options.peer} does not know the code: it is another agent, or "
            f"somebody stands in between. Do not use this code again. {AGAIN}"
        ) from None
    finally:
        writer.transport.abort()


AGAIN = "On the far host, stop the agent and start it with --pair again"


async def _exchange(
    near: Near, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    writer.write(near.begin())
    said = 1
    while near.paired is None:
        data = await reader.read(256)
        if not data and said == 1:
            raise PairingError(f"the agent takes no code any more. {AGAIN}")
        if not data:
            raise PairingError(
                "the agent did not take the code. It is wrong, or another used it first; it is "
                f"void now. {AGAIN}"
            )
        answer = near.receive(data)
        if answer:
            said += 1
            writer.write(answer)
    return near.paired.key
