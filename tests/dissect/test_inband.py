"""Control messages pass for what they ride in: Wireshark believes it, and finds no fault."""

from __future__ import annotations

import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from agent.inband.box import NONCE, PUBLIC, Shared
from agent.inband.carriers import Ridden, counted_by, unwrap, wrap
from agent.inband.session import Send
from agent.inband.ways import FIXED, HARMLESS, STREAM, Way, answering, new_flow
from agent.model import Side
from agent.wire.base import Packet
from tests.pair.carried import ENDS, parsed

RAW = 101  # LINKTYPE_RAW: packets begin with their IP header
WARNING = 0x00600000  # of Wireshark's expert severities: warning; error is above it
WANTED = {
    "esp": "esp",
    "ah": "ah",
    "ike": "isakmp",
    "ike-nat-t": "udpencap:isakmp",
    "esp-in-udp": "udpencap:esp",
    "icmp-echo": "icmp",
    "kerberos-udp": "kerberos",
    "kerberos-tcp": "tcp:kerberos",
}


def packets(family: int) -> list[tuple[str, bytes]]:
    """(kind, packet) of an opening and a later packet by every way, and of the answers."""
    shared = Shared(bytes(range(32)))
    session = shared.session(bytes(PUBLIC), bytes(PUBLIC), bytes(PUBLIC))
    found = []
    numbers: Counter[object] = Counter()

    def made(way: Way, ridden: Ridden, box: bytes) -> Packet:
        number = numbers[counted_by(ridden)]
        numbers[counted_by(ridden)] += 1
        packet = parsed(Send(way, ridden, box), number)
        found.append((way.kind, packet.header + wrap(ridden, box, number)))
        return packet

    for way in (*HARMLESS, *FIXED):
        for first in (True, False):
            box, answer = (
                shared.seal(side, bytes(640), b"n" * NONCE)
                if first
                else session.seal(side, 9, bytes(range(250)) * 3)
                for side in (Side.NEAR, Side.FAR)
            )
            seen = unwrap(made(way, new_flow(way, *ENDS[family], 50_001), box), shared.markers)
            assert seen is not None
            if way is not STREAM:  # answered on a connection
                made(way, answering(seen[0])[1], answer)
    return found


@pytest.mark.parametrize("family", [4, 6])
def test_every_packet_is_believed(family: int, tmp_path: Path) -> None:
    made = packets(family)
    file = tmp_path / "control.pcap"
    with file.open("wb") as capture:
        capture.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, RAW))
        for place, (_, data) in enumerate(made):
            capture.write(struct.pack("=IIII", place, 0, len(data), len(data)) + data)
    fields = ("frame.protocols", "_ws.expert.severity", "_ws.expert.message")
    argv = ["tshark", "-n", "-r", str(file), "-T", "fields", "-E", "separator=|"]
    argv += [argument for field in fields for argument in ("-e", field)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(made)
    for (kind, _), line in zip(made, lines, strict=True):
        protocols, severity, message = line.split("|", 2)
        assert WANTED[kind] in protocols, line
        worst = max((int(word, 0) for word in severity.split(",") if word), default=0)
        assert worst < WARNING, f"{kind}: {message}"
        assert "alformed" not in line
