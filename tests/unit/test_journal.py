from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from agent.log import journal


@pytest.fixture(params=[False, True], ids=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[bool, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(journal.Json() if request.param else journal.Pairs())
    logger = logging.getLogger(journal.NAME)
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield request.param, stream
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_an_event_is_one_line_with_its_fields(log: tuple[bool, io.StringIO]) -> None:
    as_json, stream = log
    journal.event("session", peer="10.0.0.1", host='a "b" c', sent=3, seconds=0.5, key=None)
    (line,) = stream.getvalue().splitlines()
    if as_json:
        found = json.loads(line)
        assert found.pop("time").endswith("Z")
        assert found == {
            "level": "info",
            "event": "session",
            "peer": "10.0.0.1",
            "host": 'a "b" c',
            "sent": 3,
            "seconds": 0.5,
        }
    else:
        stamp, _, rest = line.partition(" ")
        assert stamp.endswith("Z")
        assert rest == r'session peer=10.0.0.1 host="a \"b\" c" sent=3 seconds=0.500'


def test_what_a_peer_says_cannot_forge_a_line(log: tuple[bool, io.StringIO]) -> None:
    _, stream = log
    evil = "x\n2026-01-01T00:00:00.000Z session peer=1.2.3.4 outcome=closed\r\x1b[2J\u2028y"
    journal.event("session", host=evil)
    logging.getLogger(journal.NAME).warning("%s", evil)
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()
