"""Invariant: any bytes yield messages or a ControlError, never anything else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.control import (
    MAX_LINE,
    AnyMessage,
    Decoder,
    Fire,
    Hello,
    Oops,
    Open,
    Prepared,
    Seen,
    Shown,
    encode,
    shown,
)
from agent.errors import ControlError
from agent.model import (
    Check,
    Direction,
    Event,
    Flow,
    Icmp,
    Kept,
    PortUse,
    Side,
    Sighting,
    Volley,
)

MESSAGES: list[AnyMessage] = [
    Hello(1, "0.1.0", "near"),
    Open(bytes(32), [Check(1, "esp", Direction.INBOUND, Flow.NEW, 6)], "::1", "::2", 600.0),
    Prepared([PortUse(1, 2, 50_000)]),
    Fire([Volley(1, 1, 3)], 0.001),
    Seen([Sighting(Side.FAR, Event.REFUSED, 1, 2, 3.5, icmp=Icmp(3, 13, "10.0.0.1"))]),
    Oops("version", "another"),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_what_goes_in_comes_out(message: AnyMessage) -> None:
    assert list(Decoder().feed(encode(message))) == [message]


def test_messages_may_come_in_pieces_of_any_size() -> None:
    stream = b"".join(map(encode, MESSAGES))
    for size in (1, 2, 7, 1000):
        decoder = Decoder()
        found = [
            message
            for start in range(0, len(stream), size)
            for message in decoder.feed(stream[start : start + size])
        ]
        assert found == MESSAGES


def test_members_of_a_later_version_are_passed_over() -> None:
    line = b'{"type":"hello","protocol":9,"version":"9","name":"x","mood":"good"}\n'
    assert list(Decoder().feed(line)) == [Hello(9, "9", "x")]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"{}\n",
        b'{"type":"hello"}\n',
        b'{"type":"nonsense"}\n',
        b'{"type":"fire","volleys":[{"check":"one","first":1,"count":1}],"gap":0}\n',
        b"\xff\xfe\n",
        b"[" * 5000 + b"\n",
    ],
)
def test_what_is_not_the_protocol_is_a_control_error(line: bytes) -> None:
    with pytest.raises(ControlError):
        list(Decoder().feed(line))


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    decoder = Decoder()
    list(decoder.feed(b"x" * (MAX_LINE // 2 + 1)))
    with pytest.raises(ControlError, match="too long"):
        list(decoder.feed(b"x" * (MAX_LINE // 2 + 1)))


@given(st.lists(st.sampled_from([0, 1, 40, 1500, 65_575]), max_size=6))
@example([0] * 400)
def test_packets_are_shown_in_messages_that_fit(sizes: list[int]) -> None:
    longest = {"number": 10**9, "time": 1_700_000_000.123456, "outgoing": False, "check": 65_535,
               "shot": 65_535, "event": Event.ARRIVED, "stage": "fragment", "again": True,
               "unfilled": True}  # fmt: skip
    packets = [Kept(at=Side.NEAR, data=b"\xff" * size, **longest) for size in sizes * 10]  # type: ignore[arg-type]
    lines = [encode(message) for message in shown(packets)]
    assert all(len(line) <= MAX_LINE for line in lines)
    decoder = Decoder()
    back = [message for line in lines for message in decoder.feed(line)]
    assert [kept for message in back if isinstance(message, Shown) for kept in message.packets] == (
        packets
    )


@given(st.binary(max_size=300))
def test_any_bytes_yield_messages_or_a_control_error(data: bytes) -> None:
    decoder = Decoder()
    try:
        list(decoder.feed(data + b"\n"))
    except ControlError:
        return


@given(st.sampled_from(MESSAGES), st.data())
def test_a_damaged_message_is_a_message_or_a_control_error(
    message: AnyMessage, data: st.DataObject
) -> None:
    line = bytearray(encode(message))
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] = data.draw(st.integers(0, 255))
    try:
        list(Decoder().feed(bytes(line)))
    except ControlError:
        return
