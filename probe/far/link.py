"""How a station is asked: the far one over TLS or in-band, the near one directly, all alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from agent import __version__
from agent.control import (
    PROTOCOL,
    STOPPED,
    AnyMessage,
    Decoder,
    Hello,
    Message,
    Oops,
    Seen,
    Shown,
    Welcome,
    encode,
)
from agent.errors import ControlError
from agent.model import Kept, Sighting
from agent.station import Station
from probe.far.dial import LinkError, dial

if TYPE_CHECKING:
    from agent import strands
    from agent.linux.line import Writer

ANSWER_SECONDS = 10.0
INBAND_SECONDS = 40.0  # where what is lost is sent again and again

M = TypeVar("M", bound=Message)


class LinkLost(LinkError):
    """The connection broke during the run."""


class Asked(Protocol):
    """A station, wherever it is. ``rtt`` in seconds; ``lost`` says why it can be asked no more."""

    @property
    def rtt(self) -> float: ...

    @property
    def lost(self) -> LinkError | None: ...

    async def ask(self, message: Message, answer: type[M]) -> M: ...


class Here:
    """The station on this host."""

    rtt = 0.0
    lost: LinkError | None = None

    def __init__(self, station: Station) -> None:
        self._station = station

    async def ask(self, message: Message, answer: type[M]) -> M:
        return _expect(self._station.handle(message), answer)


class There:
    """The station at the other end of a control connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | Writer | strands.Writer,
        report: Callable[[list[Sighting]], None],
        show: Callable[[list[Kept]], None] = lambda _packets: None,
        patience: float | None = None,
    ) -> None:
        """``patience``: seconds that one answer may take; None: as over TCP."""
        self._patience = patience or ANSWER_SECONDS
        self._reader = reader
        self._writer = writer
        self._report = report
        self._show = show
        self._answers: asyncio.Queue[AnyMessage | LinkError] = asyncio.Queue()
        self._stale = 0  # answers still to come to questions that were given up
        self.lost: LinkError | None = None
        self.rtt = 0.0  # seconds that the shortest answer took
        self.on_lost: Callable[[], None] = lambda: None
        self._task = asyncio.create_task(self._read())

    async def ask(self, message: Message, answer: type[M]) -> M:
        if self.lost is not None:
            raise self.lost
        start = time.monotonic()
        self._writer.write(encode(message))
        try:
            async with asyncio.timeout(self._patience):
                found = await self._next_answer()
        except TimeoutError:
            self.lost = LinkLost(f"the agent did not answer for {self._patience:.0f} s")
            raise self.lost from None
        except asyncio.CancelledError:
            self._stale += 1
            raise
        if isinstance(found, LinkError):
            raise found
        took = time.monotonic() - start
        self.rtt = min(self.rtt, took) if self.rtt else took
        return _expect(found, answer)

    async def _next_answer(self) -> AnyMessage | LinkError:
        while True:
            found = await self._answers.get()
            if isinstance(found, LinkError) or self._stale == 0:
                return found
            self._stale -= 1

    async def _read(self) -> None:
        decoder = Decoder()
        why = "the agent closed the connection: was it stopped?"
        try:
            while data := await self._reader.read(65_536):
                for message in decoder.feed(data):
                    if isinstance(message, Seen):
                        self._report(message.sightings)
                    elif isinstance(message, Shown):
                        self._show(message.packets)
                    elif isinstance(message, Oops) and message.code == STOPPED:
                        why = f"{message.text}, before the run was over"
                    else:
                        self._answers.put_nowait(message)
        except (OSError, ControlError) as error:
            why = f"the control connection broke: {error}"
        self.lost = self.lost or LinkLost(why)
        self._answers.put_nowait(self.lost)
        self.on_lost()

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.transport.abort()


def _expect(found: Message, answer: type[M]) -> M:
    if isinstance(found, answer):
        return found
    if isinstance(found, Oops):
        raise LinkError(found.text)
    raise LinkError(f"the agent answered with a {type(found).__name__}: it speaks another protocol")


async def connect(
    address: str,
    port: int,
    key: bytes,
    name: str,
    report: Callable[[list[Sighting]], None],
    source: str = "",
    show: Callable[[list[Kept]], None] = lambda _packets: None,
) -> tuple[There, Welcome]:
    """A greeted agent. LinkError says which of the ways to fail it was, and what to do.

    ``source``: the address of this host to come from; "" leaves it to the routes.
    """
    reader, writer = await dial(address, port, key, source)
    there = There(reader, writer, report, show)
    return there, await greet(there, name, f"{address}:{port}")


async def greet(there: There, name: str, where: str) -> Welcome:
    """The first words to whoever has proved to hold the key. Closes ``there`` where they fail."""
    try:
        welcome = await there.ask(Hello(PROTOCOL, __version__, name), Welcome)
    except LinkLost as error:
        await there.close()
        raise LinkError(
            f"{where} took the key and then broke off ({error}). Look at the agent's log"
        ) from error
    except BaseException:
        await there.close()
        raise
    if welcome.protocol != PROTOCOL:
        await there.close()
        raise LinkError(_other_version(welcome.version, welcome.protocol))
    return welcome


def _other_version(version: str, protocol: int) -> str:
    return (
        f"the agent is version {version} (protocol {protocol}) and this is version {__version__} "
        f"(protocol {PROTOCOL}). Install the same version on both hosts"
    )
