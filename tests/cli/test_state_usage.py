from __future__ import annotations

from pathlib import Path

import pytest

from probe.cli import main

PEER = "--peer=127.0.0.1"


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text("00" * 32 + "\n")
    path.chmod(0o600)
    return f"--key={path}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind=kerberos-tcp"], "cannot be measured"),
        (["--kind=icmp-echo"], "cannot be measured"),
        (["--kind=esp", "--json=/nowhere/at/all"], "there is no directory"),
    ],
)
def test_what_cannot_be_asked(
    arguments: list[str], words: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["state", PEER, key, *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind=esq"], "did you mean 'esp'"),
        (["--kind=esp,ah"], "one kind at a time"),
        (["--kind=esp", "--max=0"], "a number of seconds"),
        (["--kind=esp", "--max=soon"], "a number of seconds"),
        ([], "--kind"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["state", PEER, *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_the_help_has_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["state", "--help"])
    told = capsys.readouterr().out
    assert "probe state --peer 10.0.0.5 --kind esp" in told
    assert all(len(line) <= 80 for line in told.splitlines())
