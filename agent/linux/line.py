"""A session as a pair of streams: who talks over it need not know that it is no connection.

What is written is compressed (zlib, one stream for the whole session: what is said is repetitive).
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable
from typing import Any

from agent.inband.carriers import Ridden
from agent.inband.session import LOST_SECONDS, Send, Session
from agent.inband.ways import answering
from agent.model import Side

MOST_UNSENT = 1 << 18  # octets; beyond, drain() waits
MOST_UNREAD = 1 << 16  # octets, packed; beyond, the other end does not play along
CHUNK = 1 << 16
LEAVE_SECONDS = 1.5  # for the last words to be heard


class Line:
    """``reader`` and ``writer`` are the two streams. ``send`` sends; ``ended`` is told at the end.

    ``names``: (this end's address, the other's).
    """

    def __init__(
        self,
        session: Session,
        names: tuple[str, str],
        send: Callable[[list[Send]], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.reader = asyncio.StreamReader()
        self.reader.set_transport(_Valve(self))
        self.writer = Writer(self, names)
        self._send = send
        self._ended = ended
        self._timer: asyncio.TimerHandle | None = None
        self._packer = zlib.compressobj()
        self._unpacker = zlib.decompressobj()
        self._unread = b""
        self._shut = False
        self._room = asyncio.Event()
        self._quiet = asyncio.Event()
        self._over = False

    @property
    def over(self) -> bool:
        return self._over

    def pump(self) -> None:
        """Sends what is due, and looks again at the next deadline."""
        if self._over:
            return
        loop = asyncio.get_running_loop()
        self._send(self.session.due(loop.time()))
        if self.session.unsent < MOST_UNSENT:
            self._room.set()
        if self.session.idle:
            self._quiet.set()
        if self.session.lost:
            self.reader.set_exception(OSError(f"nothing has come for {LOST_SECONDS:.0f} s"))
        if self.session.lost or self.session.finished:
            self.end()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self.session.deadline(), self.pump)

    def take(self, box: bytes, ridden: Ridden) -> bool:
        """A packet of the session's. False for what is none, or has come before."""
        now = asyncio.get_running_loop().time()
        octets = self.session.receive(box, ridden.path.source, now)
        if octets is None or self._over:
            return False
        if self.session.side is Side.FAR:  # who answers does so in the other's flows as well
            self.session.answer_by(*answering(ridden))
        self._unread += octets
        self.unpack()
        if len(self._unread) > MOST_UNREAD:
            self.end()
        self.pump()
        return True

    def shut(self, shut: bool) -> None:
        """Whether the reader has more than enough: a few octets can unpack to very many."""
        self._shut = shut
        if not shut:
            self.unpack()

    def unpack(self) -> None:
        """For as long as the reader takes it."""
        try:
            while self._unread and not self._shut:
                self.reader.feed_data(self._unpacker.decompress(self._unread, CHUNK))
                self._unread = self._unpacker.unconsumed_tail
        except zlib.error:  # the other end holds the key and is broken
            self._unread = b""
            self.end()
        if self._over and not self._unread:
            self.reader.feed_eof()

    def write(self, data: bytes) -> None:
        packed = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self.session.write(packed)
        self._quiet.clear()
        if self.session.unsent >= MOST_UNSENT:
            self._room.clear()
        asyncio.get_running_loop().call_soon(self.pump)  # what is written at once goes at once

    async def drain(self) -> None:
        if self.session.unsent >= MOST_UNSENT and not self._over:
            await self._room.wait()

    async def leave(self) -> None:
        """Until the other end has all that was written, or does not listen any more."""
        if not self._over:
            self.session.close()
            self.pump()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._quiet.wait()
        self.end()

    def end(self) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self.unpack()  # the rest, and that it is the end
        self._room.set()
        self._quiet.set()
        self._ended()


class _Valve(asyncio.ReadTransport):
    """What a StreamReader knows of where its octets come from."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def pause_reading(self) -> None:
        self._line.shut(True)

    def resume_reading(self) -> None:
        self._line.shut(False)


class Writer:
    """The part of an asyncio.StreamWriter that we use."""

    def __init__(self, line: Line, names: tuple[str, str]) -> None:
        self._line = line
        ends = {"sockname": (names[0], 0), "peername": (names[1], 0)}
        self._names: dict[str, object] = {**ends, "control": "inband"}
        self._closing = False
        self.transport = self

    def get_extra_info(self, name: str) -> Any:
        return self._names.get(name)

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._line.write(data)

    async def drain(self) -> None:
        await self._line.drain()

    def is_closing(self) -> bool:
        return self._closing or self._line.over

    def close(self) -> None:
        self._closing = True

    async def wait_closed(self) -> None:
        await self._line.leave()

    def abort(self) -> None:
        """At once; one last packet tells the other end."""
        self._closing = True
        if not self._line.over:
            self._line.session.close(at_once=True)
            self._line.pump()
        self._line.end()
