"""A capture is written whatever an end has kept: the file is sound, and no packet of it is lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Event, Kept, Side
from probe.reel import Reel
from probe.report.pcap import render
from tests.fuzz import hostile
from tests.fuzz.effort import some
from tests.samples import result, whole
from tests.unit.test_report_pcap import PACKET, blocks

CONCLUSIONS = whole("kerberos-tcp") + tuple(
    replace(found, check=replace(found.check, number=found.check.number + 10, partner=None))
    for found in whole("esp")
)
CHECKS = tuple(found.check for found in CONCLUSIONS)
kept = st.builds(
    Kept,
    st.sampled_from(Side),
    st.integers(0, 1 << 40),
    st.floats(-1.0, 1e11),
    st.booleans(),
    hostile.raw_packets | hostile.octets,
    st.sampled_from([check.number for check in CHECKS]),
    st.integers(0, 65_535),
    st.none() | st.sampled_from(Event),
    st.sampled_from(["", "syn", "fragment", "\n", "x" * 300]),
    st.booleans(),
    st.booleans(),
)


@some
@given(st.lists(kept, max_size=8), st.sampled_from(["", "a purpose"]))
def test_any_packets_make_a_sound_file(packets: list[Kept], purpose: str) -> None:
    reel = Reel(CHECKS, (), tuple(packets), purpose)
    written = render(replace(result(CONCLUSIONS), reels=(reel,)))
    found = [block for block in blocks(written) if block.kind == PACKET]
    assert len(found) == len(packets)
    assert all(", shot " in block.comment for block in found)
