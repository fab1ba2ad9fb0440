"""Did this host keep its link and its address during a run? The kernel tells whoever listens.

While an interface is down the capture is deaf, and does not know it: what was silent meanwhile was
not dropped by any firewall. Asked of rtnetlink (rtnetlink(7)), by hand, because pyroute2 takes
longer to import than a run takes.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator

NETLINK_ROUTE = 0
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
RTM_NEWLINK, RTM_DELLINK, RTM_DELADDR, RTM_NEWROUTE, RTM_GETROUTE = 16, 17, 21, 24, 26
NLM_F_REQUEST = 1
RTA_DST, RTA_SRC, RTA_OIF = 1, 2, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFF_UP, IFF_RUNNING = 0x1, 0x40
LARGEST = 1 << 16
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ROUTE = struct.Struct("=BBBBBBBBI")  # family, lengths of destination and source, and six we leave 0
LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
ADDRESS = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index


class Outlook:
    """From now on until :meth:`close`. Where the kernel does not tell, nothing is known to fail."""

    def __init__(self, local: str, peer: str) -> None:
        self._address = ipaddress.ip_address(local.partition("%")[0]).packed
        self._local = local
        self._trouble = ""
        self._socket: socket.socket | None = None
        self._index = 0
        with contextlib.suppress(OSError):
            self._index = interface_towards(peer, local)
            self._socket = _listen(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)

    def trouble(self) -> str:
        """What came between, in a sentence without its subject; "" as long as nothing did."""
        while self._socket is not None:
            try:
                data = self._socket.recv(LARGEST)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    break
                self._trouble = self._trouble or "had more changes of its network than it could see"
                continue
            for kind, body in messages(data):
                self._trouble = self._trouble or self._says(kind, body)
        return self._trouble

    def _says(self, kind: int, body: bytes) -> str:
        if kind in (RTM_NEWLINK, RTM_DELLINK) and len(body) >= LINK.size:
            _, _, index, flags, _ = LINK.unpack_from(body)
            up = kind == RTM_NEWLINK and flags & IFF_UP and flags & IFF_RUNNING
            if index == self._index and not up:
                return "lost its link: the interface that leads to the other host went down"
        if kind == RTM_DELADDR and len(body) >= ADDRESS.size:
            found = dict(attributes(body[ADDRESS.size :]))
            if self._address in (found.get(IFA_LOCAL), found.get(IFA_ADDRESS)):
                return f"lost its address {self._local}"
        return ""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def interface_towards(peer: str, local: str) -> int:
    """The index of the interface by which ``peer`` is reached from ``local``; 0: there is none."""
    there, here = (ipaddress.ip_address(each.partition("%")[0]) for each in (peer, local))
    zone = peer.partition("%")[2]
    if zone:
        return socket.if_nametoindex(zone)
    family = socket.AF_INET if there.version == 4 else socket.AF_INET6
    bits = there.max_prefixlen
    body = ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
    body += _attribute(RTA_DST, there.packed) + _attribute(RTA_SRC, here.packed)
    with _listen(0) as sock:
        sock.send(HEADER.pack(HEADER.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0) + body)
        for kind, answer in messages(sock.recv(LARGEST)):
            if kind == RTM_NEWROUTE:
                found = dict(attributes(answer[ROUTE.size :]))
                return int(struct.unpack("=i", found.get(RTA_OIF, bytes(4)))[0])
    return 0


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, what follows the header) of each; what is cut short is left out."""
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        if not HEADER.size <= length <= len(data):
            return
        yield kind, data[HEADER.size : length]
        data = data[_aligned(length) :]


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each; what is cut short is left out."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            return
        yield kind, data[4:length]
        data = data[_aligned(length) :]


def _attribute(kind: int, value: bytes) -> bytes:
    whole = struct.pack("=HH", 4 + len(value), kind) + value
    return whole + bytes(_aligned(len(whole)) - len(whole))


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _listen(groups: int) -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    sock = socket.socket(socket.AF_NETLINK, kind, NETLINK_ROUTE)
    try:
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock
