"""A pairing over real TLS on loopback: the agent's door on one side, near's own on the other."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.access import invite, keys, pairing, tls
from agent.access.door import Door
from agent.access.invite import Invitation
from agent.access.keyring import Keyring, NamedKey
from agent.access.pairing import OPEN_KEY, PairingError
from agent.cli import keep_once
from agent.errors import KeyFileError
from probe.far import pair
from probe.far.dial import LinkError, dial


class Far:
    """An agent's door with an invitation, and what the operator there reads."""

    def __init__(self, directory: Path, *, allowed: bool = True, name: str = "") -> None:
        self.directory = directory
        self.said: list[str] = []
        self.over: list[NamedKey | None] = []
        self.door = Door(Keyring(), self._nobody)
        self.invitation = Invitation(self._keep, self.said.append, self._end, lambda _: allowed)
        self.door.pair = self.invitation.serve
        self._name = name

    @property
    def code(self) -> str:
        return self.invitation.offer.code

    def _keep(self, theirs: str, key: bytes) -> NamedKey:
        return invite.keep(self.directory, self._name or theirs, key, replace=bool(self._name))

    def _end(self, key: NamedKey | None) -> None:
        self.over.append(key)
        self.door.pair = None

    async def _nobody(self, *_: object) -> None:
        raise AssertionError("nobody holds a key")

    async def answer(self, code: str) -> bytes:
        """Near's half."""
        port = self.door._listeners[0].getsockname()[1]
        options = argparse.Namespace(peer="127.0.0.1", port=port, family=4)
        return await pair.pair(options, pairing.read_code(code))


def invited(
    directory: Path, play: Callable[[Far], Awaitable[None]], *, allowed: bool = True, name: str = ""
) -> Far:
    async def run() -> Far:
        far = Far(directory, allowed=allowed, name=name)
        far.door.open("127.0.0.1", 0)
        try:
            async with asyncio.timeout(30):
                await play(far)
        finally:
            far.invitation.close()
            await far.door.close()
        return far

    return asyncio.run(run())


def other(code: str) -> str:
    """Another code without a typing error."""
    digits = f"{(int(pairing.read_code(code)[:-1]) + 1) % 10**8:08}"
    return digits + pairing._check_digit(digits)


def test_both_ends_hold_one_key_and_far_keeps_it_by_name(tmp_path: Path) -> None:
    made: list[bytes] = []

    async def play(far: Far) -> None:
        made.append(await far.answer(far.code))

    far = invited(tmp_path / "keys.d", play)
    kept = Keyring.load(None, tmp_path / "keys.d")
    assert [key.name for key in kept] == [pair.own_name()]
    assert [key.key for key in kept] == made
    assert far.over == list(kept)
    assert (tmp_path / "keys.d").stat().st_mode & 0o777 == 0o700
    assert not any(made[0].hex() in text for text in far.said)


def test_a_wrong_code_voids_it_and_the_right_one_comes_too_late(tmp_path: Path) -> None:
    async def play(far: Far) -> None:
        with pytest.raises(PairingError, match="did not take the code"):
            await far.answer(other(far.code))
        with pytest.raises(PairingError, match="lets nobody pair now"):
            await far.answer(far.code)

    far = invited(tmp_path / "keys.d", play)
    assert far.over == [None]
    assert "the code shown is void" in far.said[0]
    assert "--pair again" in far.said[0]
    assert far.code not in "".join(far.said)
    assert not (tmp_path / "keys.d").exists()


def test_a_code_is_used_once(tmp_path: Path) -> None:
    async def play(far: Far) -> None:
        await far.answer(far.code)
        with pytest.raises(PairingError, match="lets nobody pair now"):
            await far.answer(far.code)

    assert len(invited(tmp_path, play).over) == 1


def test_a_code_expires_and_far_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invite, "LIFETIME", 0.05)

    async def play(far: Far) -> None:
        while not far.over:
            await asyncio.sleep(0.01)
        with pytest.raises(PairingError, match="lets nobody pair now"):
            await far.answer(far.code)

    assert "has expired" in invited(tmp_path, play).said[0]


@pytest.mark.parametrize("words", [b"", b"\x00", b"\xff" * 300, b"\x22\x01" + b"\0" * 33])
def test_nonsense_is_no_guess(tmp_path: Path, words: bytes) -> None:
    async def play(far: Far) -> None:
        port = far.door._listeners[0].getsockname()[1]
        reader, writer = await dial("127.0.0.1", port, OPEN_KEY)
        writer.write(words)
        writer.write_eof() if writer.can_write_eof() else writer.close()
        with pytest.raises((EOFError, ConnectionError)):
            await reader.readexactly(1)
        await far.answer(far.code)

    assert len(invited(tmp_path, play).over) == 1


def test_who_is_not_allowed_here_may_not_pair(tmp_path: Path) -> None:
    async def play(far: Far) -> None:
        with pytest.raises(PairingError):
            await far.answer(far.code)

    assert invited(tmp_path, play, allowed=False).over == []


def test_a_name_that_far_gives_replaces_its_key_and_no_other_does(tmp_path: Path) -> None:
    directory = tmp_path / "keys.d"
    old = {name: NamedKey(name, bytes([number]) * 32) for number, name in enumerate("ab")}
    for key in old.values():
        invite.keep(directory, key.name, key.key, replace=True)
    again = [invite.keep(directory, "a", bytes([9 + n]) * 32, replace=False) for n in range(2)]
    assert [key.name for key in again] == ["a-2", "a-3"]
    assert invite.keep(directory, "a", b"x" * 32, replace=True).name == "a"
    assert keys.load(directory / "a") == b"x" * 32
    assert keys.load(directory / "b") == old["b"].key
    for name, kept in (("../../etc/x", "operator"), ("shared", "operator-2")):
        assert invite.keep(directory, name, b"y" * 32, replace=False).name == kept


def test_a_key_that_far_cannot_keep_is_not_confirmed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def play(far: Far) -> None:
        with pytest.raises(PairingError):
            await far.answer(far.code)

    far = invited(tmp_path / "file", play)
    assert far.over == [None]
    assert "cannot be kept" in far.said[0]


@pytest.mark.parametrize("said", [0, 1])
def test_an_agent_that_is_stopped_in_between_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int
) -> None:
    """Before near's proof and behind it: neither is a wrong code."""
    heard = asyncio.Event()
    receive = pairing.Far.receive

    def slow(far: pairing.Far, data: bytes, now: float) -> bytes:
        """Answers as many words, and then takes its time."""
        nonlocal said
        if said:
            said -= 1
            return receive(far, data, now)
        heard.set()
        return b""

    monkeypatch.setattr(pairing.Far, "receive", slow)

    async def play(far: Far) -> None:
        near = asyncio.create_task(far.answer(far.code))
        await heard.wait()
        await far.door.close()
        with pytest.raises(PairingError, match=r"it was stopped, or crowded\. .* --pair again"):
            await near

    assert invited(tmp_path / "keys.d", play).over == []
    assert not (tmp_path / "keys.d").exists()


def test_nobody_there(tmp_path: Path) -> None:
    async def play(far: Far) -> None:
        options = argparse.Namespace(peer="127.0.0.1", port=1, family=4)
        with pytest.raises(LinkError, match="refuses TCP 1"):
            await pair.pair(options, pairing.read_code(far.code))

    invited(tmp_path, play)


def test_two_connections_have_two_bindings(tmp_path: Path) -> None:
    async def play(far: Far) -> None:
        port = far.door._listeners[0].getsockname()[1]
        found = []
        for _ in range(2):
            _, writer = await dial("127.0.0.1", port, OPEN_KEY)
            found.append(tls.binding(writer.get_extra_info("ssl_object")))
            writer.transport.abort()
        assert found[0] != found[1]
        assert all(len(binding) >= 32 for binding in found)

    invited(tmp_path, play)


@pytest.mark.parametrize(("pair_", "name"), [("", "theirs"), ("alice", "alice")])
def test_root_keeps_one_key_for_the_agent_and_no_other(
    tmp_path: Path, pair_: str, name: str
) -> None:
    keep = keep_once(tmp_path, pair_)
    assert keep(b"k" * 32 + b"theirs") == NamedKey(name, b"k" * 32)
    with pytest.raises(KeyFileError, match="and no other"):
        keep(b"x" * 32 + b"more")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_root_keeps_no_key_where_nobody_is_to_pair(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="with --pair"):
        keep_once(tmp_path, None)(b"k" * 32 + b"theirs")
    assert not list(tmp_path.iterdir())
