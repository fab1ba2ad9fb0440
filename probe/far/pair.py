"""Near's part of a pairing: the code that was typed becomes a key that both hosts hold. asyncio."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import re
import socket
import sys

from agent.access import pairing, tls
from agent.access.pairing import LONGEST_NAME, OPEN_KEY, Near, PairingError, WrongCode
from probe.far.dial import UnknownKey, dial, resolve

SECONDS = 10.0  # for the whole exchange
AGAIN = "On the far host, stop the agent and start it with --pair again"


def code(typed: str) -> str:
    """The digits of a code, "-" for one that is asked for. PairingError when it cannot be one."""
    return pairing.read_code(_asked_for() if typed == "-" else typed)


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


def own_name() -> str:
    """What the far host may call this operator: alice@adminpc."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    text = re.sub(r"[^A-Za-z0-9._@-]", "-", f"{user}@{socket.gethostname()}")
    return text.lstrip(".-_@")[:LONGEST_NAME]


async def pair(options: argparse.Namespace, code: str) -> bytes:
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
        try:
            answer = near.receive(data)
        except WrongCode:
            raise
        except PairingError as error:
            raise PairingError(f"{error}. {AGAIN}") from None
        if answer:
            said += 1
            writer.write(answer)
    return near.paired.key
