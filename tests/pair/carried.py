"""Near's call and far's door, joined by packets that a test can drop, double, delay and rewrite.

Every packet is built and parsed as on the wire. No socket, no clock.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.inband.box import Shared, session_of
from agent.inband.call import Call
from agent.inband.carriers import KINDS, counted_by, unwrap, wrap
from agent.inband.door import Admitted, Door
from agent.inband.session import Send, Session
from agent.inband.ways import FIXED, HARMLESS, answering, new_flow
from agent.model import Side
from agent.wire import ip
from agent.wire.base import Packet

KEY = bytes(range(32))
TODAY = 1_800_000_000.0
ENDS = {4: ("10.1.0.2", "10.2.0.2"), 6: ("fd00:1::2", "fd00:2::2")}
PROTOCOLS = {"esp": ip.ESP, "ah": ip.AH, "icmp-echo": ip.ICMP, "kerberos-tcp": ip.TCP}

# A rule: the packets that come out of the path for one that goes in.
Rule = Callable[[Packet], list[Packet]]


def passes(packet: Packet) -> list[Packet]:
    return [packet]


def parsed(send: Send, number: int) -> Packet:
    """The packet as it crosses the wire."""
    path = send.ridden.path
    protocol = PROTOCOLS.get(send.ridden.kind, ip.UDP)
    if protocol == ip.ICMP and path.family == 6:
        protocol = ip.ICMPV6
    body = wrap(send.ridden, send.box, number)
    make = ip.ipv4_header if path.family == 4 else ip.ipv6_header
    return ip.parse(make(path.source, path.destination, protocol, len(body)) + body)


@dataclass
class End:
    rule: Rule = passes  # of what this end sends
    session: Session | None = None
    got: bytearray = field(default_factory=bytearray)
    peer: str = ""


class Link:
    """``latency`` is drawn for each packet, so that they may overtake each other."""

    def __init__(
        self,
        *,
        outbound: Rule = passes,
        inbound: Rule = passes,
        family: int = 4,
        seed: int = 1,
        far_keys: tuple[bytes, ...] = (KEY,),
        near_name: str = "",
        far_ahead: float = 0.0,  # far's clock of near's, seconds
    ) -> None:
        chance = random.Random(seed)
        self.now = 0.0
        self.near_address, self.far_address = ENDS[family]
        self.near, self.far = End(outbound), End(inbound)
        self.latency: Callable[[], float] = lambda: 0.01
        self.sent: list[tuple[Side, Packet]] = []
        self.nonces: set[bytes] = set()
        paths = {
            way: new_flow(way, self.near_address, self.far_address, 50_000 + place)
            for place, way in enumerate((*HARMLESS, *FIXED))
        }
        self.shared = Shared(KEY)
        name = near_name or self.near_address
        self.call = Call(self.shared, paths, name, 0.0, TODAY, chance.randbytes)
        self.stale: list[tuple[str, float]] = []  # whose openings far took for old ones

        def calendar() -> float:
            return TODAY + self.now + far_ahead

        def tell(peer: str, ahead: float) -> None:
            self.stale.append((peer, ahead))

        self.door = Door(far_keys, self._fresh, chance.randbytes, calendar, tell)
        self._queue: list[tuple[float, int, Side, Packet]] = []
        self._order = itertools.count()
        self._numbers: dict[object, int] = {}

    def _fresh(self, nonce: bytes) -> bool:
        if nonce in self.nonces:
            return False
        self.nonces.add(nonce)
        return True

    # -- packets -------------------------------------------------------------------------------

    def send(self, side: Side, sends: list[Send]) -> None:
        for send in sends:
            if send.ridden.kind == "kerberos-tcp" and send.ridden.reply:
                continue  # there is no connection on this link: only first segments cross
            counter = counted_by(send.ridden)
            number = self._numbers.get(counter, 0)
            self._numbers[counter] = number + 1
            packet = parsed(send, number)
            self.sent.append((side, packet))
            rule = self.near.rule if side is Side.NEAR else self.far.rule
            for out in rule(packet):
                self.put(Side.FAR if side is Side.NEAR else Side.NEAR, out)

    def put(self, to: Side, packet: Packet) -> None:
        """On its way to ``to``."""
        arrival = self.now + self.latency()
        heapq.heappush(self._queue, (arrival, next(self._order), to, packet))

    def _arrive(self, to: Side, packet: Packet) -> None:
        found = unwrap(packet, self.shared.markers | self.door.markers)
        if found is None:
            return
        ridden, box = found
        if to is Side.NEAR:
            if self.near.session is not None:
                self.near.got += self.near.session.receive(box, packet.source, self.now) or b""
            self.near.session = self.call.receive(box, self.now) or self.near.session
            return
        session = self.far.session
        if session is None or session_of(box) != session.keys.id:
            answer = self.door.receive(box, ridden, self.now)
            if not isinstance(answer, Admitted):
                self.send(Side.FAR, answer)
                return
            session = self.far.session = answer.session
            self.far.peer = answer.peer
        octets = session.receive(box, packet.source, self.now)
        if octets is not None:
            session.answer_by(*answering(ridden))
            self.far.got += octets

    # -- time ----------------------------------------------------------------------------------

    def _deadlines(self) -> list[float]:
        found = [entry[0] for entry in self._queue[:1]]
        found += [end.session.deadline() for end in (self.near, self.far) if end.session]
        if self.near.session is None:
            found.append(self.call.deadline())
        return found

    def run(self, until: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Time goes on until ``until()`` holds (True), or for so long (False)."""
        end = self.now + seconds
        while not until():
            following = max(self.now, min(self._deadlines()))
            if following > end:
                self.now = end if end < following < float("inf") else self.now
                return until()
            self.now = following
            while self._queue and self._queue[0][0] <= self.now:
                _, _, to, packet = heapq.heappop(self._queue)
                self._arrive(to, packet)
            if self.near.session is None:
                if self.call.given_up(self.now):
                    return until()
                self.send(Side.NEAR, self.call.due(self.now))
            for side, this in ((Side.NEAR, self.near), (Side.FAR, self.far)):
                if this.session is not None and not this.session.lost:
                    self.send(side, this.session.due(self.now))
        return True


def only(*allowed: str) -> Rule:
    """Passes these and nothing else: a kind, "kind fixed" for its fixed tuple, "kind reply"."""

    def rule(packet: Packet) -> list[Packet]:
        return [packet] if name_of(packet) in allowed else []

    return rule


def name_of(packet: Packet) -> str:
    from agent.inband.ways import is_fixed

    found = unwrap(packet, Shared(KEY).markers)
    assert found is not None
    ridden = found[0]
    assert ridden.kind in KINDS
    fixed = is_fixed(ridden) and ridden.kind not in ("esp", "ah")
    return ridden.kind + (" reply" if ridden.reply else "") + (" fixed" if fixed else "")


def loses(share: float, seed: int) -> Rule:
    chance = random.Random(seed)
    return lambda packet: [packet] if chance.random() >= share else []
