"""Plain sockets that speak through a lab's firewall: none of the project's own packet code.

What a firewall lets through is stated twice in this project, by the rules and by a table of tests.
Packets made by hand hold the one against the other, whatever our codecs may do wrong.
"""

from __future__ import annotations

import itertools
import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pyroute2 import IPRoute, netns

from probe.lab import Lab

FAMILIES = (4, 6)
# Seconds without an arrival until silence counts: longer than the second after which IPv6 asks
# again for a neighbour that did not hear it, as happens on links that have only just come up.
WINDOW = 1.3
_NUMBERS = itertools.count(0x1001)  # of a packet; it travels in the packet
_AF = {4: socket.AF_INET, 6: socket.AF_INET6}
_ICMP = {4: 1, 6: 58}
_ESP, _AH, _UDP, _TCP = 50, 51, 17, 6


@dataclass(frozen=True, slots=True)
class Packet:
    """``ports`` are source and destination; for AH those of the UDP datagram inside."""

    name: str
    protocol: int  # 0: ICMP echo
    ports: tuple[int, int] = (0, 0)
    fill: int = 0  # octets more, to make it large


PACKETS = (
    Packet("esp", _ESP),
    Packet("ah", _AH, (9, 9)),
    Packet("ike", _UDP, (500, 500)),
    Packet("ike-fresh", _UDP, (40001, 500)),
    Packet("nat-t", _UDP, (4500, 4500)),
    Packet("nat-t-fresh", _UDP, (40002, 4500)),
    Packet("kerberos-udp", _UDP, (40003, 88)),
    Packet("kerberos-tcp", _TCP, (40004, 88)),
    Packet("l2tp", _UDP, (1701, 1701)),
    Packet("echo", 0),
    Packet("control", _TCP, (40005, 5088)),
)


@dataclass(frozen=True, slots=True)
class Shot:
    family: int
    packet: Packet
    source: str
    destination: str

    def back(self) -> Shot:
        """What a reply to it looks like."""
        ports = self.packet.ports[::-1]
        packet = replace(self.packet, ports=(ports[0], ports[1]))
        return replace(self, packet=packet, source=self.destination, destination=self.source)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(shot: Shot, protocol: int, length: int) -> bytes:
    """RFC 768 and RFC 8200, section 8.1."""
    addresses = b"".join(
        socket.inet_pton(_AF[shot.family], address) for address in (shot.source, shot.destination)
    )
    if shot.family == 4:
        return addresses + struct.pack("!BBH", 0, protocol, length)
    return addresses + struct.pack("!II", length, protocol)


def udp(shot: Shot, body: bytes) -> bytes:
    length = 8 + len(body)
    head = struct.pack("!HHHH", *shot.packet.ports, length, 0)
    total = checksum(pseudo(shot, _UDP, length) + head + body)
    return head[:6] + struct.pack("!H", total or 0xFFFF) + body


def build(shot: Shot, number: int) -> bytes:
    """What follows the IP header."""
    token = struct.pack("!I", number) + b"\xa5" * shot.packet.fill
    match shot.packet.protocol:
        case 50:  # RFC 4303: SPI, sequence number, and what looks encrypted
            return struct.pack("!II", number, 1) + b"\x5a" * 32 + token
        case 51:  # RFC 4302, section 2.2: the length in 32-bit words less 2
            pad = 4 if shot.family == 6 else 0
            inner = udp(shot, token)
            return struct.pack("!BBHII", _UDP, 5 + pad // 4, 0, number, 1) + bytes(16 + pad) + inner
        case 17:
            return udp(shot, token)
        case 6:  # a SYN; its sequence number tells it
            head = struct.pack("!HHIIBBHHH", *shot.packet.ports, number, 0, 5 << 4, 2, 8192, 0, 0)
            total = checksum(pseudo(shot, _TCP, len(head)) + head)
            return head[:16] + struct.pack("!HH", total, 0)
        case _:
            kind = 8 if shot.family == 4 else 128
            head = struct.pack("!BBHHH", kind, 0, 0, number & 0xFFFF, 1)
            cover = pseudo(shot, 58, len(head + token)) if shot.family == 6 else b""
            total = checksum(cover + head + token)
            return head[:2] + struct.pack("!H", total) + head[4:] + token


def protocol(shot: Shot) -> int:
    return shot.packet.protocol or _ICMP[shot.family]


@dataclass(frozen=True, slots=True)
class Arrival:
    shot: Shot
    source: str  # as the receiver sees it


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ICMP error (RFC 792, RFC 4443) that reached the sender."""

    shot: Shot
    type: int
    code: int
    sender: str


@dataclass(frozen=True, slots=True)
class Seen:
    arrivals: tuple[Arrival, ...]
    refusals: tuple[Refusal, ...]


class Host:
    """Raw sockets within near or far. What the host's own INPUT chain drops does not reach them."""

    def __init__(self, lab: Lab, where: str) -> None:
        self.namespace = {"near": lab.near, "far": lab.far}[where]
        # A socket belongs to the namespace in which it was opened: one thread enters and opens.
        with ThreadPoolExecutor(1) as pool:
            self.sockets: dict[tuple[int, int], socket.socket] = pool.submit(self._open).result()

    def _open(self) -> dict[tuple[int, int], socket.socket]:
        netns.setns(self.namespace, flags=0)
        opened = {}
        for family in FAMILIES:
            for number in (_ESP, _AH, _UDP, _TCP, _ICMP[family]):
                sock = socket.socket(_AF[family], socket.SOCK_RAW, number)
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                opened[family, number] = sock
        return opened

    def add_address(self, address: str) -> None:
        with IPRoute(netns=self.namespace) as ip:
            (link,) = ip.get_links(ifname="eth0")
            six = ":" in address
            length, flags = (64, 2) if six else (24, 0)
            ip.addr("add", index=link["index"], address=address, prefixlen=length, flags=flags)

    def send(self, shot: Shot, number: int) -> None:
        sock = self.sockets[shot.family, protocol(shot)]
        if shot.family == 4:
            info = (socket.IPPROTO_IP, 8, struct.pack("=I4s4x", 0, _packed(shot)))  # IP_PKTINFO
        else:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _packed(shot) + bytes(4))
        sock.sendmsg([build(shot, number)], [info], 0, (shot.destination, 0))

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()


def _packed(shot: Shot) -> bytes:
    return socket.inet_pton(_AF[shot.family], shot.source)


class Hosts:
    """near and far of one lab."""

    def __init__(self, lab: Lab) -> None:
        self.near, self.far = Host(lab, "near"), Host(lab, "far")
        self.window = WINDOW

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def exchange(self, outbound: Iterable[Shot], inbound: Iterable[Shot] = ()) -> Seen:
        """Sends everything, then collects until nothing more has come for WINDOW seconds."""
        sent: dict[int, tuple[Shot, Host]] = {}
        for sender, receiver, shots in (
            (self.near, self.far, outbound),
            (self.far, self.near, inbound),
        ):
            for shot in shots:
                number = next(_NUMBERS)
                sent[number] = shot, receiver
                sender.send(shot, number)
        return self._collect(sent)

    def _collect(self, sent: dict[int, tuple[Shot, Host]]) -> Seen:
        arrivals: list[Arrival] = []
        refusals: list[Refusal] = []
        where = {
            sock: (host, family, number)
            for host in (self.near, self.far)
            for (family, number), sock in host.sockets.items()
        }
        deadline = time.monotonic() + self.window
        while (left := deadline - time.monotonic()) > 0:
            for sock in select.select(list(where), [], [], left)[0]:
                host, family, number = where[sock]
                data, (source, *_) = sock.recvfrom(65535)
                body = data[(data[0] & 15) * 4 :] if family == 4 else data
                known = _known(sent, number, body)
                if known is not None and sent[known][1] is host:
                    arrivals.append(Arrival(sent[known][0], source))
                    deadline = time.monotonic() + self.window
                elif number == _ICMP[family] and _is_error(family, body):
                    quoted = _quoted(sent, family, body[8:])
                    if quoted is not None and sent[quoted][1] is not host:
                        refusals.append(Refusal(sent[quoted][0], body[0], body[1], source))
                        deadline = time.monotonic() + self.window
        return Seen(tuple(arrivals), tuple(refusals))


def _known(sent: dict[int, tuple[Shot, Host]], number: int, body: bytes) -> int | None:
    """The number of one of our packets, from what follows the IP header."""
    at = {_ESP: 0, _AH: 4, _TCP: 4}.get(number, 8)
    if len(body) < at + 4 or (number in (1, 58) and body[0] not in (8, 128)):
        return None
    found: int = struct.unpack_from("!I", body, at)[0]
    return found if found in sent and protocol(sent[found][0]) == number else None


def _is_error(family: int, body: bytes) -> bool:
    return body[0] in ((3, 11, 12) if family == 4 else (1, 2, 3, 4))


def _quoted(sent: dict[int, tuple[Shot, Host]], family: int, quote: bytes) -> int | None:
    """The packet that an error quotes: its IP header and as much behind it as we need."""
    if family == 4:
        return _known(sent, quote[9], quote[(quote[0] & 15) * 4 :])
    return _known(sent, quote[6], quote[40:])


def shots(lab: Lab, way: str, packets: Sequence[Packet] = PACKETS, host: int = 2) -> list[Shot]:
    """``packets`` outbound or inbound, in both families, between the addresses that end in host."""
    made = []
    for family in FAMILIES:
        pair = [
            address[:-1] + str(host)
            for address in (lab.near_address(family), lab.far_address(family))
        ]
        source, destination = pair if way == "outbound" else pair[::-1]
        made += [Shot(family, packet, source, destination) for packet in packets]
    return made
