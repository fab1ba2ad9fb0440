"""What is asked, as text and as checks: both ends must read the same into it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import AgentError
from agent.model import Direction, Flow, Fragmenting
from agent.record.asked import KB, Asked, WrongQuestion, checks, read, write
from probe.plan import asked, make
from scenarios import load, names

asking = st.builds(
    Asked,
    st.sampled_from(["esp", "ike", "ike-nat-t", "kerberos-udp", "udp:1701"]),
    st.sampled_from(["both", "outbound", "inbound"]),
    st.none(),
    st.none() | st.integers(28, 65_535),
    st.sampled_from(list(Fragmenting)),
)


@given(st.lists(asking | st.just(Asked("ike", source_port=4500)), min_size=1, max_size=8))
def test_what_is_written_is_read_again(found: list[Asked]) -> None:
    assert list(read(write(found))) == found


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(WrongQuestion):
        assert read(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing is asked"),
        ("espp", "did you mean 'esp'?"),
        ("esp+sideways", "'sideways' is no direction"),
        ("ike+from70000", "'from70000' is no direction"),
        ("esp+12", "'12' is no direction, no size from 28"),
        ("esp+fresh", "esp has no ports"),
        ("kerberos-tcp+from88", "a TCP connection is known by a source port of its own"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(WrongQuestion, match=words):
        read(text)


def test_the_default_is_what_the_kb_lists() -> None:
    assert write(map(asked, load("kb233256").rows)) == KB


@pytest.mark.parametrize("name", names())
def test_both_ends_number_alike(name: str) -> None:
    """Near plans from the scenario, far from the text: the same checks."""
    scenario = load(name)
    text = write(map(asked, scenario.rows))
    far = tuple(check for _, *pair in checks(read(text), 4) for check in pair)
    assert far == make(scenario, 4).checks


def test_inbound_is_numbered_first_and_a_reply_goes_the_other_way() -> None:
    (_, request, reply), *_ = checks(read("ike esp"), 6)
    assert (request.number, request.direction, request.flow) == (1, Direction.INBOUND, Flow.NEW)
    assert (reply.number, reply.direction, reply.flow) == (2, Direction.OUTBOUND, Flow.REPLY)
    assert (request.partner, reply.partner) == (2, 1)


def test_its_errors_are_of_the_package() -> None:
    assert issubclass(WrongQuestion, AgentError)
