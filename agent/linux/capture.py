"""What crosses this host's interfaces: one AF_PACKET socket, filtered and stamped by the kernel.

It sees a packet before the host's own firewall on the way in and after it on the way out, so it
tells ``arrived`` and ``left`` from what a socket got or gave.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

from agent.events import Frame
from agent.linux import bpf
from agent.wire.base import Codec

ETH_P_ALL = 0x0003
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
TP_STATUS_CSUMNOTREADY = 1 << 3
PACKET_HOST, PACKET_OTHERHOST, PACKET_OUTGOING = 0, 3, 4
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
BUFFER = 8 << 20  # octets: lost nothing at 165,000 packets a second
LARGEST = 65_575  # octets of a frame, from the IP header on
BATCH = 256  # packets read before the event loop gets its turn


class Capture:
    """Raises PermissionError without CAP_NET_RAW. Sees nothing until :meth:`watch`."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET,
            socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
            socket.htons(ETH_P_ALL),  # every interface, those that come up later as well
        )
        bpf.attach(self._socket, bpf.NOTHING)
        enlarge(self._socket)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._view = memoryview(bytearray(LARGEST))
        self._room = [self._view]
        self._captured = 0
        self._dropped = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def watch(self, protocols: set[int], ports: set[int]) -> None:
        """From now on passes on what :func:`agent.linux.bpf.capture_filter` says."""
        bpf.attach(self._socket, bpf.capture_filter(protocols, ports) if protocols else bpf.NOTHING)

    def tell_checksums(self) -> None:
        """From now on frames say whether their checksum was left to the interface."""
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)

    def watch_for(self, program: bytes) -> None:
        """From now on passes on what ``program`` says."""
        bpf.attach(self._socket, program)

    def read(self) -> Iterator[Frame]:
        """What has come, at most BATCH frames. An interface that goes down is no error."""
        for _ in range(BATCH):
            try:
                size, ancillary, _, address = self._socket.recvmsg_into(self._room, 128)
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN: an interface went away; the socket goes on
                continue
            protocol, direction = address[1], address[2]
            if direction == PACKET_OTHERHOST or protocol not in (ETH_P_IP, ETH_P_IPV6):
                continue
            yield Frame(bytes(self._view[:size]), direction == PACKET_OUTGOING, *_told(ancillary))

    def counts(self) -> tuple[int, int]:
        """(captured, dropped) since the capture began."""
        packed = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        packets, drops = struct.unpack("=II", packed)  # the kernel starts anew at each reading
        self._captured += packets
        self._dropped += drops
        return self._captured, self._dropped

    def close(self) -> None:
        self._socket.close()


def wanted(asked: Iterable[tuple[int, Codec]]) -> tuple[set[int], set[int]]:
    """(protocols, ports) to watch for these kinds, each with the IP version it travels in."""
    protocols: set[int] = set()
    ports: set[int] = set()
    for family, kind in asked:
        protocols.add(kind.protocol(family))
        protocols.add(1 if family == 4 else 58)  # errors
        if kind.port is not None:
            ports.add(kind.port)
    return protocols, ports


def enlarge(sock: socket.socket) -> None:
    """A receive buffer for bursts; without CAP_NET_ADMIN as large as the system allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def _told(ancillary: list[tuple[int, int, bytes]]) -> tuple[float, bool]:
    """What the kernel says of a frame: when it came, and whether its checksum is unfilled."""
    stamp, unfilled = 0.0, False
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@ll", data[:16])
            stamp = float(seconds + nanoseconds * 1e-9)
        elif level == SOL_PACKET and kind == PACKET_AUXDATA:
            unfilled = bool(int.from_bytes(data[:4], sys.byteorder) & TP_STATUS_CSUMNOTREADY)
    return stamp, unfilled
