"""Which captured packets are control messages of ours: neither shots nor anybody else's traffic."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from agent.wire import ip
from agent.wire.base import Packet

_End = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Known:
    """``markers``: of all keys. ``streams``: near's (address, port) of each connection on TCP 88
    that carries control messages, as this host sees it; it changes by itself.
    """

    markers: frozenset[bytes] = frozenset()
    streams: Set[_End] = frozenset()

    def has(self, packet: Packet, data: bytes) -> bool:
        """``data``: the whole packet. Most hold no marker at all, which is quickly seen."""
        if packet.protocol == ip.TCP and self.streams:
            ends = (
                (packet.source, packet.source_port),
                (packet.destination, packet.destination_port),
            )
            if self.streams & set(ends):
                return True
        if not any(marker in data for marker in self.markers):
            return False
        from agent.inband.carriers import is_marked  # not on the way to a run over TCP

        return is_marked(packet, self.markers)
