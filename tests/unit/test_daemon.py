"""The agent's own limits, for those whose words ride in packets as for those who come by TCP."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from pathlib import Path

import pytest

from agent.access.keyring import Keyring, NamedKey
from agent.config import Config
from agent.control import PROTOCOL, STOPPED, AnyMessage, Decoder, Hello, Oops, Welcome, encode
from agent.daemon import MOST_KEYS, Daemon
from agent.inband.box import PUBLIC, Shared
from agent.inband.session import Send, Session
from agent.inband.ways import HARMLESS, answering, new_flow
from agent.ledger import Ledger
from agent.linux import heap
from agent.linux.line import Line
from agent.model import Limits, Side

NEAR, FAR = "127.0.0.1", "127.0.0.2"
ALICE = NamedKey("alice", bytes(32))
KEYS = Shared(ALICE.key).session(bytes(PUBLIC), bytes(PUBLIC), bytes(PUBLIC))
HELLO = encode(Hello(PROTOCOL, "0", "near"))


class Caller:
    """A peer that the agent's doorway has admitted, joined to it in memory."""

    def __init__(self, daemon: Daemon) -> None:
        loop = asyncio.get_running_loop()
        paths = {way: new_flow(way, NEAR, FAR, 50_000) for way in HARMLESS[:1]}
        back = dict(answering(ridden) for ridden in paths.values())

        def to_far(sends: list[Send]) -> None:
            for send in sends:
                loop.call_soon(self.far.take, send.box, send.ridden)

        def to_near(sends: list[Send]) -> None:
            for send in sends:
                loop.call_soon(self.near.take, send.box, send.ridden)

        near = Session(Side.NEAR, KEYS, paths, (0, 0), loop.time())
        far = Session(Side.FAR, KEYS, back, (0, 0), loop.time(), NEAR)
        self.near = Line(near, (NEAR, FAR), to_far)
        self.far = Line(far, (FAR, NEAR), to_near)
        daemon._admit(self.far, ALICE.key)
        self.near.writer.write(HELLO)

    async def hears(self, count: int) -> list[AnyMessage]:
        decoder, found = Decoder(), list[AnyMessage]()
        async with asyncio.timeout(20):
            while len(found) < count:
                data = await self.near.reader.read(65_536)
                assert data, f"it hung up after {found}"
                found += decoder.feed(data)
        return found


def agent(tmp_path: Path, **more: object) -> Daemon:
    config = Config(Keyring((ALICE,)), **more)  # type: ignore[arg-type]
    return Daemon(config, Ledger(tmp_path / "flows.sqlite"))


def test_who_is_not_allowed_is_told_so(tmp_path: Path) -> None:
    async def play() -> None:
        daemon = agent(tmp_path, allow=(ipaddress.ip_network("10.1.0.0/16"),))
        (said,) = await Caller(daemon).hears(1)
        assert isinstance(said, Oops)
        assert said.code == "denied"
        assert f"does not allow {NEAR}" in said.text
        await daemon.stop()
        assert daemon.status()["totals"]["refused"] == 1

    asyncio.run(play())


def test_one_too_many(tmp_path: Path) -> None:
    async def play() -> None:
        daemon = agent(tmp_path, sessions=1)
        first, second = Caller(daemon), Caller(daemon)
        assert isinstance((await first.hears(1))[0], Welcome)
        (said,) = await second.hears(1)
        assert isinstance(said, Oops)
        assert said.code == "busy"
        assert [told["key"] for told in daemon.status()["sessions"]] == ["alice"]
        await daemon.stop()

    asyncio.run(play())


def test_whose_time_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        daemon = agent(tmp_path, limits=Limits(seconds=0.2))
        welcome, said = await Caller(daemon).hears(2)
        assert isinstance(welcome, Welcome)
        assert welcome.limits == Limits(seconds=0.2)
        assert isinstance(said, Oops)
        assert (said.code, "--max-seconds" in said.text) == (STOPPED, True)
        await daemon.stop()

    caplog.set_level(logging.INFO)
    asyncio.run(play())
    (line,) = [vars(r)["fields"] for r in caplog.records if r.message == "session"]
    assert (line["peer"], line["key"], line["outcome"]) == (NEAR, "alice", "overtime")


def test_a_key_that_is_revoked_ends_its_session(tmp_path: Path) -> None:
    async def play() -> None:
        daemon = agent(tmp_path)
        caller = Caller(daemon)
        assert isinstance((await caller.hears(1))[0], Welcome)
        daemon.take(Keyring(()))
        (said,) = await caller.hears(1)
        assert isinstance(said, Oops)
        assert "the key alice was revoked" in said.text
        await daemon.stop()

    asyncio.run(play())


def test_memory_is_given_back_once_the_last_session_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions_then: list[int] = []

    async def play() -> None:
        given = asyncio.Event()
        daemon = agent(tmp_path)

        def give_back() -> None:
            sessions_then.append(len(daemon.status()["sessions"]))
            given.set()

        monkeypatch.setattr(heap, "give_back", give_back)
        monkeypatch.setattr("agent.daemon.REST_SECONDS", 0.0)
        for caller in (Caller(daemon), Caller(daemon)):
            assert isinstance((await caller.hears(1))[0], Welcome)
        for session in tuple(daemon._sessions):
            assert not given.is_set()
            session.cancel()
            await asyncio.wait([session])
        async with asyncio.timeout(20):
            await given.wait()
        await daemon.stop()

    asyncio.run(play())
    assert sessions_then == [0]


def test_more_keys_than_packets_are_looked_through_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = tuple(NamedKey(f"key{n}", bytes([n]) * 32) for n in range(MOST_KEYS + 1))

    async def play() -> None:
        daemon = agent(tmp_path)
        daemon.take(Keyring(keys[:MOST_KEYS]))
        assert not caplog.records
        daemon.take(Keyring(keys))

    asyncio.run(play())
    assert f"the first {MOST_KEYS} of {MOST_KEYS + 1} keys" in caplog.text
