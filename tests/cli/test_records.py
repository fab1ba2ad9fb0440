"""``probe correlate`` and ``probe-agent --record`` at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import cli as agent_cli
from agent.access import keys
from agent.access.keyring import identifier
from agent.model import Side
from agent.record.file import Record, encode
from probe.cli import main

ONE, OTHER = b"1" * 32, b"2" * 32


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's state is no test's affair."""
    monkeypatch.setenv("PROBE_STATE_DIR", str(tmp_path / "state"))


def record(side: Side) -> Record:
    return Record(side, "0", "host", "10.0.0.1", "10.0.0.2", 0.0, "esp", 4, 16, 5.0, "0badcafe", 9)


def test_two_records_with_two_keys_are_no_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, near, far = tmp_path / "key", tmp_path / "near.rec", tmp_path / "far.rec"
    keys.store(key, [ONE, OTHER])
    near.write_bytes(encode(record(Side.NEAR), ONE))
    far.write_bytes(encode(record(Side.FAR), OTHER))
    assert main(["correlate", str(near), str(far), f"--key={key}"]) == 2
    assert "two different keys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--record goes with --at, --peer and --run"),
        (["--run=0badcafe"], "--record goes with --at, --peer and --run"),
        (["--run=7", "--at=+5m", "--peer=10.0.0.1"], "--run 7: eight digits from 0 to f"),
    ],
)
def test_what_a_recording_is_to_be_told(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agent_cli.main([f"--record={tmp_path / 'far.rec'}", *options]) == 2
    assert words in capsys.readouterr().err


def test_an_hour_that_is_over_is_told_before_anybody_waits_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.store(tmp_path / "key", [ONE])
    file = tmp_path / "near.rec"
    options = ["--peer=127.0.0.1", "--at=2020-01-01T00:00:00Z", f"--key={tmp_path / 'key'}"]
    assert main(["record", str(file), *options]) == 2
    out, err = capsys.readouterr()
    assert (out, "that hour is over" in err) == ("", True)
    assert not file.exists()
    options[1] = "--at=+5m"
    assert main(["record", str(tmp_path / "none" / "near.rec"), *options]) == 2
    err = capsys.readouterr().err
    assert (
        err
        == f"probe: {tmp_path / 'none' / 'near.rec'}: there is no directory {tmp_path / 'none'}\n"
    )


def test_one_key_may_have_two_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.store(tmp_path / "key", [ONE])
    (tmp_path / "keys.d").mkdir(mode=0o700)
    keys.store(tmp_path / "keys.d" / "alice", [ONE])
    options = ["--run=0badcafe", "--at=2020-01-01T00:00:00Z", "--peer=127.0.0.1"]
    options += [f"--key={tmp_path / 'key'}", f"--key-id={identifier(ONE)}"]
    assert agent_cli.main([f"--record={tmp_path / 'far.rec'}", *options]) == 3
    assert "agree on a later one" in capsys.readouterr().err
