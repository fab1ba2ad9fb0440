"""The search for the path's MTU finds it, whatever it is, and takes no filter for a small one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Direction, Event, Flow, Icmp, Sighting
from probe.judge.pathmtu import AT_ONCE, Question, Range, conclude, learned, plan, sentences, sizes
from probe.judge.tracks import origin, target
from probe.result import PathMtu
from probe.sizing import MAX_ROUNDS

OUT, IN = Direction.OUTBOUND, Direction.INBOUND
Mtus = dict[Direction, int]


def cross(
    known: dict[Question, Range],
    mtu: Mtus,
    full: int,
    *,
    tells: bool = False,
    inbound_new: bool = True,
) -> dict[Question, Range] | None:
    """One round over a path with these MTUs; None when nothing is asked any more."""
    wanted = sorted(
        {
            size
            for direction in Direction
            if not (range_ := known.get((direction, "esp"), Range())).settled
            for size in sizes(range_, 4, full)
        }
    )
    if not wanted:
        return None
    asked = plan({"esp": wanted}, 4, (IN, OUT)).checks
    seen: list[Sighting] = []
    delivered: set[int] = set()
    for check in asked:
        if check.flow is Flow.REPLY and check.partner not in delivered:
            continue
        size = check.size or 0
        seen.append(Sighting(origin(check), Event.LEFT, check.number, 1, 0.0, size=size))
        if size > mtu[check.direction]:
            if tells:
                told = Icmp(3, 4, "192.0.2.9", mtu[check.direction])
                seen.append(Sighting(origin(check), Event.REFUSED, check.number, 1, 0.0, icmp=told))
        elif inbound_new or check.direction is OUT or check.flow is Flow.REPLY:
            seen.append(Sighting(target(check), Event.ARRIVED, check.number, 1, 0.0, size=size))
            delivered.add(check.number)
    return learned(known, asked, seen)


def search(mtu: Mtus, full: int, **path: bool) -> tuple[dict[Question, Range], int]:
    known: dict[Question, Range] = {}
    for number in range(MAX_ROUNDS):
        more = cross(known, mtu, full, **path)
        if more is None:
            return known, number
        known = more
    return known, MAX_ROUNDS


@given(st.integers(576, 9000), st.integers(576, 9000), st.booleans())
def test_any_mtu_is_found_to_the_step(out: int, back: int, tells: bool) -> None:
    full = 9000
    known, _ = search({OUT: out, IN: back}, full, tells=tells)
    for direction, mtu in ((OUT, out), (IN, back)):
        found = known[direction, "esp"]
        assert found.low <= mtu < found.low + 4
        if mtu == full:
            assert found.high is None
        else:
            assert found.high is not None
            assert mtu < found.high <= mtu + 4


def test_a_path_that_carries_all_is_asked_once() -> None:
    known, rounds = search({OUT: 1500, IN: 1500}, 1500)
    assert rounds == 1
    assert known[OUT, "esp"] == Range(1500, None, 1500, frozenset(Flow))


def test_a_filter_is_no_small_mtu() -> None:
    known, _ = search({OUT: 1400, IN: 1500}, 1500, inbound_new=False)
    found = conclude(known)
    assert found[OUT]["esp"].octets == 1400
    assert found[IN]["esp"].stopped is None  # only replies, and no larger than what asked for them
    assert found[IN]["esp"].octets == 1400


def test_who_told_the_mtu_is_named_and_silence_is_a_black_hole() -> None:
    known, _ = search({OUT: 1450, IN: 1450}, 1500, tells=True)
    text = "\n".join(sentences(conclude(known)))
    assert "path MTU outbound, ESP IP 50: 1,450 octets cross whole and 1,452 do not" in text
    assert "192.0.2.9 says so by ICMP (MTU 1,450)" in text
    known, _ = search({OUT: 1450, IN: 1450}, 1500)
    assert "black hole" in "\n".join(sentences(conclude(known)))


@pytest.mark.parametrize("full", [577, 1280, 1434, 1500, 9000, 65_535])
def test_a_round_is_bounded_and_begins_with_the_largest(full: int) -> None:
    first = sizes(Range(), 4, full)
    assert first[0] == full
    assert first[-1] - 576 < 4
    assert len(first) <= AT_ONCE
    assert sizes(Range(full, None, full), 4, full) == ()


def test_a_router_that_speaks_at_times_is_no_black_hole() -> None:
    told = sentences(
        {OUT: {"esp": PathMtu(1448, 1452, 1450, "192.0.2.9"), "ike": PathMtu(1448, 1452)}}
    )
    assert "192.0.2.9 says so by ICMP" in told[0]
    assert "though 192.0.2.9 did of others" in told[1]
    assert "black hole" not in " ".join(told)
