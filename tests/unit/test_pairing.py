"""Two ends over a fake link: who knows the code gets a key, and nobody else gets anything."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence

import pytest

from agent.access import pairing
from agent.access.pairing import (
    LIFETIME,
    MOST_BEGUN,
    Far,
    Near,
    Offer,
    PairingError,
    WrongCode,
    new_code,
    read_code,
)

NAME = "alice@adminpc"
Carry = Callable[[bytes], bytes]


def chance(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


class Both:
    """near and far, a code that far shows, and a link that a test may put its hands on."""

    def __init__(self, typed: str | None = None, bindings: tuple[bytes, bytes] = (b"t", b"t")):
        self.now = 0.0
        self.offer = Offer(new_code(chance(1)), LIFETIME)
        code = read_code(self.offer.code) if typed is None else typed
        self.near = Near(code, bindings[0], NAME, chance(2))
        self.far = Far(self.offer, bindings[1], chance(3))
        self.outbound: list[bytes] = []
        self.inbound: list[bytes] = []

    def to_far(self, data: bytes) -> bytes:
        self.outbound.append(data)
        answer = self.far.receive(data, self.now)
        self.inbound.append(answer)
        return answer

    def run(self) -> None:
        proof = self.near.receive(self.to_far(self.near.begin()))
        assert self.to_far(proof) == b""
        self.inbound.append(self.far.confirm("alice"))
        assert self.near.receive(self.inbound[-1]) == b""


def other_than(code: str) -> str:
    return f"{(int(code) + 10) % 10**9:09}"


def test_the_right_code_gives_both_ends_the_same_fresh_key() -> None:
    one, two = Both(), Both()
    two.near = Near(read_code(two.offer.code), b"t", NAME, os.urandom)
    for both in (one, two):
        both.run()
        assert both.near.paired
        assert both.far.paired
        assert both.near.paired.key == both.far.paired.key
        assert (both.near.paired.name, both.far.paired.name) == ("alice", NAME)
        assert len(both.near.paired.key) == 32
        assert both.near.paired.key not in b"".join(both.outbound + both.inbound)
    assert one.near.paired != two.near.paired


def test_octet_by_octet_is_the_same() -> None:
    both = Both()
    answers = [both.far.receive(bytes([octet]), 0.0) for octet in both.near.begin()]
    proofs = [both.near.receive(bytes([octet])) for octet in b"".join(answers)]
    for octet in b"".join(proofs):
        assert both.far.receive(bytes([octet]), 0.0) == b""
    assert both.far.paired


def test_a_wrong_code_is_one_guess_and_far_gives_nothing_away() -> None:
    both = Both()
    both.near = Near(other_than(read_code(both.offer.code)), b"t", NAME, chance(2))
    proof = both.near.receive(both.to_far(both.near.begin()))
    with pytest.raises(WrongCode):
        both.to_far(proof)
    assert both.far.paired is None
    assert not both.offer.is_open(0.0)
    assert len(both.inbound) == 1, "the element, and no proof that could be tried against"
    with pytest.raises(PairingError, match="is over"):
        both.to_far(proof)


def begun(offer: Offer, code: str) -> tuple[Far, bytes]:
    """An exchange with one element each way: far, and near's proof."""
    near, far = Near(code, b"t", NAME, os.urandom), Far(offer, b"t", os.urandom)
    return far, near.receive(far.receive(near.begin(), 0.0))


def test_many_guesses_at_once_are_still_one() -> None:
    both = Both()
    right = read_code(both.offer.code)
    guesses = [begun(both.offer, code) for code in (other_than(right), right, right)]
    for far, proof in guesses:
        with pytest.raises(PairingError):
            far.receive(proof, 0.0)
        assert far.paired is None


def test_a_code_pairs_once() -> None:
    both = Both()
    late, proof = begun(both.offer, read_code(both.offer.code))
    both.run()
    with pytest.raises(PairingError, match="used up"):
        late.receive(proof, 0.0)
    with pytest.raises(PairingError, match="used up"):
        begun(both.offer, read_code(both.offer.code))


def test_a_code_expires() -> None:
    both = Both()
    proof = both.near.receive(both.to_far(both.near.begin()))
    both.now = LIFETIME
    with pytest.raises(PairingError, match="used up"):
        both.to_far(proof)
    assert both.far.paired is None


def test_to_break_off_is_no_guess_but_cannot_be_done_for_ever() -> None:
    both = Both()
    for _ in range(MOST_BEGUN - 1):
        begun(both.offer, read_code(both.offer.code))
    assert both.offer.is_open(0.0)
    far, proof = begun(both.offer, read_code(both.offer.code))
    with pytest.raises(PairingError, match="used up"):
        begun(both.offer, read_code(both.offer.code))
    with pytest.raises(PairingError, match="used up"):
        far.receive(proof, 0.0)


def test_a_recorded_pairing_played_again_gives_nothing() -> None:
    both = Both()
    both.run()
    again = Far(Offer(both.offer.code, LIFETIME), b"t", chance(99))
    again.receive(both.outbound[0], 0.0)
    with pytest.raises(WrongCode):
        again.receive(both.outbound[1], 0.0)
    near = Near(read_code(both.offer.code), b"t", NAME, chance(98))
    near.begin()
    near.receive(both.inbound[0])
    with pytest.raises(WrongCode):
        near.receive(both.inbound[-1])


def test_near_is_not_fooled_by_its_own_words() -> None:
    both = Both()
    first = both.near.begin()
    with pytest.raises(PairingError):
        both.near.receive(pairing._framed(first[2:]))
    both = Both()
    proof = both.near.receive(both.to_far(both.near.begin()))
    with pytest.raises(WrongCode):
        both.near.receive(proof)
    assert both.near.paired is None


def test_far_is_not_fooled_by_its_own_words() -> None:
    both = Both()
    element = both.to_far(both.near.begin())
    with pytest.raises(PairingError):
        both.far.receive(element, 0.0)
    assert both.far.paired is None


def test_who_stands_between_two_connections_fails_like_a_wrong_code() -> None:
    """He passes every word on, unchanged; but each end has another connection with him."""
    both = Both(bindings=(b"near and he", b"he and far"))
    proof = both.near.receive(both.to_far(both.near.begin()))
    with pytest.raises(WrongCode):
        both.to_far(proof)


@pytest.mark.parametrize("place", range(3))
def test_a_word_that_was_changed_on_its_way(place: int) -> None:
    words = itertools.count()

    def carry(data: bytes) -> bytes:
        if next(words) != place:
            return data
        return data[:-1] + bytes([data[-1] ^ 1])

    both = Both()

    def exchange() -> None:
        proof = both.near.receive(carry(both.to_far(carry(both.near.begin()))))
        both.to_far(carry(proof))

    with pytest.raises(PairingError):
        exchange()


def test_the_names_are_proved_as_well() -> None:
    both = Both()
    proof = both.near.receive(both.to_far(both.near.begin()))
    with pytest.raises(WrongCode):
        both.to_far(proof.replace(b"alice", b"mallo"))
    both = Both()
    both.to_far(both.near.receive(both.to_far(both.near.begin())))
    with pytest.raises(WrongCode):
        both.near.receive(both.far.confirm("alice").replace(b"alice", b"mallo"))


@pytest.mark.parametrize(
    "words", [(1,), (1, 0), (0, 0), (0, 1, 1)], ids=["proof", "reversed", "twice", "proof twice"]
)
def test_words_out_of_turn(words: Sequence[int]) -> None:
    both = Both()
    both.run()
    far = Far(Offer(both.offer.code, LIFETIME), b"t", chance(3))

    def say() -> None:
        for word in words:
            far.receive(both.outbound[word], 0.0)

    with pytest.raises(PairingError):
        say()
    if words != (0, 1, 1):
        assert far.paired is None


def test_more_than_a_turn_is_refused() -> None:
    both = Both()
    with pytest.raises(PairingError, match="more than its turn"):
        both.to_far(both.near.begin() + b"\0")


def test_another_version_is_told_apart() -> None:
    both = Both()
    first = bytearray(both.near.begin())
    first[1] = 2
    with pytest.raises(PairingError, match="as this version does"):
        both.to_far(bytes(first))


def test_nothing_secret_is_shown() -> None:
    both = Both()
    both.run()
    told = f"{both.offer} {both.far.paired} {both.near.paired}"
    assert both.offer.code not in told
    assert both.far.paired
    assert both.far.paired.key.hex() not in told
    assert "key=" not in told


# -- codes -------------------------------------------------------------------------------------


def test_a_code_reads_as_it_was_shown_however_it_is_typed() -> None:
    code = new_code(chance(5))
    digits = code.replace("-", "")
    assert len(code) == 11
    for typed in (code, digits, code.replace("-", " "), f" {digits} "):
        assert read_code(typed) == digits


def test_every_slip_of_one_digit_is_found() -> None:
    digits = read_code(new_code(chance(6)))
    for place in range(9):
        for other in "0123456789":
            if other != digits[place]:
                with pytest.raises(PairingError, match="typing error"):
                    read_code(digits[:place] + other + digits[place + 1 :])


@pytest.mark.parametrize("text", ["", "482-915", "482-915-0371", "48291503x", "४८२९१५०३७"])
def test_what_is_no_code(text: str) -> None:
    with pytest.raises(PairingError, match="has 9 digits"):
        read_code(text)


def test_codes_differ() -> None:
    assert len({new_code(os.urandom) for _ in range(100)}) > 95
