"""Near's call and far's doorway with real sockets, in one process, over this host's loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.inband.ways import FIXED, HARMLESS, Way
from agent.ledger import CONTROL, Ledger, Tuple5
from agent.linux.doorway import Doorway
from agent.linux.line import Line
from agent.linux.post import NOTE_SECONDS, Post
from agent.station import moment
from probe.far import inband
from probe.far.inband import in_words

pytestmark = pytest.mark.netns

KEY, OTHER = b"k" * 32, b"o" * 32
HERE = "127.0.0.1"


class Far:
    """Sends back what it hears, a line at a time."""

    def __init__(self, ledger: Ledger, *, listen: str | None = None) -> None:
        self.keys: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.doorway = Doorway([OTHER, KEY], ledger, self._admit, listen)

    def _admit(self, line: Line, key: bytes) -> None:
        self.keys.append(key)
        self.tasks.append(asyncio.create_task(self._echo(line)))

    async def _echo(self, line: Line) -> None:
        while words := await line.reader.readline():
            line.writer.write(words.upper())


async def talk(tmp_path: Path, listen: str | None, address: str) -> list[bytes]:
    """Which keys came in."""
    near, far = Ledger(tmp_path / "near.sqlite"), Ledger(tmp_path / "far.sqlite")
    there = Far(far, listen=listen)
    there.doorway.open()
    try:
        called = await inband.call(address, address, KEY, near, lambda _text, _share: None)
        called.line.writer.write(b"hello\n")
        assert await asyncio.wait_for(called.line.reader.readline(), 10) == b"HELLO\n"
        assert all(called.ways())
        called.line.writer.transport.abort()
        await asyncio.wait_for(asyncio.gather(*there.tasks), 10)
        return there.keys
    finally:
        there.doorway.close()
        near.close()
        far.close()


@pytest.mark.parametrize("listen", [None, "0.0.0.0", HERE])
def test_who_holds_one_of_the_keys_is_admitted(tmp_path: Path, listen: str | None) -> None:
    assert asyncio.run(talk(tmp_path, listen, HERE)) == [KEY]


def test_in_ipv6(tmp_path: Path) -> None:
    assert asyncio.run(talk(tmp_path, None, "::1")) == [KEY]


@pytest.mark.parametrize("listen", ["127.0.0.2", "gone"])
def test_others_are_not(tmp_path: Path, listen: str) -> None:
    """Who asks at another address than the agent's; or with a key that it had just now."""

    async def attempt() -> None:
        near, far = Ledger(tmp_path / "near.sqlite"), Ledger(tmp_path / "far.sqlite")
        there = Far(far, listen=None if listen == "gone" else listen)
        there.doorway.open()
        if listen == "gone":
            there.doorway.take_keys([OTHER])
        try:
            with pytest.raises(inband.Silent, match="no agent with this key answered"):
                await inband.call(HERE, HERE, KEY, near, lambda _text, _share: None)
        finally:
            there.doorway.close()
        assert not there.keys

    asyncio.run(attempt())


def test_what_travels_on_a_fixed_tuple_is_in_the_ledger(tmp_path: Path) -> None:
    from agent.inband.ways import new_flow
    from agent.model import Side

    ledger = Ledger(tmp_path / "flows.sqlite")
    post = Post(frozenset(), ledger, lambda _ridden, _box: None, Side.NEAR)
    flows = {
        "esp": Tuple5(4, 50, HERE, 0, "127.0.0.9", 0),
        "ah": Tuple5(4, 51, HERE, 0, "127.0.0.9", 0),
        "ike": Tuple5(4, 17, HERE, 500, "127.0.0.9", 500),
    }
    for way in (*HARMLESS, *FIXED):
        post.took(new_flow(way, "127.0.0.9", HERE, 50_000))
    for kind, flow in flows.items():
        found = ledger.age(flow, moment())
        assert found is not None, kind
        assert found[0] < NOTE_SECONDS
        assert found[1] == CONTROL
        assert ledger.age(flow, moment(), crossed=False) is None


def test_ways_in_words() -> None:
    assert in_words({}) == ""
    assert in_words({Way("esp"): 90, Way("icmp-echo"): 2, Way("ike", fixed=True): 30}) == (
        "ESP, IKE 500→500"
    )
    assert in_words({Way("ike"): 5, Way("ike", reply=True): 5}) == "IKE (UDP 500)"
