"""The agent's log: one line for each thing that happened, in a form that programs can read.

``key=value`` pairs after the time, or with ``--log json`` one JSON object a line. A session has one
line, when it is over: who, what, how much, and how it ended.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TextIO

NAME = "probe-agent"
PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")

Value = str | int | float | bool | None


def begin(stream: TextIO, *, as_json: bool = False) -> None:
    """From now on everything goes to ``stream``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json() if as_json else Pairs())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def event(name: str, level: int = logging.INFO, **fields: Value) -> None:
    """One line. ``name`` is one word; a field that is None is left out."""
    told = {key: value for key, value in fields.items() if value is not None}
    logging.getLogger(NAME).log(level, name, extra={"fields": told})


class Pairs(logging.Formatter):
    """``2026-11-25T17:45:11.123Z session peer=10.0.0.1 …``; what is not an event is as it is."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Value] | None = getattr(record, "fields", None)
        if fields is None:
            return f"{_time(record)} {record.levelname.lower()} {_one_line(record)}"
        pairs = (f"{key}={_quoted(value)}" for key, value in fields.items())
        return " ".join((_time(record), record.getMessage(), *pairs))


class Json(logging.Formatter):
    """``time``, ``level``, ``event`` and the event's fields; what is not an event is a "note"."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Value] | None = getattr(record, "fields", None)
        told: dict[str, Value] = {"time": _time(record), "level": record.levelname.lower()}
        if fields is None:
            return json.dumps(told | {"event": "note", "text": _one_line(record)})
        return json.dumps(told | {"event": record.getMessage()} | fields)


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, in UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03}Z"


def _one_line(record: logging.LogRecord) -> str:
    """What a peer calls itself must not begin a line of its own."""
    text = " ".join(record.getMessage().split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _quoted(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)
