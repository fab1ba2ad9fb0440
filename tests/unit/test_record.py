"""A record is whole and ours, or it is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Event, Facts, Icmp, PortHeld, Prior, Side, Sighting
from agent.record.file import HEAD, Record, RecordError, decode, encode

KEY = bytes(range(32))


def record(**more: object) -> Record:
    known: dict[str, object] = {
        "side": Side.NEAR,
        "version": "0.1.0",
        "host": "alpha",
        "local": "10.0.0.1",
        "peer": "10.0.0.5",
        "at": 1_700_000_000.0,
        "asked": "esp ike",
        "family": 4,
        "shots": 16,
        "slack": 5.0,
        "run": "0badcafe",
        "state_timeout": 600.0,
        "facts": Facts(captured=3, held=(PortHeld(17, 500),)),
        "priors": [Prior(1, 2.5, "an earlier run")],
        "sightings": [
            Sighting(Side.NEAR, Event.REFUSED, 1, 1, 1.5, icmp=Icmp(3, 13, "10.0.0.254")),
            Sighting(Side.NEAR, Event.ARRIVED, 3, 2, 1.5, "10.0.0.5", translated=(True, False)),
        ],
    }
    return Record(**{**known, **more})  # type: ignore[arg-type]


def test_there_and_back() -> None:
    assert decode(encode(record(), KEY), [bytes(32), KEY]) == (record(), KEY)


@given(st.integers(0, 2**20), st.integers(1, 255))
def test_whatever_was_changed_is_found(place: int, change: int) -> None:
    data = bytearray(encode(record(), KEY))
    data[place % len(data)] ^= change
    if bytes(data).rstrip(b"\n") == encode(record(), KEY).rstrip(b"\n"):
        return
    with pytest.raises(RecordError):
        decode(bytes(data), [KEY])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    for attempt in (data, HEAD + data):
        with pytest.raises(RecordError):
            decode(attempt, [KEY])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b'{"schema": 1}', "it is no record"),
        (b"ipsec-probe record 2\n{}\n00\n", "of another version"),
        (HEAD + b"{", "it breaks off"),
        (encode(record(), bytes(32)), "made with another key, or changed"),
    ],
)
def test_why_not(data: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        decode(data, [KEY])


def test_a_record_that_is_signed_and_makes_no_sense() -> None:
    from agent.record.file import _signature

    signed = HEAD + b'{"side": "middle"}\n'
    with pytest.raises(RecordError, match="malformed"):
        decode(signed + _signature(signed, KEY) + b"\n", [KEY])
