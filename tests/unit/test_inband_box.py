"""Boxes: only who holds the key can make one, and none is taken twice or for another's."""

from __future__ import annotations

import pytest

from agent.inband.box import (
    NONCE,
    OPENING,
    PUBLIC,
    SMALLEST,
    WINDOW,
    Ephemeral,
    Shared,
    Window,
    session_of,
)
from agent.model import Side

KEY, OTHER = bytes(range(32)), bytes(32)
SHARED = Shared(KEY)
NONCES = b"n" * NONCE
SESSION = SHARED.session(b"a" * PUBLIC, b"b" * PUBLIC, b"s" * PUBLIC)


def test_an_opening_is_read_by_the_holder_of_the_key() -> None:
    box = SHARED.seal(Side.NEAR, b"hello", NONCES)
    assert Shared(KEY).open(Side.NEAR, box) == (b"hello", NONCES)
    assert session_of(box) == OPENING


@pytest.mark.parametrize("length", [0, 1, 2, 3, 299, 300, 301, 900])
def test_every_box_is_long_enough_and_fits_esp(length: int) -> None:
    for box in (
        SHARED.seal(Side.NEAR, bytes(length), NONCES),
        SESSION.seal(Side.NEAR, 7, bytes(length)),
    ):
        assert len(box) >= SMALLEST
        assert len(box) % 4 == 0


def test_another_key_reads_nothing() -> None:
    box = SHARED.seal(Side.NEAR, b"hello", NONCES)
    assert Shared(OTHER).open(Side.NEAR, box) is None
    for marker in Shared(OTHER).markers:
        assert Shared(OTHER).open(Side.NEAR, marker + box[4:]) is None


def test_what_comes_back_to_its_sender_is_not_taken_for_the_others() -> None:
    assert SHARED.open(Side.FAR, SHARED.seal(Side.NEAR, b"hello", NONCES)) is None
    assert SESSION.open(Side.FAR, SESSION.seal(Side.NEAR, 1, b"hello")) is None


@pytest.mark.parametrize("place", range(0, SMALLEST, 3))
def test_a_changed_octet_spoils_it(place: int) -> None:
    opening = bytearray(SHARED.seal(Side.NEAR, b"hello", NONCES))
    opening[place] ^= 1
    assert SHARED.open(Side.NEAR, bytes(opening)) is None
    packet = bytearray(SESSION.seal(Side.NEAR, 5, b"hello"))
    packet[place] ^= 1
    assert SESSION.open(Side.NEAR, bytes(packet)) is None


def test_both_ends_agree_on_a_secret_that_was_never_sent() -> None:
    near, far, third = (Ephemeral(bytes([number]) * PUBLIC) for number in (1, 2, 3))
    assert near.agree(far.public) == far.agree(near.public)
    assert near.agree(far.public) not in (None, third.agree(far.public), near.agree(third.public))
    assert len({near.public, far.public, third.public}) == 3


@pytest.mark.parametrize("theirs", [bytes(PUBLIC), (1).to_bytes(PUBLIC, "little"), b"", bytes(31)])
def test_what_gives_everybody_the_same_secret_gives_none(theirs: bytes) -> None:
    """Points of small order, by which a third one could have both ends agree with him."""
    assert Ephemeral(bytes([7]) * PUBLIC).agree(theirs) is None


def test_sessions_do_not_read_each_other() -> None:
    for other in (
        SHARED.session(b"a" * PUBLIC, b"c" * PUBLIC, b"s" * PUBLIC),
        SHARED.session(b"a" * PUBLIC, b"b" * PUBLIC, b"t" * PUBLIC),
    ):
        assert other.id != SESSION.id
        assert other.open(Side.NEAR, SESSION.seal(Side.NEAR, 5, b"hello")) is None
    assert SESSION.open(Side.NEAR, SESSION.seal(Side.NEAR, 5, b"hello")) == (5, b"hello")


def test_a_session_is_never_taken_for_an_opening() -> None:
    assert SHARED.open(Side.NEAR, SESSION.seal(Side.NEAR, 5, b"hello")) is None
    assert SESSION.id != OPENING
    for marker in SHARED.markers:
        assert int.from_bytes(marker, "big") >= 256  # it is an SPI as well


def test_a_counter_is_taken_once_in_any_order() -> None:
    window = Window()
    assert [window.take(n) for n in (0, 2, 1, 2, 0, 3)] == [True, True, True, False, False, True]
    assert window.recent(8) == 0b1111
    assert window.take(WINDOW + 3)
    assert not window.take(3)  # too late to tell
    assert window.take(4)
    assert not window.take(4)
    assert window.take(10 * WINDOW)
    assert window.recent(8) == 1
