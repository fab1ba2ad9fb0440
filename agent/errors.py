"""The package's exceptions, all below one root."""

from __future__ import annotations

from pathlib import Path


class AgentError(Exception):
    """Root of everything this package raises on purpose. The text is fit for a user."""


def in_one_line(error: BaseException) -> str:
    """An error that nobody foresaw, and where it came up: ``KeyError: 7 (engine.py:123)``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{where}"


class WireError(AgentError):
    """Bytes that claim to be one of our kinds and are malformed."""


class ControlError(AgentError):
    """The control connection carried something that is not the protocol."""


class KeyFileError(AgentError):
    """The shared key is missing, damaged, or readable by others."""


class NoKeyFound(KeyFileError):
    """There is none in any of the places where one is looked for."""
