"""``probe trace`` from the outside, without a packet sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.access import keys
from probe.cli import main


def call(*arguments: str) -> int:
    try:
        return main(("trace", *arguments))
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--peer"),
        (("--peer=10.0.0.1", "--kind=epsilon"), "there is no kind 'epsilon'"),
        (("--peer=10.0.0.1", "--kind=esp,ah"), "one kind at a time"),
        (("--peer=10.0.0.1", "--max-hops=0"), "a number from 1 to 64"),
        (("--peer=10.0.0.1", "--max-hops=many"), "a number from 1 to 64"),
        (("--peer=10.0.0.1", "--timeout=0"), "a number of seconds"),
        (("--peer=10.0.0.1", "--json=/nonexistent/x.json"), "there is no directory /nonexistent"),
        (("--peer=10.0.0.1", "--key=/nonexistent/key"), "/nonexistent/key"),
    ],
)
def test_wrong_usage(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    out = capsys.readouterr().out
    assert "probe trace --peer 10.0.0.5 --kind esp" in out
    assert "exit codes: 0" in out


def test_where_no_agent_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROBE_STATE_DIR", str(tmp_path / "state"))
    keys.create(tmp_path / "key")
    # No name server is ever asked for such a name.
    assert call("--peer=bad..name", f"--key={tmp_path / 'key'}", "--json=-") == 3
    out, err = capsys.readouterr()
    assert "cannot be resolved" in err
    found = json.loads(out)
    assert (found["complete"], found["ways"]) == (False, [])
