"""A session that looks like a connection: two of its ends, joined in memory."""

from __future__ import annotations

import asyncio
import functools
import secrets
import zlib
from collections.abc import Callable, Coroutine

import pytest

from agent.control import MAX_LINE, AnyMessage, Collect, Decoder, Seen, encode
from agent.inband import session as sessions
from agent.inband.box import PUBLIC, Shared
from agent.inband.carriers import Ridden
from agent.inband.session import Send, Session
from agent.inband.ways import HARMLESS, answering, new_flow
from agent.linux.line import MOST_UNREAD, MOST_UNSENT, Line
from agent.model import Event, Side, Sighting

NEAR, FAR = "10.1.0.2", "10.2.0.2"
KEYS = Shared(bytes(32)).session(bytes(PUBLIC), bytes(PUBLIC), bytes(PUBLIC))


def looped(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: object, **more: object) -> None:
        asyncio.run(test(*arguments, **more))

    return run


class Pair:
    """``passes(box)`` says whether a packet arrives."""

    def __init__(self, passes: Callable[[bytes], bool] = lambda _: True) -> None:
        now = asyncio.get_running_loop().time()
        paths = {way: new_flow(way, NEAR, FAR, 50_000) for way in HARMLESS[:1]}
        back = dict(answering(ridden) for ridden in paths.values())
        self.passes = passes
        self.ended: list[Side] = []
        self.near = self._line(Side.NEAR, Session(Side.NEAR, KEYS, paths, (0, 0), now))
        self.far = self._line(Side.FAR, Session(Side.FAR, KEYS, back, (0, 0), now, NEAR))

    def _line(self, side: Side, session: Session) -> Line:
        names = (NEAR, FAR) if side is Side.NEAR else (FAR, NEAR)
        return Line(session, names, lambda sends: self._send(side, sends), lambda: self._end(side))

    def _end(self, side: Side) -> None:
        self.ended.append(side)

    def _send(self, side: Side, sends: list[Send]) -> None:
        for send in sends:
            if self.passes(send.box):
                loop = asyncio.get_running_loop()
                loop.call_later(0.0005, self._arrive, side, send.ridden, send.box)

    def _arrive(self, side: Side, ridden: Ridden, box: bytes) -> None:
        (self.far if side is Side.NEAR else self.near).take(box, ridden)


@looped
async def test_messages_cross_both_ways_and_are_packed_on_the_way() -> None:
    pair = Pair()
    sighting = Sighting(at=Side.FAR, event=Event.ARRIVED, check=1, shot=1, time=0.0)
    said = Seen([sighting] * 2000)
    pair.near.writer.write(encode(Collect()))
    assert await pair.far.reader.readline() == encode(Collect())
    pair.far.writer.write(encode(said))
    await pair.far.writer.drain()
    decoder = Decoder()
    found: list[AnyMessage] = []
    while not found:
        found = list(decoder.feed(await pair.near.reader.read(65_536)))
    assert found == [said]
    packets = sum(pair.far.session.carried[True].values())
    assert packets < 30 < len(encode(said)) / 1000


@looped
async def test_names() -> None:
    pair = Pair()
    assert pair.far.writer.get_extra_info("peername")[0] == NEAR
    assert pair.far.writer.get_extra_info("sockname")[0] == FAR


@looped
async def test_who_leaves_is_heard_to_leave() -> None:
    pair = Pair()
    pair.near.writer.write(b"last words\n")
    pair.near.writer.close()
    await pair.near.writer.wait_closed()
    assert await pair.far.reader.read() == b"last words\n"
    assert pair.far.writer.is_closing()
    assert set(pair.ended) == {Side.NEAR, Side.FAR}
    pair.near.writer.write(b"more")  # as to a connection that is closed: nothing


@looped
async def test_abort_is_heard_as_well() -> None:
    pair = Pair()
    pair.far.writer.transport.abort()
    assert await pair.near.reader.read() == b""


@looped
async def test_silence_ends_it_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(lambda _: False)
    monkeypatch.setattr(sessions, "LOST_SECONDS", 0.2)
    pair.near.writer.write(b"anybody?")
    with pytest.raises(OSError, match="nothing has come for"):
        await pair.near.reader.read(1)
    assert pair.ended == [Side.NEAR]


@looped
async def test_drain_waits_while_nothing_gets_through() -> None:
    pair = Pair(lambda _: False)
    pair.near.writer.write(secrets.token_bytes(2 * MOST_UNSENT))
    waiting = asyncio.ensure_future(pair.near.writer.drain())
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    pair.passes = lambda _: True
    await asyncio.wait_for(waiting, 20)
    pair.near.end()
    pair.far.end()


@looped
async def test_what_cannot_be_unpacked_ends_it() -> None:
    pair = Pair()
    pair.far.session.write(b"this is not zlib")
    pair.far.pump()
    assert await pair.near.reader.read() == b""


@looped
async def test_zeros_without_end_do_not_fill_the_memory() -> None:
    """A megabyte packs into a packet; the decoder of messages ends it after MAX_LINE octets."""
    pair = Pair()
    pair.far.writer.write(bytes(4 * MAX_LINE))
    got = 0
    while got < 4 * MAX_LINE:
        got += len(await asyncio.wait_for(pair.near.reader.read(1 << 16), 10))


@looped
async def test_what_nobody_reads_is_not_unpacked() -> None:
    """The agent reads no more while its own words do not get through. 64 MB, in 70 packets."""
    pair = Pair()
    pair.near.session.write(zlib.compress(bytes(1 << 26)))
    pair.near.pump()
    while not pair.near.session.idle:
        await asyncio.sleep(0.01)
    assert len(pair.far.reader._buffer) < 1 << 19  # type: ignore[attr-defined]
    pair.near.writer.write(secrets.token_bytes(2 * MOST_UNREAD))
    while Side.FAR not in pair.ended:
        await asyncio.sleep(0.01)
    pair.near.end()


@looped
async def test_what_was_not_read_yet_is_there_when_the_other_end_has_left() -> None:
    pair = Pair()
    pair.near.writer.write(bytes(1 << 20))
    await pair.near.leave()
    assert len(await pair.far.reader.read()) == 1 << 20
