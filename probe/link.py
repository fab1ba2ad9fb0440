"""How a station is asked: the far one over TLS, the near one directly, both alike."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from agent import __version__, tls
from agent.control import (
    PROTOCOL,
    AnyMessage,
    Decoder,
    Hello,
    Message,
    Oops,
    Seen,
    Welcome,
    encode,
)
from agent.errors import AgentError, ControlError
from agent.model import Sighting
from agent.station import Station

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0

M = TypeVar("M", bound=Message)


class ProbeError(Exception):
    """Root of what the operator's end raises on purpose. The text says what to do next."""


class LinkError(ProbeError):
    """The far agent cannot be talked to."""


class Unreachable(LinkError):
    """No TCP connection: ``silent`` when nothing at all came back."""

    def __init__(self, text: str, *, silent: bool) -> None:
        super().__init__(text)
        self.silent = silent


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
        writer: asyncio.StreamWriter,
        report: Callable[[list[Sighting]], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._report = report
        self._answers: asyncio.Queue[AnyMessage | LinkError] = asyncio.Queue()
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
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await self._answers.get()
        except TimeoutError:
            raise LinkLost(f"the agent did not answer for {ANSWER_SECONDS:.0f} s") from None
        if isinstance(found, LinkError):
            raise found
        took = time.monotonic() - start
        self.rtt = min(self.rtt, took) if self.rtt else took
        return _expect(found, answer)

    async def _read(self) -> None:
        decoder = Decoder()
        why = "the agent closed the connection: was it stopped?"
        try:
            while data := await self._reader.read(65_536):
                for message in decoder.feed(data):
                    if isinstance(message, Seen):
                        self._report(message.sightings)
                    else:
                        self._answers.put_nowait(message)
        except (OSError, ControlError) as error:
            why = f"the control connection broke: {error}"
        self.lost = LinkLost(why)
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


async def resolve(host: str, port: int, family: int | None) -> tuple[int, str]:
    """(4 or 6, address). LinkError when the name has no address."""
    families = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=families[family], type=socket.SOCK_STREAM
        )
    except (socket.gaierror, UnicodeError) as error:
        asked = f" as an IPv{family} address" if family else ""
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise LinkError(
            f"{host} cannot be resolved{asked} ({reason}). Check the spelling, or give the address"
        ) from error
    kind, _, _, _, address = found[0]
    text = str(address[0])
    if len(address) > 3 and address[3] and "%" not in text:
        text += f"%{socket.if_indextoname(int(address[3]))}"
    return (6 if kind == socket.AF_INET6 else 4), text


async def connect(
    address: str, port: int, key: bytes, name: str, report: Callable[[list[Sighting]], None]
) -> tuple[There, Welcome]:
    """A greeted agent. LinkError says which of the ways to fail it was, and what to do."""
    reader, writer = await _dial(address, port, key)
    there = There(reader, writer, report)
    try:
        welcome = await there.ask(Hello(PROTOCOL, __version__, name), Welcome)
    except LinkLost as error:
        await there.close()
        raise LinkError(
            f"{address}:{port} took the key and then broke off ({error}). Look at the agent's log"
        ) from error
    except LinkError:
        await there.close()
        raise
    if welcome.protocol != PROTOCOL:
        await there.close()
        raise LinkError(_other_version(welcome.version, welcome.protocol))
    return there, welcome


def _other_version(version: str, protocol: int) -> str:
    return (
        f"the agent is version {version} (protocol {protocol}) and this is version {__version__} "
        f"(protocol {PROTOCOL}). Install the same version on both hosts"
    )


async def _dial(
    address: str, port: int, key: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = tls.context(key, server=False)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(address, port, ssl=context)
    except TimeoutError:
        raise Unreachable(
            f"{address} does not answer on TCP {port} (waited {CONNECT_SECONDS:.0f} s). Does a "
            f"firewall between drop it? The control connection needs TCP {port} from near to far",
            silent=True,
        ) from None
    except ssl.SSLCertVerificationError:
        raise LinkError(
            f"the agent at {address}:{port} holds another key. Copy the key file from the far "
            "host to this one again (mode 0600), or name it with --key"
        ) from None
    except ssl.SSLError as error:
        raise LinkError(
            f"what answers at {address}:{port} is not a probe agent, or holds another key "
            f"({error.reason or error}). Check --port, and the key files of both hosts"
        ) from None
    except ConnectionRefusedError:
        raise Unreachable(
            f"{address} refuses TCP {port}: no agent runs there, or a firewall rejects it. On the "
            "far host, run: probe-agent",
            silent=False,
        ) from None
    except AgentError as error:
        raise LinkError(str(error)) from error
    except (ConnectionResetError, BrokenPipeError):
        raise LinkError(
            f"{address}:{port} closed the connection during the handshake: this host is perhaps "
            "not allowed there (--allow at the agent), or what listens is not a probe agent"
        ) from None
    except OSError as error:
        raise Unreachable(
            f"{address}: {error.strerror or error}. There is no route to it, or a router on the "
            "way said so: check the routes of this host and IP forwarding at the gateway",
            silent=False,
        ) from None
