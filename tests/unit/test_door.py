"""The door over real connections on loopback: what a stranger gets, and that a client gets in."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

import pytest

from agent.access import door, tls
from agent.access.door import Door
from agent.access.keyring import Keyring, NamedKey, identifier
from agent.access.pairing import OPEN_KEY
from agent.access.waiting import ROOM_EACH

ALICE, BOB = NamedKey("alice", b"a" * 32), NamedKey("bob", b"b" * 32)
RING = Keyring((ALICE, BOB))
ALERT = 0x15  # a TLS record's type (RFC 8446, 5.1)
UNRECOGNIZED_NAME = bytes([ALERT, 3, 3, 0, 2, 2, 112])
HELLO = 0x16


class House:
    """A door on loopback, and who came in."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.door = Door(RING, self._serve)
        self.port = 0

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: NamedKey
    ) -> None:
        self.served.append(key.name)
        writer.write(b"welcome")
        await writer.drain()
        await reader.read()
        writer.transport.abort()

    async def stranger(self, *words: bytes, then_close: bool = False) -> bytes:
        """Everything that somebody gets who says that, until the door hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for word in words:
            writer.write(word)
            await writer.drain()
        if then_close:
            writer.write_eof()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.transport.abort()

    async def client(
        self, key: NamedKey, *, named: str | None = "", context: ssl.SSLContext | None = None
    ) -> bytes:
        """What a client of that key hears first; ssl.SSLError or OSError when it is sent away."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            ssl=context or tls.context(key.key, server=False),
            server_hostname=(key.id if named == "" else named) or "127.0.0.1",
        )
        try:
            return await reader.read(7)
        finally:
            writer.transport.abort()


def at_home(play: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        house = House()
        house.door.open("127.0.0.1", 0)
        house.port = house.door._listeners[0].getsockname()[1]
        try:
            async with asyncio.timeout(30):
                await play(house)
        finally:
            await house.door.close()

    asyncio.run(run())


def client_hello(name: str | None) -> bytes:
    """What a client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = tls.context(bytes(32), server=False).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        link.do_handshake()
    return outgoing.read()


def test_each_key_opens_and_is_known_by_its_name() -> None:
    async def play(house: House) -> None:
        for key in (ALICE, BOB, ALICE):
            assert await house.client(key) == b"welcome"
        assert house.served == ["alice", "bob", "alice"]

    at_home(play)


@pytest.mark.parametrize("name", [None, "k0123456789abcdef", "www.example.org", "alice"])
def test_who_names_no_key_gets_an_alert_and_nothing_else(name: str | None) -> None:
    async def play(house: House) -> None:
        assert await house.stranger(client_hello(name)) == UNRECOGNIZED_NAME
        assert house.served == []

    at_home(play)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\0" * 5000,
        b"\x16\x03\x01\xff\xff" + b"x" * 100,
        b"\x16\x03\x01\x00\x05hello",
        b"\x15\x03\x03\x00\x02\x02\x28",
        client_hello("x")[:5] + b"\xff" * (len(client_hello("x")) - 5),
    ],
)
def test_what_is_no_client_hello_gets_an_alert_at_most(words: bytes) -> None:
    async def play(house: House) -> None:
        heard = await house.stranger(words)
        assert heard == b"" or (heard[0] == ALERT and len(heard) == 7)
        assert house.served == []

    at_home(play)


def test_to_know_a_keys_name_is_not_to_hold_it() -> None:
    """Another key, another key's certificate, none at all: nobody is served."""

    async def play(house: House) -> None:
        liar = tls.context(BOB.key, server=False)
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for context in (liar, anyone):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        heard: list[bytes] = []
        for context in (liar, anyone, tls.context(BOB.key, server=False)):
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                heard.append(await house.client(ALICE, context=context))
        assert b"".join(heard) == b""
        assert house.served == []
        assert await house.client(ALICE) == b"welcome"

    at_home(play)


def test_who_is_slow_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent, broken off, an octet at a time: the deadline is the same for all of them."""
    monkeypatch.setattr(door, "SECONDS", 0.2)

    async def play(house: House) -> None:
        async def dribble() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            for octet in client_hello(ALICE.id):
                writer.write(bytes([octet]))
                await asyncio.sleep(0.02)
                if reader.at_eof() or writer.is_closing():
                    break
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.transport.abort()

        assert await house.stranger() == b""
        assert await house.stranger(client_hello(ALICE.id)[:100]) == b""
        assert await house.stranger(b"\x16\x03") == b""
        await dribble()
        assert await house.stranger(client_hello(ALICE.id)[:3], then_close=True) == b""
        assert house.served == []
        assert len(house.door._waiting) == 0

    at_home(play)


def test_a_hello_in_pieces_is_as_good() -> None:
    async def play(house: House) -> None:
        hello = client_hello("nobody")
        pieces = [hello[place : place + 50] for place in range(0, len(hello), 50)]
        assert await house.stranger(*pieces) == UNRECOGNIZED_NAME

    at_home(play)


def test_a_crowd_is_bounded_and_the_client_gets_in() -> None:
    async def play(house: House) -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(100)]
        half = client_hello(ALICE.id)[:200]
        for _, writer in crowd[::2]:
            writer.write(half)
        assert await house.client(ALICE) == b"welcome"
        assert len(house.door._waiting) <= ROOM_EACH
        assert len(house.door._callers) <= ROOM_EACH + 1
        for _, writer in crowd:
            writer.transport.abort()

    at_home(play)


def test_other_keys_count_from_the_next_client_on() -> None:
    async def play(house: House) -> None:
        house.door.take(Keyring((BOB,)))
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await house.client(ALICE)
        assert await house.client(BOB) == b"welcome"

    at_home(play)


def test_a_key_that_is_revoked_during_its_handshake() -> None:
    async def play(house: House) -> None:
        proved = house.door._proved

        async def and_meanwhile(*arguments: object) -> door.Streams:
            streams = await proved(*arguments)  # type: ignore[arg-type]
            house.door.take(Keyring((BOB,)))
            return streams

        house.door._proved = and_meanwhile  # type: ignore[assignment, method-assign]
        with contextlib.suppress(OSError):
            assert await house.client(ALICE) == b""
        assert await house.client(BOB) == b"welcome"
        assert house.served == ["bob"]

    at_home(play)


def test_the_key_that_everybody_holds_opens_only_while_somebody_pairs() -> None:
    everybody = NamedKey("everybody", OPEN_KEY)

    async def play(house: House) -> None:
        paired: list[str] = []

        async def pair(
            _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: NamedKey
        ) -> None:
            paired.append(key.name)
            writer.write(b"pairing")
            await writer.drain()

        with pytest.raises(ssl.SSLError):
            await house.client(everybody)
        house.door.pair = pair
        assert await house.client(everybody) == b"pairing"
        house.door.pair = None
        with pytest.raises(ssl.SSLError):
            await house.client(everybody)
        assert (house.served, len(paired)) == ([], 1)

    at_home(play)


def test_the_name_is_an_identifier() -> None:
    name, alert = tls.Front().read(client_hello(identifier(ALICE.key)))
    assert (name, alert) == (ALICE.id, UNRECOGNIZED_NAME)
    assert tls.Front().read(b"")[0] is None
