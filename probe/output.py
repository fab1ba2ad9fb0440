"""What the commands write: to the terminal, to files, and how far they have got."""

from __future__ import annotations

import io
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

if TYPE_CHECKING:
    from argparse import Namespace

    from probe.result import RunResult

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

WRONG, UNTESTED, INTERRUPTED = 2, 3, 130  # exit codes
UNFOLDED = 10_000  # columns: --quiet promises one line, to whatever reads it


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
        silence(stream)


def say_above(text: str, stream: TextIO) -> None:
    """While a progress bar is shown: takes the bar's line, and leaves the next one to the bar."""
    say(f"\r\x1b[2K{text}" if stream.isatty() else text, stream)


def flush(stream: TextIO) -> None:
    """So that the interpreter finds nothing left to complain of at its end."""
    try:
        stream.flush()
    except OSError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Nobody reads it any more: what is still written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fail(code: int, text: object) -> int:
    say_error(text)
    return code


def say_error(text: object) -> None:
    """To standard error: folded at words on a terminal, one line for whatever else reads it."""
    lines = f"probe: {text}".splitlines()
    if sys.stderr.isatty():
        columns = width(sys.stderr)
        lines = [
            textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False)
            if len(line) > columns
            else line
            for line in lines
        ]
    say("\n".join(lines), sys.stderr)


ASIDE = -1.0


def progress(stack: ExitStack) -> Callable[[str, float], None]:
    """A bar on a terminal, silence elsewhere.

    A share of ASIDE: another program may ask something there, until more is told. The text is then
    a few letters, so that what is asked covers them.
    """
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

    def tell(text: str, share: float) -> None:
        if share == ASIDE:
            bar.stop()
            sys.stderr.write(f"{text}\r")
            sys.stderr.flush()
            return
        bar.start()
        bar.update(task, description=text, completed=share)

    return tell


def write(path: str, content: str | bytes) -> bool:
    """False, and said why, when it cannot be written."""
    try:
        Path(path).write_bytes(_octets(content))
    except OSError as error:
        say_error(f"cannot write {path}: {error.strerror}")
        return False
    return True


def append(path: str, line: str, *, complain: bool) -> bool:
    """A line at the end of a file, which may have been moved away since the last one.

    One that a full disk or a kill has torn ends there: what follows is whole again.
    """
    try:
        before = "\n" if _is_torn(path) else ""
        with open(path, "ab") as file:
            file.write(f"{before}{line}\n".encode())
    except OSError as error:
        if complain:
            say_error(f"cannot write {path}: {error.strerror}")
        return False
    return True


def _is_torn(path: str) -> bool:
    """Is there a last line without an end? Never in what is no regular file."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def deliver(result: RunResult, places: Mapping[str, str], options: Namespace) -> bool:
    """Writes ``result`` in every form asked for, and prints it as a table.

    ``places``: form → file, or "-". False when one of the files could not be written after all;
    the others are.
    """
    from probe.report import evidence, render, table

    to_stdout = [form for form, place in places.items() if place == "-"]
    stream = sys.stderr if to_stdout else sys.stdout
    written = [
        write(place, render(form, result))
        for form, place in places.items()
        if form not in to_stdout
    ]
    if result.error:
        say_error(result.error)
    seen = any(conclusion.shots for conclusion in result.conclusions)
    if seen or not result.error:
        columns = width(stream)
        if options.verbose:
            say(f"{evidence.render(result, columns)}\n", stream)
        colour = wants_colour(stream)
        if options.quiet:
            say(table.summary(result, colour=colour, width=UNFOLDED), stream)
        else:
            say(table.render(result, colour=colour, width=columns), stream)
    for form in to_stdout:
        emit(render(form, result))
    return all(written)


class Form(Protocol[T_contra]):
    """A module of :mod:`probe.report` that draws a result, for a person and for a program."""

    def render(self, result: T_contra, /, *, colour: bool, width: int) -> str: ...

    def render_json(self, result: T_contra, /) -> str: ...


def present(result: T, form: Form[T], error: str, json_to: str | None, *, drawn: bool) -> bool:
    """What a command found: drawn, and as JSON in a file or for "-" on standard output.

    ``error``: why it is not complete, or ""; with it, nothing is drawn unless ``drawn``. False when
    the JSON could not be written after all.
    """
    stream = sys.stderr if json_to == "-" else sys.stdout
    written = json_to in (None, "-") or write(str(json_to), form.render_json(result))
    if error:
        say_error(error)
    if drawn or not error:
        say(form.render(result, colour=wants_colour(stream), width=width(stream)), stream)
    if json_to == "-":
        emit(form.render_json(result))
    return written


def emit(content: str | bytes) -> None:
    """To standard output, octet for octet what a file would get."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(_octets(content))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def _octets(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else f"{content}\n".encode()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """The run is over. What is left is quick, and a second Ctrl-C must not tear it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """True for a terminal that takes colour, unless NO_COLOR (no-color.org) is set."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


def width(stream: TextIO) -> int:
    try:
        return max(80, min(120, os.get_terminal_size(stream.fileno()).columns))
    except OSError:
        return 80


class NoPlace(Exception):
    """A file cannot be written there."""


def check_places(places: Mapping[str, str]) -> None:
    """Now, and not when the run is over and its result would be lost. ``places``: by option."""
    to_stdout = [form for form, place in places.items() if place == "-"]
    if len(to_stdout) > 1:
        both = " and ".join(f"--{form} -" for form in to_stdout)
        raise NoPlace(f"{both}: only one of them can have standard output")
    for form, place in places.items():
        other = next((o for o, taken in places.items() if o != form and taken == place), None)
        if place != "-" and other:
            raise NoPlace(f"--{form} {place}: --{other} goes there")
        if place != "-":
            check_place(place, f"--{form} {place}")


def check_place(place: str, name: str) -> None:
    """NoPlace, about what the operator knows as ``name``, where no file could be written."""
    if why := _why_not(Path(place)):
        raise NoPlace(f"{name}: {why}")


def _why_not(place: Path) -> str:
    try:
        if place.is_dir():
            return "it is a directory"
        if not place.exists() and not place.parent.is_dir():
            return f"there is no directory {place.parent}"
    except OSError as error:
        return str(error.strerror)
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        return "writing is not permitted there"
    return ""
