"""Two engines joined by a link that a test can make drop, double, delay and rewrite.

No socket, no clock: "nothing arrived within T" takes microseconds. The link plays both kernels too:
it captures what goes out and comes in, and shakes TCP's hands.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.engine import Engine
from agent.events import (
    Action,
    Answered,
    Captured,
    Connect,
    Connected,
    FireVolleys,
    Received,
    Requested,
    Sent,
    Tick,
    Transmit,
    Write,
)
from agent.model import Direction, Facts, Kept, Side, Sighting, Tag, Volley
from agent.wire import ip
from agent.wire.base import Keys, Packet, Path
from probe.judge.evidence import Evidence
from probe.plan import Plan

NEAR, FAR = {4: "10.1.0.2", 6: "fd00:1::2"}, {4: "10.2.0.2", 6: "fd00:2::2"}
SYN, SYN_ACK, DATA = 0x02, 0x12, 0x18
SECRET = bytes(range(32))

# A rule of the link: the packets that come out of it for one that goes in.
Rule = Callable[[Packet], list[Packet]]


def passes(packet: Packet) -> list[Packet]:
    return [packet]


def drops(_packet: Packet) -> list[Packet]:
    return []


@dataclass
class Host:
    engine: Engine
    firewall: Rule = passes  # the host's own, between interface and socket
    ports: itertools.count[int] = field(default_factory=lambda: itertools.count(50_000))


class Link:
    """near and far, and the rules between them."""

    def __init__(self, plan: Plan, *, outbound: Rule = passes, inbound: Rule = passes) -> None:
        family = plan.checks[0].family
        keys = Keys(SECRET)
        ends = {Side.NEAR: (NEAR[family], FAR[family]), Side.FAR: (FAR[family], NEAR[family])}
        self.plan = plan
        self.now = 0.0
        self.hosts = {
            side: Host(Engine(side, keys, plan.checks, *addresses))
            for side, addresses in ends.items()
        }
        self.rules = {Side.NEAR: outbound, Side.FAR: inbound}  # by where a packet sets out
        self.sightings: list[Sighting] = []
        self.volleys: list[Volley] = []
        self.latency: Callable[[], float] = lambda: 0.01
        self._queue: list[tuple[float, int, Side, Packet]] = []
        self._order = itertools.count()
        self._connections: dict[tuple[Side, Tag], Connect] = {}
        self._served: dict[int, Path] = {}

    # -- a run, as the drive conducts it -------------------------------------------------------

    def fire(self, direction: Direction, shots: int = 3) -> None:
        """Fires every request of ``direction`` and lets the link come to rest."""
        volleys = [Volley(check.number, 1, shots) for check in self.plan.requests(direction)]
        self.volleys += volleys
        side = Side.NEAR if direction is Direction.OUTBOUND else Side.FAR
        host, other = self.hosts[side], self.hosts[self._other(side)]
        for tag, _ in host.engine.fresh_ports_needed(volleys):
            port = next(host.ports)
            host.engine.own_port(tag, port)
            other.engine.peer_port(tag, port)
        self._do(side, host.engine.handle(FireVolleys(volleys, 0.001), self.now))
        self._rest()

    def evidence(self) -> Evidence:
        return Evidence(
            sightings=self.sightings,
            volleys=self.volleys,
            near=self._facts(Side.NEAR),
            far=self._facts(Side.FAR),
            near_address=self.hosts[Side.NEAR].engine.local,
            far_address=self.hosts[Side.FAR].engine.local,
            near_seen_as=self.hosts[Side.NEAR].engine.local,
        )

    def _facts(self, side: Side) -> Facts:
        return Facts(nameless=tuple(self.hosts[side].engine.nameless))

    # -- the link ------------------------------------------------------------------------------

    @staticmethod
    def _other(side: Side) -> Side:
        return Side.FAR if side is Side.NEAR else Side.NEAR

    def _rest(self) -> None:
        while True:
            due = [
                (deadline, side)
                for side, host in self.hosts.items()
                if (deadline := host.engine.deadline()) is not None
            ]
            flying = self._queue[0][0] if self._queue else None
            if due and (flying is None or min(due)[0] <= flying):
                self.now, side = min(due)
                self._do(side, self.hosts[side].engine.handle(Tick(), self.now))
            elif flying is not None:
                self.now, _, side, packet = heapq.heappop(self._queue)
                self._arrive(side, packet)
            else:
                return

    def _do(self, side: Side, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Sighting):
                self.sightings.append(action)
            if isinstance(action, Sighting | Kept):
                continue
            self._tell(side, Sent(action.tag, self.now, action.path, "", action.data))
            match action:
                case Transmit():
                    self._leave(side, self._packet(action))
                case Connect():
                    self._connections[side, action.tag] = action
                    self._leave(side, self._segment(action.path, SYN))
                case Write():
                    self._leave(side, self._segment(action.path, DATA, action.data))

    def _tell(self, side: Side, event: object) -> None:
        self._do(side, self.hosts[side].engine.handle(event, self.now))  # type: ignore[arg-type]

    @staticmethod
    def _packet(action: Transmit) -> Packet:
        path, family = action.path, action.path.family
        protocol = action.codec.protocol(family)
        if action.codec.whole_packet(family):
            return ip.parse(action.data)
        payload = ip.udp(path, action.data) if protocol == 17 else action.data
        if family == 4:
            header = ip.ipv4_header(path.source, path.destination, protocol, len(payload))
        else:
            header = ip.ipv6_header(path.source, path.destination, protocol, len(payload))
        return ip.parse(header + payload)

    @staticmethod
    def _segment(path: Path, flags: int, payload: bytes = b"") -> Packet:
        return Packet(
            path.family,
            6,
            path.source,
            path.destination,
            payload,
            path.source_port,
            path.destination_port,
            ttl=64,
            tcp_flags=flags,
        )

    def _leave(self, side: Side, packet: Packet) -> None:
        self._tell(side, Captured(packet, outgoing=True, time=self.now))
        for crossing in self.rules[side](packet):
            entry = (self.now + self.latency(), next(self._order), self._other(side), crossing)
            heapq.heappush(self._queue, entry)

    def _arrive(self, side: Side, packet: Packet) -> None:
        self._tell(side, Captured(packet, outgoing=False, time=self.now))
        for delivered in self.hosts[side].firewall(packet):
            if delivered.protocol == 6:
                self._tcp(side, delivered)
            else:
                self._tell(side, Received(delivered, self.now))
                self._echo(side, delivered)

    def _echo(self, side: Side, packet: Packet) -> None:
        """The kernel's own answer to an echo request."""
        asked, answer = {1: (8, 0), 58: (128, 129)}.get(packet.protocol, (None, 0))
        if asked is None or not packet.payload or packet.payload[0] != asked:
            return
        reply = replace(
            packet,
            source=packet.destination,
            destination=packet.source,
            payload=bytes([answer]) + packet.payload[1:],
        )
        self._leave(side, reply)

    def _tcp(self, side: Side, packet: Packet) -> None:
        back = Path(
            packet.family,
            packet.destination,
            packet.source,
            packet.destination_port,
            packet.source_port,
        )
        if packet.tcp_flags == SYN:
            self._leave(side, self._segment(back, SYN_ACK))
            return
        mine = [
            (tag, action)
            for (owner, tag), action in self._connections.items()
            if owner is side and action.path.source_port == packet.destination_port
        ]
        if packet.tcp_flags == SYN_ACK and mine:
            tag, action = mine[0]
            self._tell(side, Connected(tag, self.now))
            self._leave(side, self._segment(action.path, DATA, action.data))
        elif packet.payload and mine:
            self._tell(side, Answered(mine[0][0], packet.payload, self.now))
        elif packet.payload:
            there = Path(
                packet.family,
                packet.source,
                packet.destination,
                packet.source_port,
                packet.destination_port,
            )
            number = int(packet.source_port or 0)
            self._tell(side, Requested(number, there, packet.payload, self.now))
