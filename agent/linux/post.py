"""The post: control messages that ride in packets, out by raw sockets and in by a capture.

The capture's filter passes on what bears a marker and nothing else, so that an agent that idles on
a busy host is not woken by traffic that is not for it. It needs no port: what holds one keeps it.
Messages leave by a raw IP socket, through this host's own firewall like everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from agent.errors import WireError
from agent.inband import carriers
from agent.inband.carriers import Ridden
from agent.inband.session import Send
from agent.inband.ways import is_fixed
from agent.ledger import CONTROL, Ledger, Tuple5
from agent.linux import bpf, sockets
from agent.linux.capture import Capture
from agent.linux.streams import Streams
from agent.model import Side
from agent.station import moment
from agent.wire import ip
from agent.wire.base import Path
from agent.wire.icmp import PROTOCOL as ICMP_PROTOCOL

NOTE_SECONDS = 2.0  # a tuple is written down this often
MOST_FLOWS = 1024  # whose packets are counted

_PROTOCOLS = {"esp": ip.ESP, "ah": ip.AH, "kerberos-tcp": ip.TCP}


class Post:
    """``deliver`` gets what rode in a packet for one of this host's addresses."""

    def __init__(
        self,
        markers: frozenset[bytes],
        ledger: Ledger,
        deliver: Callable[[Ridden, bytes], None],
        side: Side,
    ) -> None:
        self._side = side
        self._markers = markers
        self._ledger = ledger
        self._deliver = deliver
        self.streams = Streams(deliver)
        self._capture: Capture | None = None
        self._raw: dict[int, socket.socket] = {}
        self._numbers: OrderedDict[object, int] = OrderedDict()
        self._noted: dict[tuple[Tuple5, bool], float] = {}
        self.refused = ""  # the errno's name with which this host refused the last one

    def open(self) -> None:
        """Raises OSError without the privilege for it."""
        self._capture = Capture()
        self.watch_for(self._markers)
        asyncio.get_running_loop().add_reader(self._capture, self._on_frames)

    def watch_for(self, markers: frozenset[bytes]) -> None:
        """In place of those so far."""
        self._markers = markers
        if self._capture is not None:
            self._capture.watch_for(bpf.marker_filter(carriers.places(), markers))

    def close(self) -> None:
        if self._capture is not None:
            asyncio.get_running_loop().remove_reader(self._capture)
            self._capture.close()
            self._capture = None
        self.streams.close()
        for sock in self._raw.values():
            sock.close()
        self._raw.clear()

    # -- out -----------------------------------------------------------------------------------

    def send(self, sends: list[Send]) -> None:
        for send in sends:
            try:
                self._send(send)
                self._note(send.ridden, crossed=False)
            except OSError as error:  # this host's own firewall; another way may be open
                self.refused = sockets.reason(error)

    def _send(self, send: Send) -> None:
        path = send.ridden.path
        if send.ridden.kind == "kerberos-tcp":
            if self.streams.send(send.ridden, send.box) or send.ridden.reply:
                return
            path = self._knock(path)
        counter = carriers.counted_by(send.ridden)
        number = self._numbers.pop(counter, 0)
        self._numbers[counter] = number + 1
        if len(self._numbers) > MOST_FLOWS:
            self._numbers.popitem(last=False)
        body = carriers.wrap(replace(send.ridden, path=path), send.box, number)
        protocol = _protocol(send.ridden)
        if path.family == 4:
            header = ip.ipv4_header(path.source, path.destination, protocol, len(body))
        else:
            header = ip.ipv6_header(path.source, path.destination, protocol, len(body))
        if path.family not in self._raw:
            self._raw[path.family] = sockets.raw_whole(path.family)
        sockets.send_whole(self._raw[path.family], path, header + body)

    def _knock(self, path: Path) -> Path:
        """From a port that no socket has: this host's kernel is not to know of it."""
        if self._side is Side.NEAR:
            self.streams.connect(path)
        port = 49_152 + secrets.randbelow(65_536 - 49_152)
        return replace(path, source_port=port)

    # -- in ------------------------------------------------------------------------------------

    def _on_frames(self) -> None:
        assert self._capture is not None
        for frame in self._capture.read():
            if frame.outgoing:
                continue
            try:
                packet = ip.parse(frame.data)
            except WireError:
                continue
            found = carriers.unwrap(packet, self._markers)
            if found is not None and _is_ours(packet.family, packet.destination):
                self._deliver(*found)

    # -- what it may have opened ---------------------------------------------------------------

    def took(self, ridden: Ridden) -> None:
        """What came was really ours: a firewall on its way may now know its tuple."""
        self._note(ridden, crossed=True)

    def _note(self, ridden: Ridden, *, crossed: bool) -> None:
        if not is_fixed(ridden):
            return
        path = ridden.path.back() if crossed else ridden.path
        ports = (
            (0, 0) if ridden.kind in ("esp", "ah") else (path.source_port, path.destination_port)
        )
        flow = Tuple5(
            path.family,
            _protocol(ridden),
            path.source,
            ports[0] or 0,
            path.destination,
            ports[1] or 0,
        )
        now = time.monotonic()
        if now - self._noted.get((flow, crossed), -NOTE_SECONDS) >= NOTE_SECONDS:
            if len(self._noted) > MOST_FLOWS:
                self._noted.clear()
            self._noted[flow, crossed] = now
            self._ledger.seen([(flow, CONTROL)], moment(), crossed=crossed)


def _protocol(ridden: Ridden) -> int:
    if ridden.kind == "icmp-echo":
        return ICMP_PROTOCOL[ridden.path.family]
    return _PROTOCOLS.get(ridden.kind, ip.UDP)


def _is_ours(family: int, address: str) -> bool:
    """An address of this host. A gateway sees packets that are for others."""
    with (
        contextlib.suppress(OSError),
        socket.socket(sockets.FAMILY[family], socket.SOCK_DGRAM) as s,
    ):
        s.bind((address, 0))
        return True
    return False
