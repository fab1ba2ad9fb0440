"""Keys and codes on the command line: what is wrong is told before anything is sent or changed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from agent import cli as agent_cli
from agent.access import keys, pairing
from probe.cli import main

NOWHERE = "--peer=bad..name"  # no name server is ever asked for it
TYPO = "482-915-035"
GOOD = "482-915-034"


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's keys are no test's affair."""
    monkeypatch.delenv("PROBE_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PROBE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(keys, "SYSTEM_KEY", tmp_path / "etc" / "key")


def call(*arguments: str, agent: bool = False) -> int:
    try:
        return agent_cli.main(arguments) if agent else main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


# -- keygen ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--revoke"], "--revoke: whose?"),
        (["--name=../x"], "cannot be the name of a key"),
        (["--name=", "--rotate"], "cannot be the name of a key"),
        (["--name=carol", "--revoke"], "there is no key"),
        (["--rotate"], "there is no key"),
        (["--name=carol", "--retire"], "there is no key"),
        (["FILE", "--name=alice"], "not allowed with argument"),
        (["--rotate", "--retire"], "not allowed with argument"),
    ],
)
def test_keygen_that_cannot_be_done(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call("keygen", *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert not list(tmp_path.rglob("key*"))


def test_a_key_from_its_making_to_its_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(tmp_path / "etc" / "key")
    shared = keys.create(Path(file))
    assert call("keygen") == 2, "it is there already"
    assert call("keygen", "--rotate", file) == 0
    assert keys.load_all(Path(file))[1:] == (shared,)
    assert call("keygen", "--retire", file) == 0
    assert keys.load_all(Path(file)) != (shared,)
    for options in (["--name=alice"], ["--name=alice", "--rotate"], ["--list"]):
        assert call("keygen", *options) == 0, options
    alice = tmp_path / "etc" / "keys.d" / "alice"
    assert alice.parent.stat().st_mode & 0o777 == 0o700
    out = capsys.readouterr().out
    listed = [line.split() for line in out.splitlines()[-3:]]
    assert [line[0] for line in listed] == ["shared", "alice", "alice"]
    for key in (*keys.load_all(Path(file)), *keys.load_all(alice)):
        assert key.hex() not in out
    assert call("keygen", "--name=alice", "--revoke") == 0
    assert not alice.exists()


def test_no_keys_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("keygen", "--list") == 0
    assert "no keys in" in capsys.readouterr().out


# -- codes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "trace", "state"])
@pytest.mark.parametrize(
    ("code", "words"), [(TYPO, "typing error"), ("123", "has 9 digits"), ("", "has 9 digits")]
)
def test_a_code_that_cannot_be_one(
    command: str, code: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kind = ["--kind=esp"] if command != "run" else []
    assert call(command, NOWHERE, f"--code={code}", *kind) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert not (tmp_path / "config").exists(), "nothing was made for it"


def test_a_code_may_come_by_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed, words in (("", "no pairing code was typed"), (f"{TYPO}\n", "typing error")):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert call("run", NOWHERE, "--code") == 2
        assert words in capsys.readouterr().err


def test_pairing_overwrites_no_key_file_that_was_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = keys.create(tmp_path / "key")
    assert call("run", NOWHERE, f"--code={GOOD}", f"--key={tmp_path / 'key'}") == 2
    assert "left as it is" in capsys.readouterr().err
    assert keys.load(tmp_path / "key") == key


def test_a_place_that_cannot_be_written_costs_no_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert call("run", NOWHERE, f"--code={GOOD}", f"--key={tmp_path / 'file' / 'key'}") == 2
    assert "cannot write the key" in capsys.readouterr().err


def test_a_host_that_cannot_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", NOWHERE, f"--code={GOOD}") == 3
    assert "cannot be resolved" in capsys.readouterr().err


def test_no_key_says_how_to_come_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run"], ["record", "near.rec", "--at=+5m"]):
        assert call(*command, "--peer=192.0.2.1") == 2
        assert "run there probe-agent --pair" in capsys.readouterr().err


def test_a_key_of_the_very_host_goes_before_the_general_one(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    general = keys.create(tmp_path / "probe" / "key")
    theirs = keys.create(tmp_path / "probe" / "peers.d" / "10.0.0.5")
    assert keys.find(None, environ, "10.0.0.5")[1] == (theirs,)
    assert keys.find(None, environ, "10.0.0.6")[1] == (general,)
    assert keys.find(None, environ, "../key")[1] == (general,)
    named = keys.create(tmp_path / "named")
    assert keys.find(str(tmp_path / "named"), environ, "10.0.0.5")[1] == (named,)
    assert keys.find(None, {**environ, "PROBE_KEY_FILE": str(tmp_path / "named")}, "10.0.0.5")[
        1
    ] == (named,)


def test_the_code_of_this_file_is_one() -> None:
    assert pairing.read_code(GOOD) == "482915034"


# -- the agent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-shots=0"], "--max-shots 0: a number above 0"),
        (["--max-octets=-1"], "a number above 0"),
        (["--max-seconds=nan"], "a number above 0"),
        (["--max-sessions=many"], "invalid int value"),
        (["--pair=../x"], "cannot be the name of a key"),
        (["--pair=a b"], "cannot be the name of a key"),
    ],
)
def test_an_agent_that_is_started_wrongly(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.create(tmp_path / "key")
    assert call(f"--key={tmp_path / 'key'}", *options, agent=True) == 2
    assert words in capsys.readouterr().err
