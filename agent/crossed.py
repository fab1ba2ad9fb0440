"""What else travels between the two hosts of a run, on the tuples that its checks ask about."""

from __future__ import annotations

from agent.events import Action
from agent.recognise import Recogniser
from agent.wire.base import Packet


class Crossed:
    """``live``: checks on whose tuple traffic was seen that is not ours; ``carried``: on which
    control messages of ours were, by whether they went out. Firewalls may keep state of either.
    """

    def __init__(self, known: Recogniser, local: str, peer: str) -> None:
        self.live: set[int] = set()
        self.carried: dict[bool, set[int]] = {True: set(), False: set()}
        self._known = known
        self._out = local.partition("%")[0], peer.partition("%")[0]  # as packets have them

    def stranger(self, packet: Packet, outgoing: bool) -> None:
        if self._between_us(packet, outgoing):
            self.live.update(self._known.may_open(packet))

    def control(self, packet: Packet, outgoing: bool) -> list[Action]:
        """Nothing else comes of it."""
        if self._between_us(packet, outgoing):
            self.carried[outgoing].update(self._known.may_open(packet))
        return []

    def _between_us(self, packet: Packet, outgoing: bool) -> bool:
        return (packet.source, packet.destination) == (self._out if outgoing else self._out[::-1])
