"""Reaches the agent without a control port: the control messages ride in packets of our own kinds.

See :mod:`agent.inband` for how. What comes out is a pair of streams, as from a TCP connection.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from agent.errors import AgentError
from agent.inband.box import Shared
from agent.inband.call import STALE_SECONDS, Call
from agent.inband.carriers import PORTS, Ridden
from agent.inband.known import Known
from agent.inband.session import Session
from agent.inband.ways import FIXED, HARMLESS, LAST, STREAM, Way, new_flow
from agent.ledger import Ledger
from agent.linux import bpf, sockets
from agent.linux.line import Line
from agent.linux.post import Post
from agent.model import Side
from agent.station import no_sockets
from probe.far.dial import LinkError
from probe.naming import service


class Silent(LinkError):
    """No packet of ours got an answer, of whatever kind."""


@dataclass(slots=True)
class Called:
    """A session with the agent. ``known``: what its packets are known by."""

    line: Line
    known: Known

    def ways(self) -> tuple[str, str]:
        """By which kinds the messages went out, and by which they came in; "" while none did."""
        carried = self.line.session.carried
        return in_words(carried[True]), in_words(carried[False])


async def call(
    address: str,
    near: str,
    key: bytes,
    ledger: Ledger,
    progress: Callable[[str, float], None],
) -> Called:
    """Calls the agent at ``address`` from ``near``. Silent when nothing came back by any way."""
    if "%" in address:
        raise LinkError(
            f"{address}: control messages cannot ride in packets to a link-local address. Give "
            "another address of the far host, or open the agent's TCP port"
        )
    return await _Calling(address, near, key, ledger, progress).perform()


class _Calling:
    def __init__(
        self,
        address: str,
        near: str,
        key: bytes,
        ledger: Ledger,
        progress: Callable[[str, float], None],
    ) -> None:
        self._shared = Shared(key)
        self._near = near
        self._address = address
        self._progress = progress
        self._held = ExitStack()
        self._news = asyncio.Event()
        self._session: Session | None = None
        self._line: Line | None = None
        self._post = Post(self._shared.markers, ledger, self._delivered, Side.NEAR)
        self._call: Call

    async def perform(self) -> Called:
        loop = asyncio.get_running_loop()
        try:
            self._post.open()
            self._held.callback(self._post.close)
            paths = {way: self._path(way) for way in (*HARMLESS, *FIXED)}
        except OSError as error:
            self._held.close()
            raise AgentError(no_sockets(Side.NEAR, error)) from error
        clocks = loop.time(), time.time()
        self._call = Call(self._shared, paths, self._near, *clocks, secrets.token_bytes)
        try:
            while self._session is None and not self._call.given_up(loop.time()):
                self._post.send(self._call.due(loop.time()))
                self._tell()
                self._news.clear()
                try:
                    async with asyncio.timeout_at(self._call.deadline()):
                        await self._news.wait()
                except TimeoutError:
                    continue
        except BaseException:
            self._held.close()
            raise
        if self._session is None:
            self._held.close()
            raise Silent(self._nothing())
        names = self._near, self._address
        line = Line(self._session, names, self._post.send, self._held.close)
        self._line = line
        line.pump()
        return Called(line, Known(self._shared.markers, self._post.streams.ends))

    def _path(self, way: Way) -> Ridden:
        """How to send by ``way``; a fresh UDP port is ours as long as the session lasts."""
        port = 1 + secrets.randbelow(65_535)  # a ping's identifier
        if way.kind in PORTS and not way.fixed and way is not STREAM:
            family = 6 if ":" in self._near else 4
            sock = sockets.udp(family, self._near, 0)
            self._held.callback(sock.close)
            bpf.attach(sock, bpf.NOTHING)
            port = int(sock.getsockname()[1])
        elif way.kind == "ah":
            port = 49_152 + secrets.randbelow(65_536 - 49_152)
        return new_flow(way, self._near, self._address, port)

    def _tell(self) -> None:
        own = "its own flows" if not self._call.stage else "flows of real traffic as well"
        share = self._call.stage / LAST
        self._progress(f"calling the agent in packets of the tested kinds, in {own}", share)

    def _delivered(self, ridden: Ridden, box: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self._line is not None:
            if self._line.take(box, ridden):
                self._post.took(ridden)
            else:
                self._call.receive(box, now)
            return
        session = self._call.receive(box, now)
        if session is not None:
            self._post.took(ridden)
            self._session = session
            if session.ways.good(now)[:1] != [STREAM]:
                self._post.streams.settle(self._address)
            self._news.set()

    def _nothing(self) -> str:
        kinds = ", ".join(dict.fromkeys(service(way.kind).title for way in (*HARMLESS, *FIXED)))
        words = (
            f"no agent with this key answered control messages that rode in {kinds}: see whether "
            "probe-agent runs there, in this version and without --no-inband, and whether the two "
            f"clocks are less than {STALE_SECONDS // 3600} hours apart: it is now "
            f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC here; `probe run --no-agent` "
            "asks what can be told from this side alone, and `probe record` tests without any "
            "contact, at an hour that both ends keep"
        )
        if self._post.refused:
            words += f". This host itself refused to send some of them ({self._post.refused})"
        return words


def in_words(ways: dict[Way, int]) -> str:
    """The kinds by which most packets went, the most frequent first: "ICMP echo, ESP"."""
    counts: dict[str, int] = {}
    for way, count in ways.items():
        name = _title(way)
        counts[name] = counts.get(name, 0) + count
    most = max(counts.values(), default=0)
    # A few packets on trial, or copies of one that was missed, are not how the messages went.
    kept = [name for name, count in counts.items() if count * 5 >= most]
    return ", ".join(sorted(kept, key=lambda name: -counts[name]))


def _title(way: Way) -> str:
    known = service(way.kind)
    ports = f" {known.number}→{known.number}" if way.fixed and known.transport == "UDP" else ""
    told = known.transport in ("UDP", "TCP") and not ports
    number = f" ({known.transport} {known.number})" if told else ports
    return known.title + number
