"""Command lines → what a shell may offer at each place, and that as a script for bash, zsh or fish.

Read off the parsers themselves, so that a new option is offered without a word about it here. The
scripts hold all they offer: pressing a key does not start the program.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

__all__ = ["SHELLS", "Command", "read", "script"]

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Values:
    """What may stand in one place: these words, several with commas between, or a file."""

    words: tuple[str, ...] = ()
    several: bool = False
    file: bool = False
    taken: bool = True  # False: an option that stands alone


@dataclass(frozen=True, slots=True)
class Option:
    names: tuple[str, ...]
    about: str
    values: Values
    called: str = ""  # what its value is called: "FILE|-"


@dataclass(frozen=True, slots=True)
class Command:
    """``path``: the words that lead to it, the program's own name first."""

    path: tuple[str, ...]
    about: str
    options: tuple[Option, ...]
    places: tuple[Values, ...]  # what stands there without an option's name
    commands: tuple[Command, ...] = ()
    description: str = ""
    epilog: str = ""  # examples and exit codes, line by line
    usage: str = ""


def read(parser: argparse.ArgumentParser, about: str = "") -> Command:
    """The command line of ``parser``, with its sub-commands."""
    options: list[Option] = []
    places: list[Values] = []
    below: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below += [read(found, helps.get(name, "")) for name, found in action.choices.items()]
        elif action.option_strings:
            words = " ".join((action.help or "").replace("%%", "%").split())
            called = str(action.metavar or action.dest.upper())
            if action.choices is not None and not action.metavar:
                called = "|".join(map(str, action.choices))
            options.append(Option(tuple(action.option_strings), words, _values(action), called))
        else:
            places.append(_values(action))
    path = tuple(parser.prog.split())
    usage = " ".join(parser.format_usage().partition(": ")[2].split())
    described, ended = parser.description or "", parser.epilog or ""
    return Command(
        path, about, tuple(options), tuple(places), tuple(below), described, ended, usage
    )


def _values(action: argparse.Action) -> Values:
    if action.nargs == 0:
        return Values(taken=False)
    if action.choices is not None:
        return Values(tuple(map(str, action.choices)))
    metavar = str(action.metavar or "")
    known = {"KIND,…": "kind", "KIND": "kind", "NAME|FILE": "scenario", "PLATFORM": "platform"}.get(
        metavar, action.dest
    )
    words = _names().get(known, tuple)()
    file = "FILE" in metavar or metavar in ("BEFORE", "AFTER")
    return Values(words, several="…" in metavar, file=file)


@cache
def _names() -> dict[str, Callable[[], tuple[str, ...]]]:
    """What is a list of ours and no choice of argparse's, because a file will do as well."""
    from agent.wire import KINDS
    from probe.advise.platforms import names as platforms
    from probe.lab.firewall import firewall_names
    from scenarios import names

    return {
        "kind": lambda: tuple(kind for kind in KINDS if "noise" not in kind),
        "scenario": names,
        "platform": platforms,
        "firewall": lambda: tuple(firewall_names()),
    }


def script(shell: str, programs: Sequence[Command]) -> str:
    """What ``shell`` reads to complete the command lines of ``programs``."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](programs)


def _walk(command: Command) -> Iterator[Command]:
    yield command
    for below in command.commands:
        yield from _walk(below)


def _short(about: str, length: int = 60) -> str:
    """Fit for a line in a menu, whatever quotes it had."""
    text = re.sub(r"[\[\]:'\"`\\]", "", about)
    return text if len(text) <= length else text[: length - 1].rsplit(" ", 1)[0] + "…"


def _function(command: Command) -> str:
    return "_" + "_".join(command.path).replace("-", "_")


# -- bash ------------------------------------------------------------------------------------------

_BASH = """\
{function}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path={program} word
    if [[ $cur == '=' ]]; then cur=''
    elif [[ $prev == '=' ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$path $word" in {paths}) path+=" $word" ;; esac
    done
    COMPREPLY=()
    case "$path $prev" in
{values}
    esac
    if [[ $cur == -* ]]; then
        case "$path" in
{options}
        esac
        return
    fi
    case "$path" in
{places}
    esac
}}
complete -o bashdefault -F {function} {program}"""


def _bash(programs: Sequence[Command]) -> str:
    head = "# Completion for bash. Use it: source <(probe completion bash)"
    return "\n".join([head, *map(_bash_program, programs)])


def _bash_program(program: Command) -> str:
    values, options, places = [], [], []
    for command in _walk(program):
        path = " ".join(command.path)
        names = " ".join(name for option in command.options for name in option.names)
        options.append(f"""        '{path}') COMPREPLY=($(compgen -W '{names}' -- "$cur")) ;;""")
        for option in command.options:
            if option.values.taken:
                where = "|".join(f"'{path} {name}'" for name in option.names)
                values.append(f"    {where}) {_bash_values(option.values)}; return ;;")
        words = [below.path[-1] for below in command.commands]
        words += [word for place in command.places for word in place.words]
        files = any(place.file for place in command.places)
        if words or files:
            found = _bash_values(Values(tuple(words), file=files))
            places.append(f"    '{path}') {found} ;;")
    paths = "|".join(f"'{' '.join(c.path)}'" for c in _walk(program) if c is not program)
    return _BASH.format(
        program=program.path[0],
        function=_function(program),
        paths=paths or "''",
        values="\n".join(values),
        options="\n".join(options),
        places="\n".join(places) or "    *) ;;",
    )


def _bash_values(values: Values) -> str:
    words = " ".join(values.words)
    if values.several:  # complete what follows the last comma, and keep what stands before it
        return (
            'local head=""; [[ $cur == *,* ]] && head="${cur%,*},"; '
            f"""COMPREPLY=($(compgen -P "$head" -W '{words}' -- "${{cur##*,}}"))"""
        )
    files = "-f " if values.file else ""
    if not words and not files:
        return "COMPREPLY=()"
    return f"""COMPREPLY=($(compgen {files}-W '{words}' -- "$cur"))"""


# -- zsh -------------------------------------------------------------------------------------------


def _zsh(programs: Sequence[Command]) -> str:
    names = " ".join(program.path[0] for program in programs)
    lines = [f"#compdef {names}", "# Completion for zsh. Use it: source <(probe completion zsh)"]
    for program in programs:
        for command in _walk(program):
            lines += _zsh_function(command)
    # Found in $fpath, this file is the body of a function, called for its first completion.
    lines += ["_ipsec_probe() {", "    case $service in"]
    lines += [f"    {program.path[0]}) {_function(program)} ;;" for program in programs]
    lines += ["    esac", "}"]
    lines.append(f"compdef _ipsec_probe {names}")
    lines.append('[[ -n $service ]] && _ipsec_probe "$@"')
    return "\n".join(lines)


def _zsh_function(command: Command) -> Iterator[str]:
    yield f"{_function(command)}() {{"
    specs = [_zsh_option(option) for option in command.options]
    if not command.commands:
        specs += [f"'{n}:word:{_zsh_values(p)}'" for n, p in enumerate(command.places, 1)]
        yield "    _arguments " + " \\\n        ".join(specs)
    else:
        named = " ".join(f"'{c.path[-1]}:{_short(c.about)}'" for c in command.commands)
        yield "    local line state"
        yield (
            "    _arguments -C "
            + " \\\n        ".join([*specs, "'1:command:->command'"])
            + (" \\\n        '*::argument:->argument'")
        )
        yield f"    case $state in command) local -a found=({named}); _describe command found ;;"
        yield "    argument) case $line[1] in"
        for below in command.commands:
            yield f"        {below.path[-1]}) {_function(below)} ;;"
        yield "    esac ;; esac"
    yield "}"


def _zsh_option(option: Option) -> str:
    names = ",".join(option.names)
    long = [f"{name}=" if name.startswith("--") else name for name in option.names]
    shown = ",".join(long if option.values.taken else option.names)
    spelled = f"{{{shown}}}" if len(option.names) > 1 else f"{shown}"
    value = f":value:{_zsh_values(option.values)}" if option.values.taken else ""
    excluded = f"'({names.replace(',', ' ')})'" if len(option.names) > 1 else ""
    return f"{excluded}{spelled}'[{_short(option.about)}]{value}'"


def _zsh_values(values: Values) -> str:
    if values.several:
        return f"_sequence compadd - {' '.join(values.words)}"
    if values.words and values.file:
        return f"{{compadd - {' '.join(values.words)}; _files}}"
    if values.words:
        return f"({' '.join(values.words)})"
    return "_files" if values.file else " "


# -- fish ------------------------------------------------------------------------------------------


def _fish(programs: Sequence[Command]) -> str:
    head = "# Completion for fish. Use it: probe completion fish | source"
    return "\n".join([head, *map(_fish_program, programs)])


def _fish_program(program: Command) -> str:
    name = program.path[0]
    lines = [f"complete -c {name} -f"]
    for command in _walk(program):
        if command is program:
            where = " -n __fish_use_subcommand" if command.commands else ""
        else:
            where = f" -n '__fish_seen_subcommand_from {command.path[-1]}'"
        lines += [
            f"complete -c {name}{where} -a {below.path[-1]} -d '{_short(below.about)}'"
            for below in command.commands
        ]
        for option in command.options:
            flags = " ".join(
                f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names
            )
            lines.append(
                f"complete -c {name}{where} {flags}{_fish_values(option.values)}"
                f" -d '{_short(option.about)}'"
            )
        for place in command.places:
            if place.words:
                lines.append(f"complete -c {name}{where} -a '{' '.join(place.words)}'")
            if place.file:
                lines.append(f"complete -c {name}{where} -F")
    return "\n".join(lines)


def _fish_values(values: Values) -> str:
    if not values.taken:
        return ""
    files = " -rF" if values.file else " -x"
    if values.several:
        return f"{files} -a '(__fish_append , {' '.join(values.words)})'"
    return f"{files} -a '{' '.join(values.words)}'" if values.words else files
