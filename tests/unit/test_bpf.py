"""The filters, run by a small interpreter of classic BPF: what the kernel would pass on."""

from __future__ import annotations

import struct

import pytest

from agent.linux import bpf
from agent.wire import ip
from agent.wire.base import Path


def accepts(program: bytes, packet: bytes) -> bool:
    """Runs ``program`` as <linux/filter.h> says; a load beyond the end rejects."""
    steps = [struct.unpack_from("=HBBI", program, place) for place in range(0, len(program), 8)]
    a = x = place = 0
    while True:
        code, yes, no, k = steps[place]
        place += 1
        try:
            match code:
                case bpf.LD_B_ABS:
                    a = packet[k]
                case bpf.LD_H_ABS:
                    (a,) = struct.unpack_from("!H", packet, k)
                case bpf.LD_H_IND:
                    (a,) = struct.unpack_from("!H", packet, x + k)
                case bpf.LD_W_IND:
                    (a,) = struct.unpack_from("!I", packet, x + k)
                case bpf.LDX_MSH:
                    x = 4 * (packet[k] & 15)
                case bpf.LDX_IMM:
                    x = k
                case bpf.AND:
                    a &= k
                case bpf.JEQ:
                    place += yes if a == k else no
                case bpf.JSET:
                    place += yes if a & k else no
                case bpf.JA:
                    place += k
                case bpf.RET:
                    return bool(k)
                case _:
                    raise AssertionError(f"unknown instruction {code:#x}")
        except (IndexError, struct.error):
            return False


def packet(family: int, protocol: int, ports: tuple[int, int] = (1, 2)) -> bytes:
    ends = ("10.0.0.1", "10.0.0.2") if family == 4 else ("fd00::1", "fd00::2")
    if protocol == bpf.UDP:
        body = ip.udp(Path(family, *ends, *ports), b"hello")
    else:
        body = struct.pack("!HH", *ports) + bytes(40)
    make = ip.ipv4_header if family == 4 else ip.ipv6_header
    return make(*ends, protocol, len(body)) + body


PROGRAM = bpf.capture_filter({bpf.ESP, bpf.AH, bpf.UDP, bpf.TCP, bpf.ICMP, bpf.ICMPV6}, {500, 88})


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("protocol", "ports", "wanted"),
    [
        (bpf.ESP, (1, 2), True),
        (bpf.AH, (1, 2), True),
        (bpf.UDP, (500, 500), True),
        (bpf.UDP, (40_000, 500), True),
        (bpf.UDP, (500, 40_000), True),
        (bpf.UDP, (40_000, 53), False),
        (bpf.TCP, (40_000, 88), True),
        (bpf.TCP, (40_000, 443), False),
        (47, (500, 500), False),  # GRE
    ],
)
def test_what_the_capture_passes_on(
    family: int, protocol: int, ports: tuple[int, int], wanted: bool
) -> None:
    assert accepts(PROGRAM, packet(family, protocol, ports)) is wanted


def test_icmp_of_each_family() -> None:
    assert accepts(PROGRAM, packet(4, bpf.ICMP))
    assert accepts(PROGRAM, packet(6, bpf.ICMPV6))


def test_later_fragments_pass_for_they_have_no_ports() -> None:
    fragment = bytearray(packet(4, bpf.UDP, (40_000, 53)))
    fragment[6:8] = (185).to_bytes(2, "big")
    assert accepts(PROGRAM, bytes(fragment))


def test_ip_options_move_the_ports() -> None:
    plain = packet(4, bpf.UDP, (40_000, 500))
    assert accepts(PROGRAM, bytes([0x46]) + plain[1:20] + bytes(4) + plain[20:])


@pytest.mark.parametrize("family", [4, 6])
def test_a_raw_sockets_filter(family: int) -> None:
    program = bpf.raw_filter(family, {500})
    start = 0 if family == 4 else 40  # a raw IPv6 socket shows no IP header
    assert accepts(program, packet(family, bpf.UDP, (500, 40_000))[start:])
    assert not accepts(program, packet(family, bpf.UDP, (40_000, 40_001))[start:])


def test_nothing_is_nothing() -> None:
    assert not accepts(bpf.NOTHING, packet(4, bpf.ESP))


def test_many_ports_still_jump_within_reach() -> None:
    program = bpf.capture_filter({bpf.UDP}, set(range(1000, 1100)))
    assert accepts(program, packet(4, bpf.UDP, (5, 1099)))
    assert not accepts(program, packet(4, bpf.UDP, (5, 1100)))
