"""Names and addresses, without a packet and without a question to any name server."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from typing import Any

import pytest

from probe.far import dial
from probe.far.dial import LinkError


def resolve(host: str, family: int | None = None) -> tuple[int, str]:
    return asyncio.run(dial.resolve(host, 5088, family))


def test_an_address_is_itself() -> None:
    assert resolve("192.0.2.1") == (4, "192.0.2.1")
    assert resolve("2001:db8::1") == (6, "2001:db8::1")
    assert resolve("fe80::1%lo") == (6, "fe80::1%lo")


@pytest.mark.parametrize("host", ["bad..name", "a" * 64 + ".example", ".", "", "a b"])
def test_what_cannot_be_a_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = socket.getaddrinfo

    def here_only(host: str, *more: Any, flags: int = 0) -> Any:
        return real(host, *more, flags=flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", here_only)
    with pytest.raises(LinkError, match=r"cannot be resolved .*\. Check the spelling"):
        resolve(host)


def test_an_address_of_the_other_family() -> None:
    with pytest.raises(LinkError, match=r"192\.0\.2\.1 is no IPv6 address: leave out -6"):
        resolve("192.0.2.1", 6)
    with pytest.raises(LinkError, match="2001:db8::1 is no IPv4 address: leave out -4"):
        resolve("2001:db8::1", 4)


def test_nobody_waits_for_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it at once, though the question itself cannot be taken back."""

    def slow(_host: str, *_more: Any, flags: int = 0) -> Any:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        time.sleep(5)

    async def interrupted() -> None:
        async with asyncio.timeout(0.05):
            await dial.resolve("slow.invalid", 5088, None)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    assert time.monotonic() - start < 2


def test_a_kernel_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(family: int, *_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", without)
    with pytest.raises(LinkError, match="this host's kernel has no IPv6"):
        dial.route("2001:db8::1", 6)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ECONNREFUSED, "refuses TCP 5088.*run: probe-agent"),
        (errno.EPERM, "this host's own firewall forbids TCP 5088"),
        (errno.EHOSTUNREACH, "check the routes of this host"),
    ],
)
def test_each_refusal_has_its_advice(number: int, words: str) -> None:
    import re

    text = dial._no_connection("192.0.2.1", 5088, OSError(number, "Connect call failed"))
    assert re.search(words, text)
    assert "Connect call" not in text
