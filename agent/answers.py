"""Which requests are answered, and with what. Without sockets and without a clock.

An answer is never longer than the request, there is one for each shot, and it goes to the host that
the run is with and to nobody else: who plays a recorded request again, from elsewhere or in
another's name, is not answered, and nor is that other. What the run's own connection has vouched
for is that host as well: NATs may give each protocol another address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.errors import WireError
from agent.events import Transmit
from agent.late import LateReplies
from agent.model import Check, Flow, Late, Tag
from agent.wire.base import Codec, Keys, Packet, Path


class Answers:
    """``peer``: the address that the other host has in packets; ``own``: one more of its own."""

    def __init__(
        self,
        keys: Keys,
        checks: Mapping[int, Check],
        codecs: Mapping[str, Codec],
        local: str,
        peer: str,
        own: str = "",
    ) -> None:
        self._keys = keys
        self._checks = checks
        self._codecs = codecs
        self._peer, self._own = peer, own
        self._zone = "".join(local.partition("%")[1:])  # of link-local addresses; packets lack it
        self.vouched: set[str] = set()  # addresses that are the other host's as well
        self._late = LateReplies(keys, checks, codecs, (peer, local))
        self._given: set[Tag] = set()

    def due(self, tag: Tag) -> Tag | None:
        """The reply that a request is still to get; None when it gets none, or has got it."""
        check = self._checks[tag.check]
        by_kernel = self._codecs[check.kind].answered_by_kernel
        if check.partner is None or check.flow is not Flow.NEW or by_kernel or tag in self._given:
            return None
        return Tag(check.partner, tag.shot)

    def denied(self, packet: Packet) -> str:
        """Why nothing is sent to whoever sent ``packet``; "" for the host that the run is with."""
        if packet.source in {self._peer, self._own, *self.vouched}:
            return ""
        return f"its request came from {packet.source}, and this run answers {self._peer} alone"

    def vouch(self, addresses: Iterable[str]) -> None:
        """Shots that come from there are the other host's: it saw that its own do."""
        self.vouched.update(addresses)

    def keep(self, tag: Tag, packet: Packet) -> None:
        """A request of the peer's that was delivered: it is answered now, and can be later."""
        self._given.add(tag)
        self._late.keep(tag, packet)

    def order(self, late: Late) -> None:
        """Later on, answer that request once more."""
        self._late.order(late)

    def ordered(self, reply: Tag) -> Packet | None:
        """The request that an ordered reply is to answer; None where that was never delivered."""
        return self._late.request(reply)

    def answer(self, reply: Tag, packet: Packet) -> Transmit | None:
        """The reply to ``packet``; None where that is shorter than any answer."""
        check = self._checks[reply.check]
        kind = self._codecs[check.kind]
        back = way_back(packet, self._zone)
        try:
            data = kind.answer(self._keys, reply, back, packet.payload, check.size)
        except WireError:
            return None
        return Transmit(reply, kind, back, data, fragmenting=check.fragmenting)


def way_back(packet: Packet, zone: str = "") -> Path:
    ports = packet.destination_port, packet.source_port
    return Path(packet.family, packet.destination + zone, packet.source + zone, *ports)
