"""``probe watch`` before its first round: what is wrong is said before anything is used up."""

from __future__ import annotations

import socket

import pytest

from probe.cli import main
from probe.far import keyholder


def test_a_metrics_port_that_is_taken_costs_no_pairing_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def used(_options: object) -> tuple[bytes, ...]:
        raise AssertionError("the code is of use once only")

    monkeypatch.setattr(keyholder, "hold", used)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["watch", "--peer", "127.0.0.1", "--code", "1", f"--metrics={port}"]) == 2
    assert f"127.0.0.1:{port}: Address already in use" in capsys.readouterr().err
