"""Questions and answers over a control connection that is cut, late, or given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from agent.control import (
    Awaiting,
    Close,
    Closed,
    Collect,
    Collected,
    Fire,
    Firing,
    Message,
    Oops,
    Seen,
    encode,
)
from agent.model import Facts
from probe.far import link
from probe.far.dial import LinkError
from probe.far.link import LinkLost, There


class Writer:
    """What was asked; nobody reads it."""

    def __init__(self) -> None:
        self.said = b""
        self.transport = self

    def write(self, data: bytes) -> None:
        self.said += data

    def abort(self) -> None:
        pass


def with_link(play: Callable[[There, asyncio.StreamReader], Awaitable[None]]) -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        there = There(reader, cast(Any, Writer()), lambda _sightings: None)
        try:
            async with asyncio.timeout(5):
                await play(there, reader)
        finally:
            await there.close()

    asyncio.run(run())


def feed(reader: asyncio.StreamReader, *messages: Message) -> None:
    for message in messages:
        reader.feed_data(encode(message))


def test_a_question_given_up_takes_its_answer_along() -> None:
    """Ctrl-C falls between question and answer: what is asked next gets its own answer."""

    async def play(there: There, reader: asyncio.StreamReader) -> None:
        given_up = asyncio.create_task(there.ask(Fire([], 0.0), Firing))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        feed(reader, Firing(), Seen([]), Closed())
        assert await there.ask(Close(), Closed) == Closed()

    with_link(play)


def test_an_agent_that_hangs_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.02)

    async def play(there: There, reader: asyncio.StreamReader) -> None:
        with pytest.raises(LinkLost, match="did not answer"):
            await there.ask(Collect(), Collected)
        feed(reader, Collected(Facts()))
        with pytest.raises(LinkLost, match="did not answer"):
            await there.ask(Close(), Closed)

    with_link(play)


def test_a_cut_is_told_to_whoever_waits() -> None:
    async def play(there: There, reader: asyncio.StreamReader) -> None:
        woken = asyncio.Event()
        there.on_lost = woken.set
        asking = asyncio.create_task(there.ask(Collect(), Collected))
        await asyncio.sleep(0)
        reader.feed_eof()
        with pytest.raises(LinkLost, match="was it stopped"):
            await asking
        await woken.wait()
        assert isinstance(there.lost, LinkLost)

    with_link(play)


def test_refusals_and_wrong_answers_are_no_cut() -> None:
    async def play(there: There, reader: asyncio.StreamReader) -> None:
        feed(reader, Oops("bad", "not so"), Awaiting())
        for words in ("not so", "answered with a Awaiting"):
            with pytest.raises(LinkError, match=words):
                await there.ask(Collect(), Collected)
        assert there.lost is None

    with_link(play)
