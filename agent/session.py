"""One peer's conversation with the agent, from the greeting on. asyncio."""

from __future__ import annotations

import asyncio
import logging
import socket

from agent import __version__, strands
from agent.config import Config
from agent.control import (
    PROTOCOL,
    STOPPED,
    AnyMessage,
    Close,
    Decoder,
    Hello,
    Oops,
    Open,
    Opened,
    Seen,
    Welcome,
    encode,
    shown,
)
from agent.errors import AgentError
from agent.ledger import Ledger
from agent.limits import OverLimit
from agent.linux.host import Host
from agent.linux.line import Writer
from agent.linux.sockets import address_of, interface_mtu
from agent.log import journal, tally
from agent.model import Kept, Side, Sighting
from agent.station import Station

IDLE_SECONDS = 120.0  # a run asks something at least this often

log = logging.getLogger(journal.NAME)

AnyWriter = asyncio.StreamWriter | Writer | strands.Writer


class Session:
    def __init__(
        self,
        config: Config,
        host: Host,
        ledger: Ledger,
        streams: tuple[asyncio.StreamReader, AnyWriter],
        told: tally.Session,
        patience: float,
    ) -> None:
        """``patience``: seconds for the first words."""
        self._patience = patience
        self._config = config
        self._reader, self._writer = streams
        self._peer = told.peer
        self._told = told
        self._address = address_of(self._writer.get_extra_info("sockname"))
        self._station = Station(
            Side.FAR,
            host,
            ledger,
            self._report,
            self._show,
            config.limits,
            permits=config.permits,
        )

    async def run(self) -> None:
        """Until it hangs up, or its time is over."""
        seconds = self._config.limits.seconds
        try:
            async with asyncio.timeout(seconds) as whole:
                await self._converse()
        except TimeoutError:
            if not whole.expired():
                raise
            self._told.outcome = "overtime"
            self.say(Oops(STOPPED, f"the agent ends a session after {seconds:g} s (--max-seconds)"))

    async def _converse(self) -> None:
        decoder = Decoder()
        greeted = False
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS if greeted else self._patience):
                    data = await self._reader.read(65_536)
                if not data:
                    return
                for message in decoder.feed(data):
                    if not greeted:
                        greeted = self._greet(message)
                        if not greeted:
                            return
                    else:
                        self.say(self._answer(message))
                await self._writer.drain()
        finally:
            self._station.close()
            self._told.strangers = self._station.strangers

    async def refuse(self, why: Oops) -> None:
        """Hears the greeting first: what is closed with words unread takes its own along."""
        async with asyncio.timeout(self._patience):
            await self._reader.read(65_536)
        self.say(why)

    def _greet(self, message: AnyMessage) -> bool:
        if not isinstance(message, Hello):
            self.say(Oops("bad", "a session begins with a hello"))
            return False
        if message.protocol != PROTOCOL:
            self.say(
                Oops(
                    "version",
                    f"the agent is version {__version__} (protocol {PROTOCOL}) and this is version "
                    f"{message.version} (protocol {message.protocol}). Install the same version "
                    "on both hosts",
                )
            )
            return False
        self._told.host, self._told.version = _short(message.name), _short(message.version)
        mtu = interface_mtu(self._peer)
        name = socket.gethostname()
        limits, sessions = self._config.limits, self._config.sessions
        self.say(
            Welcome(PROTOCOL, __version__, name, self._address, self._peer, mtu, limits, sessions)
        )
        return True

    def _answer(self, message: AnyMessage) -> AnyMessage:
        if isinstance(message, Open) and (message.local, message.peer) != (
            self._address,
            self._peer,
        ):
            return Oops("denied", "shots go to the address that asked for them, to no other")
        try:
            answer = self._station.handle(message)
        except OverLimit as error:
            return Oops("denied", str(error))
        except AgentError as error:
            log.error("%s: %s", self._peer, error)
            return Oops("bad", f"far: {error}")
        if isinstance(message, Open) and isinstance(answer, Opened):
            self._told.opened(message, answer.facts)
            self._told.outcome = "hung-up"  # unless it says goodbye
        elif isinstance(message, Close):
            self._told.outcome = "closed"
        return answer

    def _report(self, sightings: list[Sighting]) -> None:
        self._told.saw(sightings)
        self.say(Seen(sightings))

    def _show(self, packets: list[Kept]) -> None:
        for message in shown(packets):
            self.say(message)

    def say(self, message: AnyMessage) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))


def _short(text: str) -> str:
    """What the other end calls itself, as a word of a log."""
    return "".join(character if character.isprintable() else "?" for character in text[:64])
