"""The agent's options from a file: TOML whose keys are the names of the options, without dashes.

The command line wins over the file; an option that may be given several times counts from both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agent import arguments
from agent.errors import AgentError

DEFAULT = Path("/etc/probe/agent.toml")
NOT_IN_A_FILE = (
    *("help", "version", "config", "status", "json", "stdio"),
    *("record", "at", "peer", "ask", "shots", "slack", "run", "key-id"),
)


class SettingsError(AgentError):
    """A configuration file, and the key in it that is wrong."""


class Wrong(Exception):
    """What argparse has to say of one option."""


class Parser(arguments.Parser):
    """Raises Wrong instead of ending the program, while a file is being read."""

    reading = False

    def error(self, message: str) -> NoReturn:
        if self.reading:
            raise Wrong(message)
        super().error(message)


def parse(parser: Parser, given: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line, over those of the file that it names or of DEFAULT.

    SettingsError names file and key. A DEFAULT that is not there is no error.
    """
    options = parser.parse_args(given)
    file = Path(options.config) if options.config else DEFAULT
    values = _read(parser, file, needed=bool(options.config))
    parser.set_defaults(**values)
    options = parser.parse_args(given)
    options.of_file = dict.fromkeys(values, file)
    return options


def placed(error: Exception, options: argparse.Namespace, given: Sequence[str] | None) -> str:
    """What is wrong with an option, as "--port 70000: …" has it: with file and key where it is the
    file that says so.
    """
    text = str(error)
    key = text.removeprefix("--").partition(" ")[0]
    words = sys.argv[1:] if given is None else given
    typed = any(word.partition("=")[0] == f"--{key}" for word in words)
    file = options.of_file.get(key.replace("-", "_"))
    if file is None or typed or not text.startswith("--"):
        return text
    return f"{file}: {text.removeprefix('--')}"


def _read(parser: Parser, file: Path, *, needed: bool) -> dict[str, object]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        if not needed and isinstance(error, FileNotFoundError | NotADirectoryError):
            return {}
        raise SettingsError(f"--config {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: not UTF-8 text") from None
    import tomllib  # not for an agent that has no such file

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    names = [
        name[2:]
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--") and name[2:] not in NOT_IN_A_FILE
    ]
    values: dict[str, object] = {}
    for key, value in found.items():
        if key not in names:
            hint = arguments.like(key, names) or f"; there are {', '.join(sorted(names))}"
            raise SettingsError(f"{file}: {key}: no such option{hint}")
        values |= _one(parser, file, key, value)
    return values


def _one(parser: Parser, file: Path, key: str, value: object) -> dict[str, object]:
    """What argparse makes of that option with that value."""
    words: list[str] = []
    for each in value if isinstance(value, list) else [value]:
        if each is True:
            words.append(f"--{key}")
        elif isinstance(each, str | int | float) and not isinstance(each, bool):
            words.append(f"--{key}={each}")
        elif each is not False:
            raise SettingsError(
                f"{file}: {key}: a word, a number, true or false, or a list of them"
            )
    parser.reading = True
    try:
        told = vars(parser.parse_args(words))
    except Wrong as error:
        raise SettingsError(f"{file}: {key}: {str(error).partition(': ')[2] or error}") from None
    finally:
        parser.reading = False
    before = vars(parser.parse_args([]))
    return {name: found for name, found in told.items() if found != before[name]}
