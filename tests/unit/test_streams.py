"""TCP 88 as a carrier: boxes as Kerberos messages, whole or in pieces, among those of others."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine

import pytest

from agent.inband.box import NONCE, Shared
from agent.inband.carriers import SYN, Ridden, message, message_length, unwrap, unwrap_message
from agent.inband.session import Send
from agent.inband.ways import STREAM, answering, new_flow
from agent.linux import sockets, streams
from agent.linux.streams import Streams
from agent.model import Side, Tag
from agent.wire import codec
from agent.wire.base import Keys, Path
from tests.pair.carried import ENDS, parsed

SHARED = Shared(bytes(32))
BOXES = [SHARED.seal(Side.NEAR, bytes((n,)) * 300, bytes(NONCE)) for n in range(8)]
HERE = "127.0.0.1"


def looped(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: object, **more: object) -> None:
        asyncio.run(test(*arguments, **more))

    return run


@pytest.mark.parametrize("reply", [False, True])
@pytest.mark.parametrize("size", [0, 300, 900])
def test_a_message_there_and_back(size: int, reply: bool) -> None:
    box = SHARED.seal(Side.NEAR, bytes(size), bytes(NONCE))
    stream = message(box, reply)
    assert message_length(stream) == len(stream)
    assert message_length(stream[:-1]) is None
    assert message_length(stream[:3]) is None
    assert unwrap_message(stream) == box


def test_a_shot_is_no_box() -> None:
    path = Path(4, *ENDS[4], 50_000, 88)
    shot = codec("kerberos-tcp").request(Keys(bytes(32)), Tag(1, 1), path)
    assert unwrap_message(shot) is None


@pytest.mark.parametrize("family", [4, 6])
def test_a_knock_is_known_again(family: int) -> None:
    ridden = new_flow(STREAM, *ENDS[family], 50_000)
    packet = parsed(Send(STREAM, ridden, BOXES[0]), 0)
    assert packet.tcp_flags == SYN
    found = unwrap(packet, SHARED.markers)
    assert found is not None
    assert found[1] == BOXES[0]
    way, back = answering(found[0])
    assert way.reply
    assert back.path.destination == ENDS[family][0]


class Peers:
    """Both ends on this host, by the port that is free instead of 88."""

    def __init__(self) -> None:
        self.near_got: list[bytes] = []
        self.far_got: list[bytes] = []
        self.far_saw: list[Ridden] = []
        self.near = Streams(lambda _, box: self.near_got.append(box))
        self.far = Streams(self._far)
        self.path = Path(4, HERE, HERE, 50_000, streams.PORT)

    def _far(self, ridden: Ridden, box: bytes) -> None:
        self.far_saw.append(ridden)
        self.far_got.append(box)
        self.far.send(answering(ridden)[1], box)

    async def meet(self) -> None:
        self.far.listen(self.path)
        self.near.connect(self.path)
        ridden = Ridden("kerberos-tcp", False, self.path)
        async with asyncio.timeout(10):
            while not self.near.send(ridden, BOXES[0]) or not self.near_got:
                await asyncio.sleep(0.005)
            for box in BOXES:
                self.near.send(ridden, box)
            while BOXES[-1] not in self.near_got:
                await asyncio.sleep(0.005)


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch, unused: int) -> int:
    monkeypatch.setattr(streams, "PORT", unused)
    return unused


@pytest.fixture
def unused() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind((HERE, 0))
        return int(sock.getsockname()[1])


@looped
async def test_near_knocks_and_far_lets_it_in(free_port: int) -> None:
    peers = Peers()
    await peers.meet()
    assert set(BOXES) <= set(peers.far_got)
    assert {ridden.path.source for ridden in peers.far_saw} == {HERE}
    assert peers.near.ends == peers.far.ends != set()
    # The port is free again for the run's own listener, as soon as the peer is in.
    listener = sockets.tcp(4, HERE, free_port)
    listener.listen(1)
    listener.close()
    peers.near.close()
    peers.far.close()
    await asyncio.sleep(0.01)


@looped
async def test_it_lets_go_of_the_port_at_once_for_who_never_came(free_port: int) -> None:
    peers = Peers()
    peers.far.listen(peers.path)
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="in use"):
        sockets.tcp(4, HERE, free_port)
    peers.far.vacate()
    listener = sockets.tcp(4, HERE, free_port)
    listener.listen(1)
    listener.close()
    async with asyncio.timeout(streams.LISTEN_SECONDS / 2):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.005)
    peers.far.vacate()


@looped
async def test_where_another_way_carries_nobody_comes_in_and_the_port_is_free(
    free_port: int,
) -> None:
    peers = Peers()
    peers.far.listen(peers.path)
    peers.near.connect(peers.path)
    await asyncio.sleep(0)  # far listens, near waits
    peers.far.settle(HERE)
    peers.near.settle(HERE)
    await asyncio.sleep(0)
    listener = sockets.tcp(4, HERE, free_port)
    listener.listen(1)
    listener.setblocking(False)
    await asyncio.sleep(2 * streams.AFTER_KNOCK)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()
    peers.far.listen(peers.path)  # and may be asked for anew
    peers.far.settle(HERE)  # before it could begin
    await asyncio.sleep(0)
    peers.far.close()
    await asyncio.sleep(0.01)


@looped
async def test_a_peer_that_is_in_stays_in(free_port: int) -> None:
    peers = Peers()
    await peers.meet()
    peers.far.settle(HERE)
    peers.near.settle(HERE)
    await asyncio.sleep(0.01)
    count = len(peers.near_got)
    peers.near.send(Ridden("kerberos-tcp", False, peers.path), BOXES[0])
    async with asyncio.timeout(10):
        while len(peers.near_got) == count:
            await asyncio.sleep(0.005)
    peers.near.close()
    peers.far.close()
    await asyncio.sleep(0.01)


@looped
async def test_a_real_service_hears_little_and_keeps_its_port(free_port: int) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\x05hello")
        while data := await reader.read(4096):
            heard.extend(data)

    server = await asyncio.start_server(serve, HERE, free_port)
    peers = Peers()
    peers.far.listen(peers.path)  # in vain: the port is taken
    peers.near.connect(peers.path)
    ridden = Ridden("kerberos-tcp", False, peers.path)
    async with asyncio.timeout(10):
        while not peers.near.send(ridden, BOXES[0]):
            await asyncio.sleep(0.005)
    for _ in range(20):
        peers.near.send(ridden, BOXES[0])
    await asyncio.sleep(0.1)
    assert not peers.near_got
    assert 0 < len(heard) <= streams.UNANSWERED * len(message(BOXES[0], reply=False))
    peers.near.close()
    peers.far.close()
    server.close()
    await asyncio.sleep(0.01)
