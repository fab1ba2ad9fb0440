"""What one end of a session keeps of the other's words."""

from __future__ import annotations

from agent.inband.session import MOST_WAITING, SEGMENT, Incoming


def test_what_comes_too_early_waits_for_what_precedes_it() -> None:
    incoming = Incoming()
    incoming.take(3, b"def")
    assert incoming.whole() == b""
    incoming.take(0, b"abcd")
    assert incoming.whole() == b"abcdef"
    incoming.take(2, b"cdefgh")
    assert incoming.whole() == b"gh"
    assert (incoming.early, incoming.held) == ({}, 0)


def test_words_that_overlap_without_end_do_not_fill_the_memory() -> None:
    incoming = Incoming()
    for offset in range(1, MOST_WAITING // 100):
        incoming.take(offset, bytes(SEGMENT))
    assert sum(map(len, incoming.early.values())) == incoming.held <= MOST_WAITING
