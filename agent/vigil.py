"""Between two runs: which IPsec flows cross this host's interfaces, so that the next run knows.

A tunnel that was in use a minute ago has opened every stateful firewall on its way. Only tuples are
kept, no octet of what travels on them, and only of IP 50 and 51 and of UDP 500 and 4500 from the
same port: whatever else a run asks leaves from fresh ports. Sans-IO.
"""

from __future__ import annotations

from collections import OrderedDict

from agent.ledger import Tuple5
from agent.wire.base import Packet

PROTOCOLS = frozenset((17, 50, 51))
PORTS = frozenset((500, 4500))
MOST = 4096  # flows remembered at once; the one that was silent for longest makes room
FRESH_ENOUGH = 10.0  # seconds for which a flow is not written down again
WHAT = "traffic that is not ours"


class Vigil:
    """Times are seconds by any clock that does not step."""

    def __init__(self) -> None:
        self._written: OrderedDict[tuple[Tuple5, bool], float] = OrderedDict()
        self._waiting: dict[tuple[Tuple5, bool], None] = {}

    def see(self, packet: Packet, outgoing: bool, now: float) -> bool:
        """True when there is something to write down that was not there before."""
        flow = _flow(packet, outgoing)
        if flow is None or len(self._waiting) >= MOST:
            return False
        key = (flow, not outgoing)  # what came in has crossed; what goes out may yet be dropped
        if now - self._written.get(key, -FRESH_ENOUGH) < FRESH_ENOUGH:
            return False
        news = key not in self._waiting
        self._waiting[key] = None
        return news

    def take(self, now: float) -> dict[bool, list[tuple[Tuple5, str]]]:
        """What is to be written down, by whether it crossed."""
        found: dict[bool, list[tuple[Tuple5, str]]] = {True: [], False: []}
        for key in self._waiting:
            flow, crossed = key
            found[crossed].append((flow, WHAT))
            self._written[key] = now
            self._written.move_to_end(key)
        self._waiting.clear()
        while len(self._written) > MOST:
            self._written.popitem(last=False)
        return found


def _flow(packet: Packet, outgoing: bool) -> Tuple5 | None:
    ports = packet.source_port or 0, packet.destination_port or 0
    if packet.protocol not in PROTOCOLS:
        return None
    if packet.protocol == 17 and (ports[0] != ports[1] or ports[0] not in PORTS):
        return None
    ends = packet.source, packet.destination
    (local, remote), (here, there) = (ends, ports) if outgoing else (ends[::-1], ports[::-1])
    return Tuple5(packet.family, packet.protocol, local, here, remote, there)
