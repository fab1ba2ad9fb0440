"""Far's door: who may begin a session, and what the others get, which is nothing. Sans-IO.

An opening is answered once: ``fresh`` remembers its nonce, across restarts, and says whether it is
new. One that was recorded, and comes here much later for the first time, is known by near's clock,
which it holds. The bound is wide, because either host's clock may be an hour off, either way
(summer time, or a zone taken for the next): what it has to keep out is an opening of another day.
To be told of the difference near would have to be answered. Nothing that far remembers of near
could take the clock's place: the first opening of all has to be answered as well.

Until the peer has proved by a first packet of the session that it holds the key *now*, it gets at
most ``FACTOR`` times the octets that came from it, and only where they came from.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from agent.inband.box import NONCE, OPENING, PUBLIC, Ephemeral, SessionKeys, Shared, session_of
from agent.inband.call import STALE_SECONDS, Challenge, Opening
from agent.inband.carriers import MOST_MARKERS, Ridden
from agent.inband.session import Send, Session
from agent.inband.ways import FIXED, HARMLESS, LEVELS, Way, answering, new_flow
from agent.model import Side

FACTOR = 3
MOST_WAITING = 64  # peers that have opened and not yet proved anything; the oldest goes first
WAITING_SECONDS = 30.0
FAN_SECONDS = 0.2  # between two challenges to one peer by all ways there are

_encoder = msgspec.msgpack.Encoder()
_openings = msgspec.msgpack.Decoder(Opening)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A peer that has proved itself. ``local``, ``peer``: far's address and near's, as far sees
    them; ``key``: which of far's keys it holds.
    """

    session: Session
    local: str
    peer: str
    key: bytes


@dataclass(slots=True)
class _Waiting:
    shared: Shared
    key: bytes
    near: bytes  # public keys
    far: bytes
    keys: SessionKeys
    local: str
    peer: str
    since: float
    ports: dict[str, int]
    translated: bool
    admitted: bool = False
    level: int = 0
    got: int = 0  # octets
    gave: int = 0
    fanned: float = float("-inf")
    turns: Counter[Way] = field(default_factory=Counter)
    back: dict[Way, Ridden] = field(default_factory=dict)

    def paths(self) -> dict[Way, Ridden]:
        """All ways to this peer: back in its own flows, and new ones.

        Not on a fixed tuple to a peer behind a NAT: that would end at the gateway, and its state
        there would be in the way of the peer's own.
        """
        ways = (*HARMLESS, *(() if self.translated else FIXED))
        new = {way: new_flow(way, self.local, self.peer, self.ports[way.kind]) for way in ways}
        return {**new, **self.back}


class Door:
    """``keys``: 32 octets each. ``draw(n)``: n random octets. ``calendar()``: seconds since 1970.
    ``stale`` is told whose opening got no answer, and by how many seconds its clock is ahead.
    """

    def __init__(
        self,
        keys: Iterable[bytes],
        fresh: Callable[[bytes], bool],
        draw: Callable[[int], bytes],
        calendar: Callable[[], float],
        stale: Callable[[str, float], None] = lambda _peer, _ahead: None,
    ) -> None:
        self._fresh = fresh
        self._draw = draw
        self._calendar = calendar
        self._stale = stale
        # By near's public key and its address: NATs may give each kind another one.
        self._waiting: OrderedDict[tuple[bytes, str], _Waiting] = OrderedDict()
        self.take_keys(keys)

    def take_keys(self, keys: Iterable[bytes]) -> None:
        """In place of those so far. Who has been admitted stays; who waits with another goes."""
        self._shared = [(key, Shared(key)) for key in keys]
        held = {key for key, _ in self._shared}
        self._keep(lambda waiting: waiting.key in held)

    def forget(self, id: bytes) -> None:
        """The session is over, and its keys are for nobody to find."""
        self._keep(lambda waiting: waiting.keys.id != id)

    def _keep(self, wanted: Callable[[_Waiting], bool]) -> None:
        kept = ((place, waiting) for place, waiting in self._waiting.items() if wanted(waiting))
        self._waiting = OrderedDict(kept)

    @property
    def markers(self) -> frozenset[bytes]:
        """Of all keys, as many as the kernel's filter can hold."""
        keys = [shared for _, shared in self._shared][: MOST_MARKERS // 2]
        return frozenset(marker for shared in keys for marker in shared.markers)

    def receive(self, box: bytes, ridden: Ridden, now: float) -> list[Send] | Admitted:
        """What to answer; or that the peer is admitted, whose session then takes this box."""
        while self._waiting and now - next(iter(self._waiting.values())).since > WAITING_SECONDS:
            self._waiting.popitem(last=False)
        if session_of(box) == OPENING:
            return self._opening(box, ridden, now)
        for waiting in self._waiting.values():
            if waiting.admitted or session_of(box) != waiting.keys.id:
                continue
            levels = (waiting.level, 0)
            session = Session(Side.FAR, waiting.keys, waiting.paths(), levels, now, waiting.peer)
            if ridden.path.source != waiting.peer or session.opens(box) is None:
                continue
            waiting.admitted = True  # its later openings still learn which ways carry
            return Admitted(session, waiting.local, waiting.peer, waiting.key)
        return []

    def _opening(self, box: bytes, ridden: Ridden, now: float) -> list[Send]:
        for key, shared in self._shared:
            opened = shared.open(Side.NEAR, box)
            if opened is None:
                continue
            plain, nonce = opened
            try:
                opening = _openings.decode(plain)
            except msgspec.MsgspecError:
                return []
            if len(opening.public) != PUBLIC or not 0 <= opening.level <= len(LEVELS):
                return []
            ahead = opening.time - self._calendar()
            if abs(ahead) > STALE_SECONDS:
                self._stale(ridden.path.source, ahead)
                return []
            if not self._fresh(nonce):
                return []
            return self._answer(key, shared, opening, len(box), ridden, now)
        return []

    def _answer(
        self, key: bytes, shared: Shared, opening: Opening, size: int, ridden: Ridden, now: float
    ) -> list[Send]:
        waiting = self._waiting.get((opening.public, ridden.path.source))
        if waiting is None:
            waiting = self._waits(key, shared, opening, ridden, now)
        if waiting is None:
            return []
        waiting.got += size
        waiting.level = max(waiting.level, opening.level)
        way, back = answering(ridden)
        waiting.back[way] = back
        ways = {way: back}
        if now - waiting.fanned >= FAN_SECONDS:
            waiting.fanned = now
            # There is not room for all of them at once: who had the fewest turns comes first.
            ways |= dict(
                sorted(
                    (
                        (way, path)
                        for way, path in waiting.paths().items()
                        if way.level <= waiting.level and not way.reply
                    ),
                    key=lambda item: (waiting.turns[item[0]], -item[0].level),
                )
            )
        return self._challenges(waiting, opening.way, ways)

    def _challenges(self, waiting: _Waiting, heard: int, ways: dict[Way, Ridden]) -> list[Send]:
        sends = []
        for way, path in ways.items():
            challenge = Challenge(waiting.near, waiting.far, heard, way.id)
            nonce = self._draw(NONCE)
            box = waiting.shared.seal(Side.FAR, _encoder.encode(challenge), nonce)
            if waiting.gave + len(box) > FACTOR * waiting.got:
                break
            waiting.gave += len(box)
            waiting.turns[way] += 1
            sends.append(Send(way, path, box))
        return sends

    def _waits(
        self, key: bytes, shared: Shared, opening: Opening, ridden: Ridden, now: float
    ) -> _Waiting | None:
        """None: with that public key there is no secret."""
        own = Ephemeral(self._draw(PUBLIC))
        agreed = own.agree(opening.public)
        if agreed is None:
            return None
        while len(self._waiting) >= MOST_WAITING:
            self._waiting.popitem(last=False)
        path = ridden.path
        waiting = _Waiting(
            shared,
            key,
            opening.public,
            own.public,
            shared.session(opening.public, own.public, agreed),
            path.destination,
            path.source,
            now,
            {kind: self._port() for kind in (*(way.kind for way in HARMLESS), "ah", "esp")},
            not _same(opening.near, path.source),
        )
        self._waiting[opening.public, waiting.peer] = waiting
        return waiting

    def _port(self) -> int:
        """One that programs take at random as well (RFC 6335, 6)."""
        return 49_152 + int.from_bytes(self._draw(2), "big") % (65_536 - 49_152)


def _same(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one.partition("%")[0]) == ipaddress.ip_address(other)
    except ValueError:
        return False
