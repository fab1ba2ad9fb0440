"""From a host name to a TLS connection, or a message that says which step failed and what to do.

Each way to fail has words of its own: a name without an address, silence, a refusal, something
else than an agent, an agent with another key.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from agent.access import tls
from agent.access.keyring import identifier
from agent.errors import AgentError
from agent.linux.sockets import address_of, small_segments

CONNECT_SECONDS = 5.0
HANDSHAKE_SECONDS = 5.0
UNKNOWN_NAME = "TLSV1_UNRECOGNIZED_NAME"  # OpenSSL's word for the agent's alert


class ProbeError(Exception):
    """Root of what the operator's end raises on purpose. The text says what to do next."""


class LinkError(ProbeError):
    """The far agent cannot be talked to."""


class NoAgent(LinkError):
    """Whoever answers there, or does not, it is no agent of ours: one may be there all the same."""


class Unreachable(NoAgent):
    """No TCP connection: ``silent`` when nothing at all came back."""

    def __init__(self, text: str, *, silent: bool) -> None:
        super().__init__(text)
        self.silent = silent


class UnknownKey(LinkError):
    """The agent does not know the key."""


_Found = tuple[int, int, int, str, tuple[Any, ...]]  # as getaddrinfo has it
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def resolve(host: str, port: int, family: int | None) -> tuple[int, str]:
    """(4 or 6, address). LinkError when the name has no address."""
    families = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
    try:
        found = await _look_up(host, port, families[family])
    except (OSError, UnicodeError) as error:
        if is_address(host):
            raise LinkError(
                f"{host} is no IPv{family} address: leave out -{family}, or give another"
            ) from error
        asked = f" as an IPv{family} address" if family else ""
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise LinkError(
            f"{host!r} cannot be resolved{asked} ({reason}). Check the spelling, or give the "
            "address"
        ) from error
    kind, address = found[0][0], found[0][4]
    return (6 if kind == socket.AF_INET6 else 4), address_of(address)


def is_address(text: str) -> bool:
    """And no name. An IPv6 address may have a zone (``fe80::1%eth0``)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def _look_up(host: str, port: int, family: int) -> Sequence[_Found]:
    """As getaddrinfo, in a thread that nobody has to wait for: a name server may be silent."""
    with contextlib.suppress(socket.gaierror):  # an address needs no name server, nor a thread
        return socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[_Found]] = loop.create_future()

    def tell(found: Sequence[_Found] | None, error: OSError | None) -> None:
        if answer.done():
            return
        if found is not None:
            answer.set_result(found)
        elif error is not None:
            answer.set_exception(error)

    def ask() -> None:
        found: Sequence[_Found] | None = None
        failed: OSError | None = None
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except OSError as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the run is over
            loop.call_soon_threadsafe(tell, found, failed)

    threading.Thread(target=ask, daemon=True).start()
    return await answer


def route(peer: str, family: int) -> str:
    """The address this host would send from; nothing is sent.

    Asked of the kernel by a UDP socket: that is the very decision a shot will meet, policy routes
    included, and takes microseconds. LinkError when there is no route.
    """
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as sock:
            sock.connect(socket.getaddrinfo(peer, 9, flags=socket.AI_NUMERICHOST)[0][4])
            return address_of(sock.getsockname())
    except OSError as error:
        hint = f"ip -{family} route get {peer}"
        if error.errno == errno.EAFNOSUPPORT:
            raise LinkError(
                f"this host's kernel has no IPv{family}, and {peer} is an IPv{family} address. "
                f"Give another address, or enable IPv{family} here"
            ) from error
        if family == 6:
            hint += " and ip -6 address (has this host an IPv6 address at all?)"
        raise LinkError(
            f"this host has no route to {peer} ({error.strerror}). Check: {hint}"
        ) from error


async def dial(address: str, port: int, key: bytes, source: str = "") -> Streams:
    """A TLS connection to whoever proves to hold the key. LinkError when it cannot be had."""
    context = tls_context(key)
    sock = await _connected(address, port, source)
    try:
        return await asyncio.open_connection(
            sock=sock,
            ssl=context,
            server_hostname=identifier(key),  # says which key is meant
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )
    except ssl.SSLCertVerificationError:
        raise NoAgent(
            f"what answers at {address}:{port} is not a probe agent: it speaks TLS, with a "
            "certificate of its own. Check --peer and --port"
        ) from None
    except ssl.SSLError as error:
        if error.reason == UNKNOWN_NAME:
            raise UnknownKey(
                f"what answers at {address}:{port} does not know this key: the agent there holds "
                "another key, or has had this one revoked. Pair again (on the far host: "
                "probe-agent --pair), or copy its key file to this host (mode 0600), or name "
                "another with --key"
            ) from None
        raise NoAgent(
            f"what answers at {address}:{port} is not a probe agent: it does not speak TLS as one "
            f"does ({error.reason or error}). Check --peer and --port"
        ) from None
    except ConnectionAbortedError:  # asyncio's word for a handshake that took too long
        raise NoAgent(
            f"{address} accepts TCP {port} and then says nothing (waited {HANDSHAKE_SECONDS:.0f} "
            "s): it is no probe agent, or one that hangs, or something between swallows what "
            "follows a connection. Check --port, and the agent on the far host"
        ) from None
    except OSError:
        raise NoAgent(
            f"{address}:{port} closed the connection at the first word: what listens there is no "
            "probe agent, or a firewall cuts TLS off. Check --peer and --port"
        ) from None


def tls_context(key: bytes) -> ssl.SSLContext:
    """This end's. LinkError when the system's TLS cannot do it."""
    try:
        return tls.context(key, server=False)
    except AgentError as error:
        raise LinkError(str(error)) from error


async def _connected(address: str, port: int, source: str = "") -> socket.socket:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, where = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    small_segments(sock.fileno())
    try:
        if source:
            sock.bind((source, 0))
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.sock_connect(sock, where)
    except TimeoutError:
        sock.close()
        raise Unreachable(
            f"{address} does not answer on TCP {port} (waited {CONNECT_SECONDS:.0f} s). Does a "
            f"firewall between drop it? The control connection needs TCP {port} from near to far",
            silent=True,
        ) from None
    except OSError as error:
        sock.close()
        raise Unreachable(_no_connection(address, port, error), silent=False) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _no_connection(address: str, port: int, error: OSError) -> str:
    why = os.strerror(error.errno) if error.errno else str(error)  # asyncio has words of its own
    match error.errno:
        case errno.ECONNREFUSED:
            return (
                f"{address} refuses TCP {port}: no agent runs there, or a firewall rejects it. On "
                "the far host, run: probe-agent"
            )
        case errno.EPERM | errno.EACCES:
            return (
                f"this host's own firewall forbids TCP {port} to {address} ({why}). "
                "Allow it in its output rules"
            )
        case _:
            return (
                f"{address}: {why}. There is no route to it, or a router on "
                "the way said so: check the routes of this host and IP forwarding at the gateway"
            )
