"""Sockets of one kind each: how to open them, what they bring, and how to send by them."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct

from agent.linux import bpf
from agent.linux.capture import enlarge
from agent.wire import ip
from agent.wire.base import Packet, Path

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SO_MEMINFO, MEMINFO_DROPS = 55, 8
IP_PKTINFO, IPV6_PKTINFO, IPV6_RECVPKTINFO = 8, 50, 49
IP_TTL, IPV6_UNICAST_HOPS, IPV6_HOPLIMIT = 2, 16, 52
LARGEST = 65_575
TCP, UDP, ESP = 6, 17, 50
PMTUDISC_PROBE = 3  # of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, <linux/in.h>


def raw(family: int, protocol: int) -> socket.socket:
    """A raw IP socket: it gets what the host's own firewall lets in, and sends through it."""
    sock = socket.socket(FAMILY[family], socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    enlarge(sock)
    if family == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    if protocol == ESP:
        # A full packet goes out whole, DF set, whatever the kernel has learned of the path: tunnels
        # do so, and the black hole it may fall into is what we are here to find.
        level, option = (socket.IPPROTO_IPV6, 23) if family == 6 else (socket.IPPROTO_IP, 10)
        sock.setsockopt(level, option, PMTUDISC_PROBE)
    return sock


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
    return ip.parse(ip.ipv6_header(source, destination, protocol, len(data)) + data)


def udp(family: int, address: str, port: int) -> socket.socket:
    """A UDP socket at ``address``; port 0 asks for a free one. OSError when it is taken."""
    sock = socket.socket(FAMILY[family], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        enlarge(sock)
        sock.bind(endpoint(address, port))
    except OSError:
        sock.close()
        raise
    return sock


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


def endpoint(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A socket address; a link-local IPv6 address keeps its zone (``fe80::1%eth0``)."""
    host, _, zone = address.partition("%")
    return (host, port, 0, socket.if_nametoindex(zone)) if zone else (host, port)


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
    """An IPv4 packet, its header included, through the host's OUTPUT rules all the same.

    The kernel writes the header's checksum anew, whatever stands there.
    """
    if ttl is not None:
        data = data[:8] + bytes((ttl,)) + data[9:]
    sock.sendto(data, (path.destination, 0))


def limit_hops(sock: socket.socket, family: int, ttl: int) -> None:
    """From now on all that this socket sends, a connection's first segment included."""
    level, option = (socket.IPPROTO_IPV6, IPV6_UNICAST_HOPS) if family == 6 else (0, IP_TTL)
    sock.setsockopt(level, option, ttl)


def _hops(family: int, ttl: int) -> tuple[int, int, bytes]:
    """The ancillary message that limits one packet's hops."""
    if family == 6:
        return socket.IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("@i", ttl)
    return socket.IPPROTO_IP, IP_TTL, struct.pack("@i", ttl)


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
