"""The options of ``--control ssh``: what they imply, and with what they do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.arguments import settle
from probe.cli import main, parser

COMMANDS = ("run", "trace", "watch", "state --kind esp")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("typed", "control"),
    [
        ("", "auto"),
        ("--ssh=gate", "ssh"),
        ("--ssh-file=a.pyz", "ssh"),
        ("--ssh-command=ssh", "ssh"),
        ("--control=ssh --ssh=gate", "ssh"),
        ("--control=tcp", "tcp"),
    ],
)
def test_who_says_how_ssh_goes_wants_ssh(command: str, typed: str, control: str) -> None:
    options = parser().parse_args([*command.split(), "--peer=10.0.0.5", *typed.split()])
    assert settle(options) == ""
    assert options.control == control


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("--control=tcp --ssh=gate", "--ssh is for --control ssh, not tcp"),
        ("--ssh-file=a --control=inband", "--ssh-file is for --control ssh, not inband"),
        ("--ssh-command=ssh --control=auto", "--ssh-command is for --control ssh, not auto"),
        ("--ssh=gate --code=118-803-668", "leave it out"),
        ("--control=ssh --port=2222", "ssh -p 2222"),
    ],
)
def test_what_does_not_go_together(
    command: str, typed: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--peer=10.0.0.5", *typed.split()]) == 2
    assert word in capsys.readouterr().err


def test_without_an_agent_there_is_nothing_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--peer=10.0.0.5", "--no-agent", "--ssh=gate"]) == 2
    assert "leave out --no-agent" in capsys.readouterr().err


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.pyz"
    other.write_text("no archive")
    for file, words in ((tmp_path / "none.pyz", "there is no such file"), (other, "is not what")):
        for command in COMMANDS:
            options = ["--peer=127.0.0.1", f"--ssh-file={file}"]
            assert main([*command.split(), *options]) == 2
            assert words in capsys.readouterr().err


def test_a_quote_that_is_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "--peer=10.0.0.5", "--ssh-command=ssh -F 'x"])
    assert end.value.code == 2
    assert "No closing quotation" in capsys.readouterr().err
