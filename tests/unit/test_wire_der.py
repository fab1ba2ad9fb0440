"""The little DER there is: against scapy's, and against itself at every length."""

from __future__ import annotations

import pytest
from scapy.asn1.ber import BER_len_dec, BER_len_enc

from agent.errors import WireError
from agent.wire.der import element, grown, grown_to, length_octets, renamed


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65_535, 65_536])
def test_lengths_are_scapys(length: int) -> None:
    assert length_octets(length) == BER_len_enc(length)
    assert BER_len_dec(length_octets(length))[0] == length


@pytest.mark.parametrize("length", [0, 127, 128, 300, 70_000])
def test_an_element_is_found(length: int) -> None:
    data = b"\x04" + length_octets(length) + bytes(length)
    assert element(b"junk" + data + b"more", 4) == (4, 4 + len(data) - length, 4 + len(data))


@pytest.mark.parametrize(
    "data", [b"", b"\x04", b"\x04\x02a", b"\x04\x81", b"\x04\x80\0\0", b"\x04\x85\0\0\0\0\1a",
             b"\x1f\x20\x01a", b"\x04\x82\x01"]
)  # fmt: skip
def test_broken_off(data: bytes) -> None:
    with pytest.raises(WireError):
        element(data)


NESTED = bytes.fromhex("30 0c 02 01 05 a2 04 04 02 aabb 04 01 cc")  # bb aa inside, cc behind
INSIDE, BEHIND = 9, 13


def test_every_length_around_it_grows() -> None:
    bigger = grown(NESTED, INSIDE, b"!")
    assert bigger == bytes.fromhex("30 0d 02 01 05 a2 05 04 03 aabb 21 04 01 cc")
    assert grown(NESTED, BEHIND, b"!") == NESTED[:1] + b"\x0d" + NESTED[2:12] + b"\x02\xcc!"


def test_octet_strings_may_enclose() -> None:
    """As e-data does, which is an octet string and holds METHOD-DATA."""
    enclosed = bytes.fromhex("04 05 30 03 04 01 aa")
    assert grown(enclosed, 6, b"!") == bytes.fromhex("04 06 30 04 04 02 aa 21")


@pytest.mark.parametrize("size", range(14, 700))
def test_grown_to_is_as_near_as_der_can(size: int) -> None:
    result = grown_to(NESTED, INSIDE, size)
    assert size - 2 <= len(result) <= size
    assert element(result)[2] == len(result)
    start = result.index(b"\xaa\xbb") + 2
    filling = len(result) - start - 3
    assert result[start:] == bytes(filling) + b"\x04\x01\xcc"
    assert len(grown(NESTED, INSIDE, bytes(filling + 1))) > size


def test_growing_what_is_not_there() -> None:
    with pytest.raises(WireError):
        grown(b"\x04\x01a", 7, b"x")
    assert grown_to(NESTED, INSIDE, 3) == NESTED


@pytest.mark.parametrize("change", ["renamed", "grown"])
def test_what_is_nested_without_end_is_refused(change: str) -> None:
    bomb = b""
    for _ in range(6000):
        bomb = b"\x30" + length_octets(len(bomb)) + bomb
    with pytest.raises(WireError, match="within each other"):
        renamed(bomb, b"a", b"b") if change == "renamed" else grown(bomb, len(bomb) - 1, b"x")
