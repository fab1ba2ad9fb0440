"""Sockets of one kind each: how to open them, what they bring, and how to send by them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from agent.linux import bpf
from agent.linux.capture import enlarge
from agent.wire import ip
from agent.wire.base import Packet, Path

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SO_MEMINFO, MEMINFO_DROPS = 55, 8
IP_PKTINFO, IPV6_PKTINFO, IPV6_RECVPKTINFO = 8, 50, 49
IP_TTL, IPV6_UNICAST_HOPS, IPV6_HOPLIMIT = 2, 16, 52
LARGEST = 65_575
TCP, UDP, ESP, AH = 6, 17, 50, 51
UDP_SOCKETS = {4: FilePath("/proc/net/udp"), 6: FilePath("/proc/net/udp6")}
MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}  # <linux/in.h>
PMTUDISC_PROBE = 3
IP_NODEFRAG = 22
DEFAULT_HOPS = 64
SMALL_SEGMENT = 1280 - 40 - 20  # IPv6 and TCP headers
DISCARD = 9  # a port to ask the kernel about; nothing goes there
TOO_LARGE = 65_000  # octets


def raw(family: int, protocol: int) -> socket.socket:
    """A raw IP socket: it gets what the host's own firewall lets in, and sends through it."""
    sock = socket.socket(FAMILY[family], socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    enlarge(sock)
    if family == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    if protocol in (ESP, AH):
        # A full packet goes out whole, DF set, whatever the kernel has learned of the path: tunnels
        # do so, and the black hole it may fall into is what we are here to find.
        sock.setsockopt(*MTU_DISCOVER[family], PMTUDISC_PROBE)
    return sock


def raw_whole(family: int) -> socket.socket:
    """A raw socket that sends packets with their IP header, also fragments, as they are."""
    sock = raw(family, socket.IPPROTO_RAW)
    if family == 4:  # else this host's connection tracking would put the fragments in order
        sock.setsockopt(socket.IPPROTO_IP, IP_NODEFRAG, 1)
    return sock


@contextlib.contextmanager
def unfragmented(sock: socket.socket, family: int) -> Iterator[None]:
    """What is sent meanwhile goes whole, DF set, or not at all (EMSGSIZE)."""
    before = sock.getsockopt(*MTU_DISCOVER[family])
    sock.setsockopt(*MTU_DISCOVER[family], PMTUDISC_PROBE)
    try:
        yield
    finally:
        sock.setsockopt(*MTU_DISCOVER[family], before)


def raw_ports(family: int, protocol: int, ports: set[int]) -> socket.socket:
    """A raw UDP or TCP socket: a copy of what a program that holds one of ``ports`` gets."""
    sock = raw(family, protocol)
    bpf.attach(sock, bpf.raw_filter(family, ports))
    return sock


def read_raw(sock: socket.socket, family: int, protocol: int) -> Packet:
    """The next packet. BlockingIOError when there is none, WireError when it is malformed."""
    data, ancillary, _, address = sock.recvmsg(LARGEST, 256)
    if family == 4:
        return ip.parse(data)
    destination = "::"
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
            destination = str(ipaddress.IPv6Address(value[:16]))
    source = str(address[0]).partition("%")[0]
    packet = ip.parse(ip.ipv6_header(source, destination, protocol, len(data)) + data)
    return replace(packet, ttl=None)  # the header is made up: the socket brings what follows it


def udp(family: int, address: str, port: int) -> socket.socket:
    """A UDP socket at ``address``; port 0 asks for a free one. OSError when it is taken."""
    sock = socket.socket(FAMILY[family], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        enlarge(sock)
        sock.bind(endpoint(address, port))
    except OSError:
        sock.close()
        raise
    if port:
        # Only now, or we would come beside others. A daemon that starts while we are here has its
        # port all the same, if it is one that shares (libreswan, the KDCs; strongSwan is not).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def udp_places(family: int) -> dict[int, str]:
    """Inode → "ADDRESS:PORT", in the kernel's own hexadecimal, of this namespace's UDP sockets."""
    try:
        lines = UDP_SOCKETS[family].read_text().splitlines()[1:]
    except OSError:
        return {}
    return {int(fields[9]): fields[1] for fields in map(str.split, lines)}


def shared(sock: socket.socket, places: dict[int, str]) -> bool:
    """Has another socket come to this one's port, by its address or by all addresses?"""
    inode = os.fstat(sock.fileno()).st_ino
    mine = places.get(inode, "")
    address, _, port = mine.partition(":")
    theirs = {place for other, place in places.items() if other != inode}
    return bool(mine) and not theirs.isdisjoint((mine, f"{'0' * len(address)}:{port}"))


def read_udp(sock: socket.socket, family: int) -> Packet:
    """The next datagram. BlockingIOError when there is none."""
    data, sender = sock.recvfrom(LARGEST)
    here = sock.getsockname()
    return Packet(
        family=family,
        protocol=UDP,
        source=str(sender[0]).partition("%")[0],
        destination=str(here[0]).partition("%")[0],
        payload=data,
        source_port=sender[1],
        destination_port=here[1],
    )


def tcp(family: int, address: str, port: int) -> socket.socket:
    """A TCP socket bound to ``address``, neither connected nor listening."""
    sock = socket.socket(FAMILY[family], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(endpoint(address, port))
    except OSError:
        sock.close()
        raise
    return sock


def listen(sock: socket.socket) -> None:
    """Makes a listener of a bound TCP socket. A KDC that starts later may listen as well."""
    sock.listen(64)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def small_segments(fileno: int) -> None:
    """For the control connection, before it is made: neither end sends segments that do not fit in
    the smallest MTU there is. It has to live where larger packets fall into a black hole.
    """
    with socket.socket(fileno=os.dup(fileno)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)


def endpoint(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A socket address; a link-local IPv6 address keeps its zone (``fe80::1%eth0``)."""
    host, _, zone = address.partition("%")
    return (host, port, 0, socket.if_nametoindex(zone)) if zone else (host, port)


def address_of(end: tuple[Any, ...]) -> str:
    """The other way about. An IPv4 address that came in by an IPv6 socket is told as what it is."""
    text = str(end[0])
    if "." in text:
        return text.removeprefix("::ffff:")
    if len(end) > 3 and end[3] and "%" not in text:
        with contextlib.suppress(OSError):  # the interface is gone
            text += f"%{socket.if_indextoname(end[3])}"
    return text


def send_raw(sock: socket.socket, path: Path, data: bytes, ttl: int | None = None) -> None:
    """What follows the IP header, from the path's own source address. OSError when refused."""
    source = ipaddress.ip_address(path.source.partition("%")[0]).packed
    if path.family == 4:
        info = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("@i4s4s", 0, source, bytes(4)))
    else:
        info = (socket.IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("@16si", source, 0))
    hops = [] if ttl is None else [_hops(path.family, ttl)]
    sock.sendmsg([data], [info, *hops], 0, endpoint(path.destination, 0))


def send_udp(sock: socket.socket, path: Path, data: bytes, ttl: int | None = None) -> None:
    """One datagram by a socket that is bound to the path's source. OSError when refused."""
    assert path.destination_port is not None
    where = endpoint(path.destination, path.destination_port)
    if ttl is None:
        sock.sendto(data, where)
    else:
        sock.sendmsg([data], [_hops(path.family, ttl)], 0, where)


def send_whole(sock: socket.socket, path: Path, data: bytes, ttl: int | None = None) -> None:
    """A packet, its IP header included, through the host's OUTPUT rules all the same.

    The kernel writes an IPv4 header's checksum anew, whatever stands there. ``ttl``: IPv4 only.
    """
    if ttl is not None:
        data = data[:8] + bytes((ttl,)) + data[9:]
    sock.sendto(data, endpoint(path.destination, 0))


def limit_hops(sock: socket.socket, family: int, ttl: int) -> None:
    """From now on all that this socket sends, a connection's first segment included."""
    level, option = (socket.IPPROTO_IPV6, IPV6_UNICAST_HOPS) if family == 6 else (0, IP_TTL)
    sock.setsockopt(level, option, ttl)


def _hops(family: int, ttl: int) -> tuple[int, int, bytes]:
    """The ancillary message that limits one packet's hops."""
    if family == 6:
        return socket.IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("@i", ttl)
    return socket.IPPROTO_IP, IP_TTL, struct.pack("@i", ttl)


def interface_mtu(peer: str) -> int:
    """The MTU, in octets, of the interface by which ``peer`` is reached; 0 where there is none.

    Not what this host has learned of the path: a shot that must not be fragmented goes out as large
    as the interface takes it. Asked by a datagram that none can take: the error names the MTU, and
    nothing is sent.
    """
    family = 6 if ":" in peer else 4
    level, option = (socket.IPPROTO_IPV6, 25) if family == 6 else (socket.IPPROTO_IP, 11)
    try:
        with socket.socket(FAMILY[family], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(endpoint(peer, DISCARD))
            known = sock.getsockopt(level, 24 if family == 6 else 14)  # IPV6_MTU, IP_MTU
            if known > TOO_LARGE:
                return known  # loopback takes them all
            sock.setsockopt(level, option, 1)  # IPV6_RECVERR, IP_RECVERR
            with unfragmented(sock, family), contextlib.suppress(OSError):
                sock.send(bytes(TOO_LARGE))
            _, told, _, _ = sock.recvmsg(0, 256, socket.MSG_ERRQUEUE)
            return struct.unpack_from("=IBBBBI", told[0][2])[5] if told else known
    except OSError:
        return 0


def dropped(sock: socket.socket) -> int:
    """Packets that this socket's buffer had no room for.

    TCP counts every segment here that it has no use for, and loses none by it.
    """
    if sock.type == socket.SOCK_STREAM:
        return 0
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    return int(struct.unpack_from("=9I", info)[MEMINFO_DROPS]) if len(info) >= 36 else 0


def reason(error: OSError) -> str:
    """The errno's name: "EPERM"."""
    if isinstance(error, TimeoutError):  # our own patience has no errno
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, str(error))
