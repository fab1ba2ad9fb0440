"""What an agent lets a run ask for: refused in words before, and never exceeded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import limits
from agent.limits import Bucket, OverLimit, granted
from agent.model import Check, Direction, Flow, Limits, Tag, Volley
from agent.wire import KINDS, codec
from agent.wire.base import Keys, Path


def small(shots: float = 10, octets: float = 10_000) -> Bucket:
    return Bucket(Limits(shots, octets, 60))


def test_a_bucket_holds_a_second_and_fills_with_time() -> None:
    bucket = small()
    assert [bucket.take(100, 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert not bucket.take(100, 0.05)
    assert bucket.take(100, 0.1)
    assert not bucket.take(100, 0.1)
    assert [bucket.take(100, 100.0) for _ in range(11)] == [True] * 10 + [False]


def test_octets_are_counted_as_well() -> None:
    bucket = small()
    assert [bucket.take(4000, 0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(2000, 0.0), "what is refused costs nothing"
    assert not bucket.take(1, 0.0)


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = small(shots=1)
    assert bucket.take(1, 100.0)
    assert not bucket.take(1, 50.0)
    assert not bucket.take(1, 100.5)
    assert bucket.take(1, 101.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 0.5), st.integers(1, 3000)),
        max_size=200,
    )
)
def test_no_second_ever_sees_more_than_twice_the_limit(
    asked: list[tuple[float, int]],
) -> None:
    """Invariant: over any span of t seconds at most (1 + t) seconds' worth is sent."""
    bucket, now = small(), 0.0
    sent: list[tuple[float, int]] = []
    for wait, octets in asked:
        now += wait
        if bucket.take(octets, now):
            sent.append((now, octets))
    for start, (begin, _) in enumerate(sent):
        for end in range(start, len(sent)):
            span = sent[end][0] - begin
            some = sent[start : end + 1]
            assert len(some) <= 10 * (1 + span) + 1e-6
            assert sum(octets for _, octets in some) <= 10_000 * (1 + span) + 1e-6


@pytest.mark.parametrize(
    ("shots", "seconds", "fits"),
    [(10, 0.0, True), (11, 0.0, False), (30, 2.0, True), (31, 2.0, False)],
)
def test_an_order_is_refused_before_any_of_it_is_done(
    shots: int, seconds: float, fits: bool
) -> None:
    bucket = small()
    if fits:
        bucket.check_order([100] * shots, [], seconds, 0.0)
    else:
        with pytest.raises(OverLimit, match="--max-shots"):
            bucket.check_order([100] * shots, [], seconds, 0.0)
    assert bucket.take(100, 0.0), "and it has cost nothing"


def test_what_is_ordered_already_counts() -> None:
    with pytest.raises(OverLimit, match="12 shots"):
        small().check_order([100] * 6, [100] * 6, 0.0, 0.0)


def test_an_order_of_too_many_octets() -> None:
    with pytest.raises(OverLimit, match="--max-octets"):
        small().check_order([4000] * 3, [], 0.0, 0.0)
    with pytest.raises(OverLimit, match="20000 octets"):
        small().check_order([20_000], [], 60.0, 0.0)


def test_the_pace_that_near_keeps_is_one_that_far_takes() -> None:
    most = Limits(10, 10_000, 60)
    check = Check(1, "ike", Direction.INBOUND, Flow.NEW, 4, size=2000)
    pace = limits.gap(most, [check])
    assert pace == 0.2
    bucket = Bucket(most)
    for shot in range(100):
        assert bucket.take(2000, shot * pace)
    bucket.check_order(limits.sizes([Volley(1, 1, 50)], {1: check}), [], 49 * pace, 1000.0)


def test_no_more_is_granted_than_was_asked_for() -> None:
    agents = Limits(100, 10_000, 60)
    assert granted(agents, None) == agents
    assert granted(agents, Limits(50, 20_000, 600)) == Limits(50, 10_000, 60)


@pytest.mark.parametrize("kind", [*KINDS, "udp:1701", "tcp:445"])
@pytest.mark.parametrize("family", [4, 6])
def test_no_kind_is_larger_by_nature_than_is_counted(kind: str, family: int) -> None:
    found = codec(kind)
    ends = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}[family]
    path = Path(family, *ends, 50_000 if found.port else None, found.port)
    data = found.request(Keys(bytes(32)), Tag(1, 1), path, None)
    headers = limits.CONNECTION if found.stream else limits.HEADERS[family] + 8
    check = Check(1, kind, Direction.INBOUND, Flow.NEW, family)
    assert len(data) + headers <= limits.octets(check)
