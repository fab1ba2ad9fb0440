"""What is said of a range of which a few ports were tried is understood again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scenarios.sampling import Span, sampled, sentence, spans


@given(st.sampled_from(["udp", "tcp"]), st.sets(st.integers(1, 65_535), min_size=2, max_size=2))
def test_the_range_comes_back(transport: str, ends: set[int]) -> None:
    span = Span(transport, min(ends), max(ends))
    ports = sampled(span, 5)
    assert ports[0] == span.first
    assert ports[-1] == span.last
    assert spans([sentence(span, ports), "near sits behind NAT"]) == (span,)


def test_what_is_no_range_is_none() -> None:
    assert spans(["TCP 9 to 5: 5 of 5 ports were tried", "TCP 1 to 99999: 5 of 9 ports"]) == ()
