"""The agent's door: listens, and lets in whoever proves to hold a key. asyncio, over TCP and TLS.

What a client says first is looked at before anything is built for it. The name in it says which key
is meant; a name that the agent does not know, and all that is no TLS, gets an alert and no more.
Nobody stands at the door for longer than :data:`SECONDS`, however slowly he speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

from agent.access import tls
from agent.access.keyring import Keyring, NamedKey, identifier
from agent.access.pairing import OPEN_KEY
from agent.access.waiting import Waiting
from agent.linux.sockets import small_segments

SECONDS = 5.0  # from the connection to the proof
BACKLOG = 128
AT_ONCE = 32  # connections taken before others have their turn
PREPARED = 32  # keys: a context takes 2 ms and 200 kB
PAUSE = 1.0  # seconds, when this host has no room for another connection

log = logging.getLogger("probe-agent")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, NamedKey], Awaitable[None]]
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # a kernel without IPv6, for one
_PAIRING = NamedKey("pairing", OPEN_KEY)


class Door:
    """``serve`` gets each client that has proved to hold a key of ``ring``.

    ``pair`` gets those who want to pair, who have proved nothing; None while nobody may. They count
    as waiting until it returns.
    """

    def __init__(self, ring: Keyring, serve: Serve, pair: Serve | None = None) -> None:
        self.ring = ring
        self.pair = pair
        self._serve = serve
        self._front = tls.Front()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._prepare()
        self._listeners: list[socket.socket] = []
        self._waiting: Waiting[asyncio.Task[None]] = Waiting()
        self._callers: set[asyncio.Task[None]] = set()

    # -- listening ---------------------------------------------------------------------------

    def open(self, listen: str | None, port: int) -> None:
        """Listens on one address, or (None) on every one. OSError when it cannot be had."""
        try:
            for family, address in _places(listen, port):
                try:
                    self._listeners.append(_listener(family, address))
                except OSError as error:
                    if listen is not None or error.errno not in _NO_FAMILY:
                        raise
        except OSError:
            self._stop_listening()
            raise
        for listener in self._listeners:
            self._watch(listener)

    def take(self, ring: Keyring) -> None:
        """Other keys from now on. Who has been let in stays."""
        self.ring = ring
        self._contexts.clear()
        self._prepare()

    def _prepare(self) -> None:
        """The first client of a key shall not wait for what can be made before."""
        for key in self.ring.keys[:PREPARED]:
            self._context(key)

    async def close(self) -> None:
        """Listens no more, and ends whatever came in by this door."""
        self._stop_listening()
        for task in self._callers:
            task.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def _watch(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._on_knock, listener)

    def _on_knock(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, address = listener.accept()
            except OSError as error:
                if error.errno in _FULL:
                    log.warning("no room for another connection: %s", error.strerror)
                    loop = asyncio.get_running_loop()
                    loop.remove_reader(listener)
                    loop.call_later(PAUSE, self._watch, listener)
                return
            self._admit(sock, str(address[0]))

    # -- at the door ---------------------------------------------------------------------------

    def _admit(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._meet(sock))
        self._callers.add(task)
        task.add_done_callback(lambda task: self._gone(task, sock))
        evicted = self._waiting.come(task, address)
        if evicted is not None:
            evicted.cancel()

    def _gone(self, task: asyncio.Task[None], sock: socket.socket) -> None:
        """Also where it was sent away before it could begin."""
        self._callers.discard(task)
        self._waiting.go(task)
        sock.close()

    async def _meet(self, sock: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(SECONDS):
                key = await self._named(sock)
                if key is None:
                    return
                streams = await self._proved(sock, key)
        except (OSError, TimeoutError):  # ssl.SSLError among them: it has not proved anything
            _read_away(sock)
            return
        serve = self._serve
        if key is _PAIRING:
            if self.pair is None:  # over since
                streams[1].transport.abort()
                return
            serve = self.pair
        elif self.ring.find(key.id) is None:  # revoked since
            streams[1].transport.abort()
            return
        else:
            self._waiting.go(task)
        try:
            await serve(*streams, key)
        finally:
            streams[1].transport.abort()

    async def _named(self, sock: socket.socket) -> NamedKey | None:
        """The key that the client names. The others get their alert here."""
        hello = await _first_words(sock)
        if not hello:
            return None
        name, alert = self._front.read(hello)
        if name is not None:
            if self.pair is not None and name == _PAIRING.id:
                return _PAIRING
            found = self.ring.find(name)
            if found is not None:
                return found
        _read_away(sock)
        with contextlib.suppress(OSError):
            sock.send(alert)
        return None

    async def _proved(self, sock: socket.socket, key: NamedKey) -> Streams:
        """The connection, when the client has proved to hold the key. ssl.SSLError when not."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        theirs = socket.socket(fileno=sock.detach())  # asyncio's now, which closes it
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, theirs, ssl=self._context(key), ssl_handshake_timeout=SECONDS
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _context(self, key: NamedKey) -> ssl.SSLContext:
        name = identifier(key.key)
        if name not in self._contexts:
            self._contexts[name] = tls.context(key.key, server=True)
        return self._contexts[name]


async def _first_words(sock: socket.socket) -> bytes:
    """What a client says first, whole; it stays to be read. Empty when it hangs up."""
    enough = 5
    while True:
        # Not woken for less: who sends octet by octet costs no more than who sends nothing.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
        await _readable(sock)
        found = sock.recv(enough, socket.MSG_PEEK)
        whole = tls.hello_length(found)
        if len(found) < enough:  # it has hung up
            return b""
        if whole <= enough:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            return found
        enough = whole


def _read_away(sock: socket.socket) -> None:
    """What is closed with words unread takes its own words along."""
    with contextlib.suppress(OSError):
        sock.recv(65_536)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


def _places(
    listen: str | None, port: int
) -> Sequence[tuple[socket.AddressFamily, tuple[object, ...]]]:
    """Where to bind, of every family that this kernel has."""
    flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    found = socket.getaddrinfo(listen, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((place[0], place[4]) for place in found))


def _listener(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        small_segments(sock.fileno())  # what it accepts has this as well
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
