"""The shell of the far end: listens, greets whoever holds the key, and runs one station for each.

A connection that ends, for whatever reason, ends its run: nothing is sent after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from agent import __version__, tls
from agent.control import PROTOCOL, AnyMessage, Decoder, Hello, Oops, Open, Seen, Welcome, encode
from agent.errors import AgentError, ControlError
from agent.ledger import Ledger
from agent.linux.host import Host
from agent.model import Side, Sighting
from agent.station import Station

HANDSHAKE_SECONDS = 5.0
HELLO_SECONDS = 5.0
IDLE_SECONDS = 120.0  # a run asks something at least this often
MAX_SESSIONS = 16

log = logging.getLogger("probe-agent")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Config:
    key: bytes
    listen: str | None = None  # None: every address
    port: int = 5088
    allow: Sequence[Network] = ()  # empty: whoever holds the key


class Daemon:
    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._host = Host()
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> asyncio.Server:
        """Listens. OSError when the port is taken."""
        return await asyncio.start_server(
            self._accept,
            self._config.listen,
            self._config.port,
            ssl=tls.context(self._config.key, server=True),
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            backlog=64,
        )

    async def stop(self) -> None:
        """Ends all sessions; their far shots stop at once."""
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        self._host.close()
        self._ledger.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = plain(writer.get_extra_info("peername")[0])
        if not self._allowed(peer):
            log.warning("%s is not allowed here", peer)
            await self._end(writer, Oops("denied", f"the agent does not allow {peer} (--allow)"))
            return
        if len(self._sessions) >= MAX_SESSIONS:
            text = "the agent has too many sessions at once; try again soon"
            await self._end(writer, Oops("busy", text))
            return
        self._sessions.add(task)
        try:
            await _Session(self._host, self._ledger, reader, writer, peer).run()
        except (OSError, ControlError, TimeoutError) as error:
            log.warning("%s: session ended: %s", peer, error or type(error).__name__)
        finally:
            self._sessions.discard(task)
            await self._end(writer)

    def _allowed(self, peer: str) -> bool:
        if not self._config.allow:
            return True
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(address in network for network in self._config.allow)

    @staticmethod
    async def _end(writer: asyncio.StreamWriter, last: Oops | None = None) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            if last is not None:
                writer.write(encode(last))
            async with asyncio.timeout(1.0):
                writer.close()
                await writer.wait_closed()


class _Session:
    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._address = plain(writer.get_extra_info("sockname")[0])
        self._station = Station(Side.FAR, host, ledger, self._report)
        self._seen = 0

    async def run(self) -> None:
        decoder = Decoder()
        greeted = False
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS if greeted else HELLO_SECONDS):
                    data = await self._reader.read(65_536)
                if not data:
                    return
                for message in decoder.feed(data):
                    if not greeted:
                        greeted = self._greet(message)
                        if not greeted:
                            return
                    else:
                        self._say(self._answer(message))
                await self._writer.drain()
        finally:
            self._station.close()
            if greeted:
                log.info("%s: session ended, %d sightings", self._peer, self._seen)

    def _greet(self, message: AnyMessage) -> bool:
        if not isinstance(message, Hello):
            self._say(Oops("bad", "a session begins with a hello"))
            return False
        if message.protocol != PROTOCOL:
            self._say(
                Oops(
                    "version",
                    f"the agent is version {__version__} (protocol {PROTOCOL}) and this is version "
                    f"{message.version} (protocol {message.protocol}). Install the same version "
                    "on both hosts",
                )
            )
            return False
        log.info("%s: session of %s, version %s", self._peer, message.name, message.version)
        self._say(Welcome(PROTOCOL, __version__, socket.gethostname(), self._address, self._peer))
        return True

    def _answer(self, message: AnyMessage) -> AnyMessage:
        if isinstance(message, Open) and (message.local, message.peer) != (
            self._address,
            self._peer,
        ):
            return Oops("denied", "shots go to the address that asked for them, to no other")
        try:
            return self._station.handle(message)
        except AgentError as error:
            log.error("%s: %s", self._peer, error)
            return Oops("bad", f"far: {error}")

    def _report(self, sightings: list[Sighting]) -> None:
        self._seen += len(sightings)
        self._say(Seen(sightings))

    def _say(self, message: AnyMessage) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))


def plain(address: str) -> str:
    """An IPv4 address that came in by an IPv6 socket, as what it is."""
    return address.removeprefix("::ffff:") if address.startswith("::ffff:") else address
