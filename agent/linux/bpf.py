"""Classic BPF programs: the kernel passes on what a run can need, and nothing else.

Offsets count from the IP header, as an AF_PACKET socket of type SOCK_DGRAM shows a packet.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SO_ATTACH_FILTER = 26

# Instruction codes, <linux/filter.h>.
LD_B_ABS, LD_H_ABS = 0x30, 0x28
LD_H_IND, LD_W_IND = 0x48, 0x40
LDX_MSH = 0xB1  # X = 4 * (octet & 15): the length of an IPv4 header
LDX_IMM = 0x01
AND, JEQ, JGT, JSET, JA, RET = 0x54, 0x15, 0x25, 0x45, 0x05, 0x06

ACCEPT = 0xFFFFFFFF
ICMP, TCP, UDP, ESP, AH, ICMPV6, FRAGMENT = 1, 6, 17, 50, 51, 58, 44
IPV6_OPTIONS = (0, 43, 60)  # hop-by-hop, routing, destination options


@dataclass(frozen=True, slots=True)
class _Step:
    code: int
    value: int
    then: str = ""  # label to go to when a jump's condition holds
    otherwise: str = ""
    label: str = ""  # of this step


def _assemble(steps: list[_Step]) -> bytes:
    """Labels to the 8-bit forward distances that the kernel wants."""
    places = {step.label: place for place, step in enumerate(steps) if step.label}

    def distance(label: str, place: int) -> int:
        return places[label] - place - 1 if label else 0

    packed = b""
    for place, step in enumerate(steps):
        yes, no = distance(step.then, place), distance(step.otherwise, place)
        if step.code == JA:
            packed += struct.pack("=HBBI", JA, 0, 0, yes)
        else:
            packed += struct.pack("=HBBI", step.code, yes, no, step.value)
    return packed


def capture_filter(protocols: Iterable[int], ports: Iterable[int]) -> bytes:
    """ESP, AH and ICMP among ``protocols``; UDP and TCP from or to one of ``ports``.

    IPv6 packets with extension headers are passed on as they are, for the decoder to sort out.
    Later IPv4 fragments have no ports and are passed on as well.
    """
    plain = sorted(set(protocols) - {TCP, UDP})
    with_ports = sorted({TCP, UDP} & set(protocols))
    steps = [
        _Step(LD_B_ABS, 0),
        _Step(AND, 0xF0),
        _Step(JEQ, 0x40, "v4", ""),
        _Step(JEQ, 0x60, "v6", "no"),
        _Step(LD_B_ABS, 9, label="v4"),
        *(_Step(JEQ, number, "yes", "") for number in plain),
        *(_Step(JEQ, number, "v4 ports", "") for number in with_ports),
        _Step(JA, 0, "no"),
        _Step(LD_H_ABS, 6, label="v4 ports"),
        _Step(JSET, 0x1FFF, "yes", ""),
        _Step(LDX_MSH, 0),
        _Step(JA, 0, "ports"),
        _Step(LD_B_ABS, 6, label="v6"),
        *(_Step(JEQ, number, "yes", "") for number in (*plain, FRAGMENT, *IPV6_OPTIONS)),
        *(_Step(JEQ, number, "v6 ports", "") for number in with_ports),
        _Step(JA, 0, "no"),
        _Step(LDX_IMM, 40, label="v6 ports"),
        *_port_test(ports),
        _Step(RET, 0, label="no"),
        _Step(RET, ACCEPT, label="yes"),
    ]
    return _assemble(steps)


def raw_filter(family: int, ports: Iterable[int]) -> bytes:
    """For a raw UDP or TCP socket: from or to one of ``ports``.

    A raw IPv4 socket shows the IP header, a raw IPv6 socket begins behind it.
    """
    start = _Step(LDX_MSH, 0) if family == 4 else _Step(LDX_IMM, 0)
    steps = [
        start,
        *_port_test(ports),
        _Step(RET, 0, label="no"),
        _Step(RET, ACCEPT, label="yes"),
    ]
    return _assemble(steps)


def marker_filter(places: Mapping[int, Sequence[int]], markers: Iterable[bytes]) -> bytes:
    """Whole packets that have one of ``markers`` (4 octets each) in one of ``places``: for each
    protocol, octets behind the IP header. Whatever else crosses costs no program anything.
    """
    wanted = sorted(int.from_bytes(marker, "big") for marker in markers)
    steps = [
        _Step(LD_B_ABS, 0),
        _Step(AND, 0xF0),
        _Step(JEQ, 0x40, "v4", ""),
        _Step(JEQ, 0x60, "v6", "no"),
        _Step(LD_H_ABS, 6, label="v4"),
        _Step(JSET, 0x3FFF, "no", ""),
        _Step(LDX_MSH, 0),
        _Step(LD_B_ABS, 9),
        _Step(JA, 0, "protocol"),
        _Step(LDX_IMM, 40, label="v6"),
        _Step(LD_B_ABS, 6),
        _Step(JEQ, min(places), f"of {min(places)}", "", label="protocol"),
        *(_Step(JEQ, protocol, f"of {protocol}", "") for protocol in sorted(places)[1:]),
        _Step(RET, 0, label="no"),
    ]
    for protocol in sorted(places, key=lambda number: len(places[number])):
        label = f"of {protocol}"
        for place in places[protocol]:
            steps.append(_Step(LD_W_IND, place, label=label))
            steps += [_Step(JEQ, marker, f"is {protocol}", "") for marker in wanted]
            label = ""
        steps += [_Step(RET, 0), _Step(RET, ACCEPT, label=f"is {protocol}")]
    return _assemble(steps)


def _port_test(ports: Iterable[int]) -> list[_Step]:
    """Source or destination port, X octets into the packet; ends in "yes" or "no"."""
    wanted = sorted(set(ports))
    return [
        _Step(LD_H_IND, 0, label="ports"),
        *(_Step(JEQ, port, "yes", "") for port in wanted),
        _Step(LD_H_IND, 2),
        *(_Step(JEQ, port, "yes", "") for port in wanted),
        _Step(JA, 0, "no"),
    ]


NOTHING = _assemble([_Step(RET, 0)])


def attach(sock: socket.socket, program: bytes) -> None:
    """Puts ``program`` in place of the socket's filter."""
    buffer = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(
        socket.SOL_SOCKET,
        SO_ATTACH_FILTER,
        struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)),
    )
