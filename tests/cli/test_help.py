"""Every command explains itself: with examples that it takes, and in 80 columns."""

from __future__ import annotations

import argparse
import shlex

import pytest

from agent import arguments
from agent.cli import parser as agent_parser
from probe.cli import parser
from probe.commands import NAMES
from probe.completion import Command, read

COMMANDS = [read(parser()), *read(parser()).commands, read(agent_parser())]


def helped(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    program, *below = command.path
    with pytest.raises(SystemExit) as end:
        (agent_parser() if program == "probe-agent" else parser()).parse_args([*below, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.path))
def test_help(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = helped(command, capsys, monkeypatch)
    assert max(map(len, text.splitlines())) <= 80
    examples = text.partition("\nexamples:\n")[2].partition("\n\n")[0]
    taken = 0
    for line in examples.splitlines():
        example = line.split("   ")[0] if not line.startswith("      ") else ""
        words = shlex.split(example.partition(" > ")[0].strip())
        if words[:1] == ["probe"]:
            assert parser().parse_args(words[1:]).command
            taken += 1
        elif words[:1] == ["probe-agent"]:
            agent_parser().parse_args(words[1:])
            taken += 1
    assert taken, "no example"


@pytest.mark.parametrize("columns", ["80", "132", "0", "", "wide", None])
def test_help_is_as_wide_as_argparse_would_have_it(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    assert arguments.Formatter("probe")._width == argparse.HelpFormatter("probe")._width


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{' '.join(command.path)} {option.names[0]}"
        for command in COMMANDS
        for option in command.options
        if not option.about
    ]
    assert not silent


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rnu", "did you mean run?"),
        ("scenario", "did you mean scenarios?"),
        ("run --peer=far --sizse", "did you mean --sizes?"),
        ("trace --peer=far --kidn esp", "did you mean --kind?"),
        ("run --peer=far --direction inbond", "did you mean inbound?"),
        ("run --peer=far --only espp", "did you mean 'esp'?"),
        ("completion bsh", "did you mean bash?"),
    ],
)
def test_what_was_meant(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(line.split())
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_every_command_is_shown() -> None:
    (program, *_) = COMMANDS
    assert [command.path[-1] for command in program.commands] == list(NAMES)
    assert all(command.about for command in program.commands)
