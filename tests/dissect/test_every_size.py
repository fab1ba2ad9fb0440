"""Every kind, a request and its answer, in IPv4 and IPv6, at every size that matters: one capture,
made without any network, and Wireshark's word on each packet of it.

What is checked: nothing malformed, no warning, every checksum right, and every packet is dissected
as what it claims to be.
"""

from __future__ import annotations

import struct
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec, fragment, ip
from agent.wire.ah import FIRST_PORT, PORTS
from agent.wire.base import Codec
from agent.wire.base import Path as Way
from probe.report.pcapng import Interface, Recorded, write
from tests.dissect.wireshark import WARNING, read, worst
from tests.unit.wire_shots import ENDS, EVERY_KIND, FAMILIES, KEYS, back, path, whole

# Around every place where a length needs another octet or a payload another boundary, the MTUs of
# real paths, and some sizes that nothing speaks for.
SIZES = sorted(
    {
        *(edge + step for edge in (128, 256, 512, 1024, 1280, 1500) for step in range(-18, 19)),
        *(
            576,
            1400,
            1420,
            1436,
            1438,
            1440,
            1454,
            1460,
            1472,
            1480,
            1492,
            2000,
            4000,
            9000,
            20_000,
        ),
        *(32_767, 32_768, 65_500, 65_535),
        *range(64, 1500, 37),
    }
)
MTU = 1500
FIELDS = (
    "frame.comment",
    "frame.protocols",
    "_ws.expert.severity",
    "_ws.expert.message",
    *(f"{layer}.checksum.status" for layer in ("ip", "udp", "tcp", "icmp", "icmpv6")),
)
GOOD = {"", "1", "1,1", "3"}  # of a checksum: not there, right, right twice (AH's inside), not sent
# Noise on the port of a protocol is there to be found malformed.
HONEST = tuple(kind for kind in EVERY_KIND if not kind.endswith("-noise"))
# The layer that a packet of each kind has to have; a plain port's claims nothing.
LAYERS = {
    "esp": "esp",
    "ah": "ah",
    "ike": "isakmp",
    "ike-nat-t": "isakmp",
    "esp-in-udp": "esp",
    "nat-keepalive": "udpencap",
    "kerberos-udp": "kerberos",
    "kerberos-tcp": "kerberos",
    "icmp-echo": "icmp",
}


@dataclass(frozen=True)
class Made:
    kind: str
    family: int
    size: int
    answer: bool
    number: int  # of the shot

    def __str__(self) -> str:
        what = "answer" if self.answer else "request"
        return f"{self.kind} {what} IPv{self.family} {self.size} #{self.number}"


def everything() -> Iterator[tuple[Made, bytes]]:
    """Each packet, or each fragment of one that is larger than the MTU."""
    number = 0
    for kind in HONEST:
        for family in FAMILIES:
            for size in (None, *SIZES):
                number += 1
                try:
                    pair = exchange(kind, family, size, number)
                except WireError:
                    assert size is not None, f"{kind} has no natural size"
                    continue
                for answer, (way, data) in enumerate(pair):
                    made = Made(kind, family, size or 0, bool(answer), number)
                    for packet in on_the_wire(codec(kind), way, data, answer):
                        yield made, packet


def exchange(
    kind: str, family: int, size: int | None, number: int
) -> tuple[tuple[Way, bytes], tuple[Way, bytes]]:
    sender, there = codec(kind), path(kind, family)
    if sender.stream:  # every shot a connection of its own
        there = Way(family, *ENDS[family], 49_152 + number, sender.port)
    check = 2 * number  # of its own as well: sequence numbers begin anew
    request = sender.request(KEYS, Tag(check, 1), there, size)
    seen = ip.parse(whole(sender, there, request)).payload
    answer = sender.answer(KEYS, Tag(check + 1, 1), back(there), seen, size)
    return (there, request), (back(there), answer)


def on_the_wire(sender: Codec, way: Way, data: bytes, answer: int) -> list[bytes]:
    if sender.whole_packet(way.family):
        return [data]
    protocol = sender.protocol(way.family)
    if protocol == ip.UDP:
        body = ip.udp(way, data)
    elif protocol == ip.TCP:
        body = segment(way, data, answer)
    else:
        body = data
    if len(body) > MTU - ip.HEADER_LENGTH[way.family] and protocol in (ip.UDP, 1, 58):
        return fragment.split(way, protocol, body)
    header = ip.ipv4_header if way.family == 4 else ip.ipv6_header
    return [header(way.source, way.destination, protocol, len(body)) + body]


def segment(way: Way, data: bytes, answer: int) -> bytes:
    """The whole message in one, whatever its size: how TCP cuts it is the kernel's doing."""
    assert way.source_port
    assert way.destination_port
    numbers = (2000, 1000 + answer) if answer else (1000, 2000)
    header = struct.pack(
        "!HHIIBBHHH", way.source_port, way.destination_port, *numbers, 0x50, 0x18, 512, 0, 0
    )
    covered = ip.pseudo_header(way, ip.TCP, len(header) + len(data)) + header + data
    return header[:16] + ip.checksum(covered).to_bytes(2, "big") + header[18:] + data


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """(what it is, the rest of FIELDS) of every packet."""
    file = tmp_path_factory.mktemp("sizes") / "all.pcapng"
    packets = [Recorded(0, 1.0, True, data, str(made)) for made, data in everything()]
    file.write_bytes(write("", "test", [Interface("made", "", "")], packets))
    found = read(file, FIELDS, sums=True)
    assert len(found) == len(packets)
    return [(fields[0], fields[1:]) for fields in found]


def test_nothing_is_malformed_and_every_checksum_is_right(
    frames: list[tuple[str, list[str]]],
) -> None:
    assert len(frames) > 5000
    odd = [
        (name, fields)
        for name, fields in frames
        if "malformed" in fields[0] or worst(fields[1]) >= WARNING or not {*fields[3:]} <= GOOD
    ]
    assert odd == []


def test_every_packet_is_what_it_claims_to_be(frames: list[tuple[str, list[str]]]) -> None:
    last: dict[str, set[str]] = defaultdict(set)
    for name, fields in frames:  # of a packet in fragments, the last has the whole
        last[name] |= set(fields[0].split(":"))
    wrong = []
    for name, layers in last.items():
        kind = name.partition(" ")[0]
        wanted = LAYERS.get(kind, "")
        if kind == "icmp-echo" and " IPv6 " in name:
            wanted = "icmpv6"
        if wanted and wanted not in layers:
            wrong.append((name, layers))
    assert wrong == []


def test_every_kind_is_there_at_many_sizes(frames: list[tuple[str, list[str]]]) -> None:
    sizes = Counter(name.partition(" ")[0] for name in {name for name, _ in frames})
    assert set(sizes) == set(HONEST)
    for kind, count in sizes.items():
        assert count >= (4 if kind == "nat-keepalive" else 400), (kind, count)


def test_the_ports_inside_ah_are_no_protocols() -> None:
    """Wireshark looks behind them for nothing that it could then find malformed."""
    done = subprocess.run(["tshark", "-G", "decodes"], capture_output=True, text=True, check=True)
    known = {
        int(fields[1])
        for line in done.stdout.splitlines()
        if (fields := line.split("\t"))[0] == "udp.port"
    }
    assert 500 in known
    assert not known & set(range(FIRST_PORT, FIRST_PORT + PORTS))
