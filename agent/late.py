"""Replies long after the request, or before it: how long does a firewall keep the way back open?

The requests that were delivered are kept, so that a reply to one can be ordered again later: to the
address that the request came from, and to no other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from agent.model import Check, Late, Tag
from agent.wire.base import Codec, Keys, Packet, Path

KEPT = 64  # requests; the oldest goes first


class LateReplies:
    """Which request each ordered reply answers. ``ends``: the peer's address and our own."""

    def __init__(
        self,
        keys: Keys,
        checks: Mapping[int, Check],
        codecs: Mapping[str, Codec],
        ends: tuple[str, str],
    ) -> None:
        self._keys = keys
        self._checks = checks
        self._codecs = codecs
        self._ends = ends
        self._delivered: OrderedDict[Tag, Packet] = OrderedDict()
        self._orders: dict[Tag, Late] = {}

    def keep(self, tag: Tag, packet: Packet) -> None:
        """A request that was delivered."""
        self._delivered[tag] = packet
        if len(self._delivered) > KEPT:
            self._delivered.popitem(last=False)

    def order(self, late: Late) -> None:
        for shot in range(late.first, late.first + late.count):
            self._orders[Tag(late.check, shot)] = late

    def request(self, reply: Tag) -> Packet | None:
        """What ``reply`` was ordered to answer, once; None where that was never delivered."""
        late = self._orders.pop(reply, None)
        if late is None:
            return None
        return self._imagined(late.request) if late.cold else self._delivered.get(late.request)

    def _imagined(self, tag: Tag) -> Packet:
        """The request as it would come in, had it been sent."""
        check = self._checks[tag.check]
        kind = self._codecs[check.kind]
        ports = check.source_port, check.destination_port
        path = Path(check.family, *self._ends, *ports)
        data = kind.request(self._keys, tag, path, check.size)
        body = data[20:] if kind.whole_packet(check.family) else data
        return Packet(check.family, kind.protocol(check.family), *self._ends, body, *ports)
