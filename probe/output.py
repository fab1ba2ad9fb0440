"""What the commands write: to the terminal, to a file, and how far they have got."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO


def prepare() -> None:
    """A stream that is closed, or that has not our letters, is no reason to fail."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we live
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: str, stream: TextIO | None = None) -> None:
    """A reader that went away (``| head``) is no error. OSError for a full disk."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _silence(stream)


def flush(stream: TextIO) -> None:
    """So that the interpreter finds nothing left to complain of at its end."""
    try:
        stream.flush()
    except OSError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fail(code: int, text: object) -> int:
    say(f"probe: {text}", sys.stderr)
    return code


def progress(stack: ExitStack) -> Callable[[str, float], None]:
    """A bar on a terminal, silence elsewhere."""
    if not sys.stderr.isatty():
        return lambda _text, _share: None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
    )
    stack.enter_context(bar)
    task = bar.add_task("", total=1.0)
    return lambda text, share: bar.update(task, description=text, completed=share)


def write(path: str, text: str) -> bool:
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        say(f"probe: cannot write {path}: {error.strerror}", sys.stderr)
        return False
    return True


def width(stream: TextIO) -> int:
    try:
        return max(80, min(120, os.get_terminal_size(stream.fileno()).columns))
    except OSError:
        return 80


class NoPlace(Exception):
    """The JSON cannot be written there."""


def check_place(json_to: str | None) -> None:
    """Now, and not when the run is over and its result would be lost."""
    if json_to is None or json_to == "-":
        return
    place = Path(json_to)
    try:
        why = "it is a directory" if place.is_dir() else ""
        if not why and not place.exists() and not place.parent.is_dir():
            why = f"there is no directory {place.parent}"
    except OSError as error:
        why = str(error.strerror)
    if not why and not os.access(place if place.exists() else place.parent, os.W_OK):
        why = "writing is not permitted there"
    if why:
        raise NoPlace(f"--json {json_to}: {why}")
