"""Several sessions over one pair of pipes, one after the other or at once: what ssh gives us.

A frame is a line ``NUMBER OCTETS`` and that many octets. The first frame of a number opens that
session and says whom it is between (``["far's address", "near's address"]``); one of no octets is
its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

MAX_FRAME = 1 << 21  # octets
MAX_STRANDS = 64

Out = asyncio.StreamWriter


class StrandError(OSError):
    """What came is no frame."""


class Strand:
    """One session. ``names``: (far's address, near's)."""

    def __init__(self, bundle: Bundle, number: int, names: tuple[str, str], *, far: bool) -> None:
        self.names = names
        self.reader = asyncio.StreamReader()
        self.writer = Writer(bundle, number, names if far else names[::-1])


class Writer:
    """The part of an asyncio.StreamWriter that we use."""

    def __init__(self, bundle: Bundle, number: int, names: tuple[str, str]) -> None:
        self._bundle = bundle
        self._number = number
        ends = {"sockname": (names[0], 0), "peername": (names[1], 0)}
        self._names: dict[str, object] = {**ends, "control": "ssh"}
        self._closed = False
        self.transport = self

    def get_extra_info(self, name: str) -> Any:
        return self._names.get(name)

    def write(self, data: bytes) -> None:
        if not self._closed:
            for begin in range(0, len(data), MAX_FRAME):
                self._bundle.send(self._number, data[begin : begin + MAX_FRAME])

    async def drain(self) -> None:
        await self._bundle.out.drain()

    def is_closing(self) -> bool:
        return self._closed or self._bundle.out.is_closing()

    def close(self) -> None:
        self.abort()

    async def wait_closed(self) -> None:
        with contextlib.suppress(OSError):
            await self._bundle.out.drain()

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._bundle.send(self._number, b"")
            self._bundle.forget(self._number)


class Bundle:
    """``accept`` gets each session that the other end opens; None: it opens none.

    ``own``: far's address, as it calls itself, from the two names that near has given.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        out: Out,
        accept: Callable[[Strand], None] | None = None,
        own: Callable[[str, str], str] = lambda far, _near: far,
    ) -> None:
        self._own = own
        self.out = out
        self._reader = reader
        self._accept = accept
        self._strands: dict[int, Strand] = {}
        self._last = 0

    def open(self, far: str, near: str) -> Strand:
        self._last += 1
        strand = Strand(self, self._last, (far, near), far=False)
        self._strands[self._last] = strand
        self.send(self._last, msgspec.json.encode((far, near)))
        return strand

    def send(self, number: int, data: bytes) -> None:
        if not self.out.is_closing():
            self.out.write(b"%d %d\n" % (number, len(data)) + data)

    def forget(self, number: int) -> None:
        self._strands.pop(number, None)

    async def read(self, seconds: float | None = None) -> None:
        """Until the other end hangs up. TimeoutError when it says nothing for ``seconds``.

        StrandError for what is no frame; all sessions are over afterwards.
        """
        try:
            while True:
                async with asyncio.timeout(seconds):
                    line = await self._reader.readline()
                    if not line:
                        return
                    number, size = _header(line)
                    data = await self._reader.readexactly(size)
                self._take(number, data)
        except asyncio.IncompleteReadError:
            return
        except ValueError as error:  # a line that is too long
            raise StrandError(str(error)) from None

    def end(self, why: str = "") -> None:
        """Every session's other end is gone; ``why`` is what its reader raises, "" for an end."""
        for strand in self._strands.values():
            if why:
                strand.reader.set_exception(OSError(why))
            else:
                strand.reader.feed_eof()
        self._strands.clear()

    def _take(self, number: int, data: bytes) -> None:
        strand = self._strands.get(number)
        if strand is not None:
            if data:
                strand.reader.feed_data(data)
            else:
                strand.reader.feed_eof()
        elif self._accept is not None and number > self._last:
            if len(self._strands) >= MAX_STRANDS:
                raise StrandError("too many sessions at once")
            self._last = number
            far, near = _names(data)
            try:
                far = self._own(far, near)
            except (OSError, ValueError) as error:
                raise StrandError(f"{far} and {near} are no two addresses: {error}") from None
            strand = Strand(self, number, (far, near), far=True)
            self._strands[number] = strand
            self._accept(strand)


def _header(line: bytes) -> tuple[int, int]:
    number, _, size = line.strip().partition(b" ")
    if not (number.isdigit() and size.isdigit() and len(line) < 32 and int(size) <= MAX_FRAME):
        raise StrandError("what came is no frame of ours")
    return int(number), int(size)


def _names(data: bytes) -> tuple[str, str]:
    try:
        return msgspec.json.decode(data, type=tuple[str, str])
    except msgspec.DecodeError as error:
        raise StrandError(f"a session that opens without names: {error}") from None
