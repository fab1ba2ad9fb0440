"""The capture file: what pcapng holds, byte for byte, and what the comments say."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent.model import Event, Kept, Side, Volley
from agent.wire import fragment, ip
from probe.reel import Reel
from probe.report.pcap import render
from probe.report.pcapng import Interface, Recorded, write
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import result, row
from tests.unit.wire_shots import ENDS, exchange, path

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6


@dataclass
class Block:
    kind: int
    body: bytes
    options: dict[int, bytes] = field(default_factory=dict)

    @property
    def comment(self) -> str:
        return self.options[1].decode()


def blocks(data: bytes) -> Iterator[Block]:
    """A reader of its own, strict about every length and padding."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        inside = data[at + 8 : at + length - 4]
        fixed = {SECTION: 16, INTERFACE: 8, PACKET: 20}[kind]
        if kind == PACKET:
            fixed += -(-struct.unpack_from("<I", inside, 12)[0] // 4) * 4
        yield Block(kind, inside[:fixed], dict(options(inside[fixed:])))
        at += length


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert at + 4 == len(data)
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + -(-length // 4) * 4
    assert not data, "the options have no end"


def test_a_file_is_what_was_written() -> None:
    ends = [Interface("near", "alpha", "one clock"), Interface("far", "beta", "")]
    packets = [
        Recorded(0, 1_700_000_000.000001, True, b"\x45abcd", "first\nsecond"),
        Recorded(1, 0.0, False, b"\x60", ""),
    ]
    section, near, far, first, second = blocks(write("about → us", "ipsec-probe", ends, packets))
    assert section.body == struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    assert (section.comment, section.options[4]) == ("about → us", b"ipsec-probe")
    assert (near.options[2], near.options[3], near.comment) == (b"near", b"alpha", "one clock")
    assert near.body == far.body == struct.pack("<HHI", 101, 0, 0)
    assert 1 not in far.options
    interface, high, low, captured, size = struct.unpack_from("<IIIII", first.body)
    assert (interface, (high << 32) + low) == (0, 1_700_000_000_000_001)
    assert (captured, size, first.body[20:25]) == (5, 5, b"\x45abcd")
    assert first.comment == "first\nsecond"
    assert (first.options[2], second.options[2]) == (b"\x02\0\0\0", b"\x01\0\0\0")
    assert struct.unpack_from("<I", second.body) == (1,)


def test_a_comment_of_any_length_fits() -> None:
    _, found = blocks(write("x", "x", [Interface("near", "ä" * 70_000, "")], []))
    assert found.options[3].decode() == "ä" * 32_767


# -- the report ------------------------------------------------------------------------------------


def capture(*packets: Kept, purpose: str = "", **more: Any) -> RunResult:
    """A run in which IKE is refused outbound and nothing else was asked."""
    ike = row(
        Row("ike"),
        Outcome.REFUSED,
        Outcome.NOT_APPLICABLE,
        Outcome.LOST,
        Outcome.NOT_APPLICABLE,
        causes={Outcome.REFUSED: "10.0.0.254 answered: prohibited"},
    )
    found = result(ike, **more)
    checks = tuple(conclusion.check for conclusion in ike)
    return replace(found, reels=(Reel(checks, (Volley(0, 1, 3),), packets, purpose),))


def kept(data: bytes, **more: Any) -> Kept:
    usual = {"at": Side.NEAR, "number": 1, "time": 1.0, "outgoing": True, "check": 0, "shot": 2}
    return Kept(**{**usual, "data": data, "event": Event.LEFT, **more})


def comments(found: RunResult) -> list[str]:
    return [block.comment for block in blocks(render(found)) if block.kind == PACKET]


ASKED = exchange("ike", 4).asked


def test_a_comment_names_check_shot_sighting_outcome_and_cause() -> None:
    assert comments(capture(kept(ASKED))) == [
        "IKE, UDP 500→500, outbound new, shot 2: left near\n"
        "outcome: refused: 10.0.0.254 answered: prohibited"
    ]
    (told,) = comments(capture(kept(ASKED, at=Side.FAR, outgoing=False, again=True)))
    assert told.startswith("IKE, UDP 500→500, outbound new, shot 2: arrived at far, seen again\n")


def test_a_refusal_is_named_in_words() -> None:
    quoted = bytes((3, 13, 0, 0, 0, 0, 0, 0)) + ASKED
    icmp = ip.ipv4_header("10.0.0.254", ENDS[4][0], 1, len(quoted)) + quoted
    (told,) = comments(capture(kept(icmp, outgoing=False, event=Event.REFUSED)))
    assert "refused by 10.0.0.254: communication administratively prohibited (ICMP 3/13)" in told
    assert "which arrived at near" in told


def test_fragments_and_foreign_answers_are_named() -> None:
    there = path("ike", 4)
    parts = fragment.split(there, 17, ip.udp(there, bytes(3000)))
    first, later, last = (
        kept(part, event=event, stage=stage, number=number)
        for number, (part, event, stage) in enumerate(
            zip(parts, (Event.LEFT, None, Event.LEFT), ("fragment", "", ""), strict=True)
        )
    )
    told = comments(capture(first, later, last))
    for words, comment in zip(
        ("its first fragment left", "a later fragment left", "its last missing fragment left"),
        told,
        strict=True,
    ):
        assert words in comment
    (told,) = (comments(capture(kept(ASKED, event=Event.REPLIED))),)
    assert "the answer of a program that is not ours left near" in told[0]


@pytest.mark.parametrize(
    ("family", "kind"), [(4, "ike"), (6, "ike"), (4, "tcp:445"), (6, "tcp:445")]
)
def test_an_unfilled_checksum_is_filled_and_the_comment_says_so(family: int, kind: str) -> None:
    right = exchange(kind, family).asked
    at = (20 if family == 4 else 40) + (6 if kind == "ike" else 16)
    if kind != "ike":
        filled = ip.with_checksum(ip.parse(right), right)  # the sample's own is zero
        assert filled is not None
        right = filled
    wrong = right[:at] + b"\xab\xcd" + right[at + 2 :]
    found = capture(kept(wrong, unfilled=True))
    (packet,) = [block for block in blocks(render(found)) if block.kind == PACKET]
    assert packet.body[20 : 20 + len(right)] == right
    assert packet.comment.endswith("filled in here")
    # what nobody calls unfilled stays as it came, however wrong
    (packet,) = [b for b in blocks(render(capture(kept(wrong)))) if b.kind == PACKET]
    assert packet.body[20 : 20 + len(wrong)] == wrong


def test_an_unfilled_fragment_is_left_alone() -> None:
    there = path("ike", 4)
    part = fragment.split(there, 17, ip.udp(there, bytes(3000)))[0]
    (packet,) = [b for b in blocks(render(capture(kept(part, unfilled=True)))) if b.kind == PACKET]
    assert packet.body[20 : 20 + len(part)] == part
    assert "no sum of this packet" in packet.comment


def test_the_section_says_what_the_clocks_are_and_whether_the_run_was_whole() -> None:
    section, near, far = blocks(render(capture()))
    assert "two clocks were never compared" in section.comment
    assert "alpha (10.0.0.1)" in section.comment
    assert "broke off" not in section.comment
    assert (near.options[2], far.options[2]) == (b"near", b"far")
    assert "far's own clock" in far.comment
    assert "None of its packets" in far.comment
    section = next(blocks(render(replace(capture(), complete=False))))
    assert "the run broke off" in section.comment


def test_a_run_that_never_began_has_an_empty_capture() -> None:
    assert [block.kind for block in blocks(render(result()))] == [SECTION, INTERFACE, INTERFACE]


def test_the_search_for_an_mtu_is_told_as_such() -> None:
    (told,) = comments(capture(kept(ASKED), purpose="one size of many"))
    assert told.endswith("shot 2: left near\none size of many")
