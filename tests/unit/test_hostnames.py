from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from probe.far import hostnames

TEXT = """\
127.0.0.1 localhost
10.0.0.1\tgateway gw # the first router
# 10.0.0.2 gone
fd00::1 six
10.0.0.1 again
10.0.0.3
"""


def test_a_hosts_file() -> None:
    assert hostnames.listed(TEXT) == {
        "127.0.0.1": "localhost",
        "10.0.0.1": "gateway",
        "fd00::1": "six",
    }


def test_nobody_is_asked_unless_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def look_up(address: str) -> tuple[str, list[str], list[str]]:
        asked.append(address)
        if address.endswith("9"):
            raise OSError("unknown")
        return (f"name-of-{address}", [], [])

    monkeypatch.setattr(socket, "gethostbyaddr", look_up)
    monkeypatch.setattr(hostnames, "HOSTS", Path("/nonexistent/hosts"))
    wanted = ["10.0.0.8", "10.0.0.9"]
    assert asyncio.run(hostnames.names(wanted, ask=False)) == {}
    assert asked == []
    assert asyncio.run(hostnames.names(wanted, ask=True)) == {"10.0.0.8": "name-of-10.0.0.8"}
    assert asyncio.run(hostnames.names([], ask=True)) == {}


def test_a_silent_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def look_up(_address: str) -> None:
        over.wait(5)
        raise OSError("too late")

    monkeypatch.setattr(socket, "gethostbyaddr", look_up)
    monkeypatch.setattr(hostnames, "SECONDS", 0.05)
    assert asyncio.run(hostnames.names(["10.0.0.8"], ask=True)) == {}
    over.set()
