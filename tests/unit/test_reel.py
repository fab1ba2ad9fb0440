"""The order of a capture: each host's own, arrivals behind departures, and no clock compared."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Check, Direction, Event, Flow, Kept, Side, Volley
from probe.reel import Reel, ordered

NEAR, FAR = Side.NEAR, Side.FAR
OUT, IN = Direction.OUTBOUND, Direction.INBOUND
CHECKS = (
    Check(1, "esp", OUT, Flow.NEW, 4, partner=2),
    Check(2, "esp", IN, Flow.REPLY, 4, partner=1),
    Check(3, "esp", IN, Flow.NEW, 4, partner=4),
    Check(4, "esp", OUT, Flow.REPLY, 4, partner=3),
    Check(5, "kerberos-tcp", OUT, Flow.NEW, 4, destination_port=88, partner=6),
    Check(6, "kerberos-tcp", IN, Flow.REPLY, 4, source_port=88, partner=5),
)
VOLLEYS = (Volley(3, 1, 3), Volley(1, 1, 3), Volley(5, 1, 3))
NUMBERS = itertools.count(1)


def kept(at: Side, check: int, shot: int, *, out: bool, **more: object) -> Kept:
    event = Event.LEFT if out else Event.ARRIVED
    # far's clock is a year behind, and steps back with every packet
    number = next(NUMBERS)
    time = 1e9 if at is NEAR else 9e8 - number
    return Kept(at, number, time, out, b"", check, shot, **{"event": event, **more})  # type: ignore[arg-type]


def told(packets: list[Kept]) -> list[str]:
    found = ordered(Reel(CHECKS, VOLLEYS, tuple(packets)))
    return [f"{'left' if k.outgoing else 'at'} {k.at} {k.check}/{k.shot}{k.stage}" for k in found]


def test_a_shot_and_its_reply_are_followed_before_the_next() -> None:
    packets = [
        *(kept(NEAR, 1, shot, out=True) for shot in (1, 2)),
        *(kept(FAR, 1, shot, out=False) for shot in (1, 2)),
        *(kept(FAR, 2, shot, out=True) for shot in (1, 2)),
        *(kept(NEAR, 2, shot, out=False) for shot in (1, 2)),
    ]
    assert told(packets) == [
        "left near 1/1",
        "at far 1/1",
        "left near 1/2",
        "at far 1/2",
        "left far 2/1",
        "at near 2/1",
        "left far 2/2",
        "at near 2/2",
    ]


def test_what_was_fired_first_stands_first_also_where_all_was_lost() -> None:
    packets = [kept(NEAR, 1, 1, out=True), kept(FAR, 3, 1, out=True), kept(FAR, 3, 2, out=True)]
    assert told(packets) == ["left far 3/1", "left far 3/2", "left near 1/1"]


def test_all_fragments_leave_before_the_first_arrives() -> None:
    parts = [
        *(kept(FAR, 3, 1, out=True, event=None) for _ in range(2)),
        *(kept(NEAR, 3, 1, out=False, event=None) for _ in range(2)),
    ]
    assert told(parts) == ["left far 3/1"] * 2 + ["at near 3/1"] * 2


def test_fragments_that_cross_with_another_packet_stand_behind_their_own_departures() -> None:
    """A busy host sends the rest of a packet when the other's has come: neither can wait for it."""
    packets = [
        kept(NEAR, 1, 1, out=True, event=None),
        kept(NEAR, 3, 1, out=False),
        kept(NEAR, 1, 1, out=True, event=None),
        kept(FAR, 1, 1, out=False, event=None),
        kept(FAR, 3, 1, out=True),
        kept(FAR, 1, 1, out=False, event=None),
    ]
    assert told(packets) == [
        "left near 1/1",
        "at far 1/1",
        "left far 3/1",
        "at near 3/1",
        "left near 1/1",
        "at far 1/1",
    ]


def test_a_connection_is_told_segment_by_segment() -> None:
    packets = [
        kept(NEAR, 5, 1, out=True, stage="syn"),
        kept(FAR, 5, 1, out=False, stage="syn"),
        kept(FAR, 6, 1, out=True, stage="syn-ack"),
        kept(NEAR, 6, 1, out=False, stage="syn-ack"),
        kept(NEAR, 5, 1, out=True, stage="request"),
        kept(FAR, 5, 1, out=False, stage="request"),
    ]
    assert told(packets) == [
        "left near 5/1syn",
        "at far 5/1syn",
        "left far 6/1syn-ack",
        "at near 6/1syn-ack",
        "left near 5/1request",
        "at far 5/1request",
    ]


def test_an_error_stands_behind_what_it_refuses() -> None:
    packets = [kept(NEAR, 1, 1, out=True), kept(NEAR, 1, 1, out=False, event=Event.REFUSED)]
    assert told(packets) == ["left near 1/1", "at near 1/1"]


def test_what_arrived_and_never_left_is_no_dead_end() -> None:
    """A forged answer; a departure that the far end's report has lost."""
    packets = [kept(FAR, 1, 1, out=False), kept(NEAR, 2, 1, out=False)]
    assert sorted(told(packets)) == ["at far 1/1", "at near 2/1"]


packets = st.lists(
    st.builds(
        kept,
        st.sampled_from(Side),
        st.integers(1, 6),
        st.integers(1, 3),
        out=st.booleans(),
        stage=st.sampled_from(["", "syn", "fragment"]),
        event=st.sampled_from([None, Event.LEFT, Event.ARRIVED, Event.REFUSED]),
    ),
    max_size=30,
)


@given(packets)
def test_nothing_is_lost_and_each_host_keeps_its_own_order(mixed: list[Kept]) -> None:
    found = ordered(Reel(CHECKS, VOLLEYS, tuple(mixed)))
    assert sorted(k.number for k in found) == sorted(k.number for k in mixed)
    for side in Side:
        numbers = [k.number for k in found if k.at is side]
        assert numbers == sorted(numbers)
