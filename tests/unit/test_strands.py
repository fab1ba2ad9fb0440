"""Sessions over one pair of pipes: each gets its own octets, and nothing else is taken."""

from __future__ import annotations

import asyncio
import socket

import pytest

from agent.strands import MAX_FRAME, Bundle, Strand, StrandError


async def ends(accepted: list[Strand]) -> tuple[Bundle, Bundle]:
    one, other = socket.socketpair()
    near = Bundle(*await asyncio.open_connection(sock=one))
    far = Bundle(*await asyncio.open_connection(sock=other), accepted.append)
    return near, far


def test_two_sessions_do_not_mix_and_know_whom_they_are_between() -> None:
    async def scene() -> None:
        accepted: list[Strand] = []
        near, far = await ends(accepted)
        tasks = [asyncio.create_task(bundle.read()) for bundle in (near, far)]
        first, second = near.open("10.0.0.5", "10.0.0.1"), near.open("10.0.0.5", "10.0.0.2")
        first.writer.write(b"a")
        second.writer.write(b"b" * (MAX_FRAME + 1))
        first.writer.write(b"c")
        first.writer.abort()
        second.writer.abort()
        async with asyncio.timeout(10):
            while len(accepted) < 2:
                await asyncio.sleep(0)
            assert await accepted[0].reader.read() == b"ac"
            assert await accepted[1].reader.read() == b"b" * (MAX_FRAME + 1)
        assert accepted[1].writer.get_extra_info("sockname")[0] == "10.0.0.5"
        assert accepted[1].writer.get_extra_info("peername")[0] == "10.0.0.2"
        assert accepted[1].writer.get_extra_info("control") == "ssh"
        third = near.open("10.0.0.5", "10.0.0.1")
        async with asyncio.timeout(10):
            while len(accepted) < 3:
                await asyncio.sleep(0)
            accepted[2].writer.write(b"answer")
            assert await third.reader.readexactly(6) == b"answer"
            near.out.transport.abort()
            far.out.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)
        near.end("gone")
        with pytest.raises(OSError, match="gone"):
            await third.reader.read()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\n",
        b"1 -1\n",
        b"1 99999999999\n",
        b"1 2\n{}",
        b"1 5\n[1,2]",
        b"x" * 100_000,
        b"1 1 1\n",
        b"\xff 1\n1",
    ],
)
def test_what_is_no_frame_ends_it(octets: bytes) -> None:
    async def scene() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(octets)
        reader.feed_eof()
        _, writer = await asyncio.open_connection(sock=socket.socketpair()[0])
        with pytest.raises(StrandError):
            await Bundle(reader, writer, lambda _strand: None).read()
        writer.transport.abort()

    asyncio.run(scene())


def test_silence_ends_it() -> None:
    async def scene() -> None:
        accepted: list[Strand] = []
        _near, far = await ends(accepted)
        with pytest.raises(TimeoutError):
            await far.read(0.01)

    asyncio.run(scene())
