"""Near's first words: from the shared key to a session, by whichever way gets an answer. Sans-IO.

Openings go out by every way that the stage allows (see :mod:`ways`), again and again. The first
challenge that comes back, by whatever way, makes the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from agent.inband.box import NONCE, PUBLIC, Ephemeral, Shared
from agent.inband.carriers import Ridden
from agent.inband.session import Send, Session
from agent.inband.ways import LARGEST, LAST, STAGES, STREAM, Way
from agent.model import Side

OPENING_LENGTH = 640  # octets, about: what far may answer is measured by it
FIRST_SECONDS, STAGE_SECONDS, LAST_SECONDS = 1.4, 0.7, 2.2
EVERY = 0.23  # seconds between two openings by one way
STREAM_AFTER = 0.4  # seconds: far listens on TCP 88 for who knocks, where a run wants to listen too
PATIENCE = 0.8  # seconds after the last opening
STALE_SECONDS = 7200  # between near's clock, in an opening, and far's own


class Opening(msgspec.Struct, array_like=True, frozen=True):
    """Near's. ``near``: its own address, as it knows it; other than what far sees: a NAT."""

    public: bytes  # its half of the session's secret, which names the call as well
    time: int  # seconds since 1970 by near's clock
    way: int
    level: int  # of fixed tuples that far may use
    near: str
    filling: bytes = b""


class Challenge(msgspec.Struct, array_like=True, frozen=True):
    """Far's."""

    near: bytes  # the public key of the opening
    far: bytes  # far's own
    heard: int  # the way of the opening that this answers
    way: int


_encoder = msgspec.msgpack.Encoder()
_challenges = msgspec.msgpack.Decoder(Challenge)


class Call:
    """``paths``: all ways of near's. ``draw(n)``: n random octets. ``calendar``: ``now`` in seconds
    since 1970.
    """

    def __init__(
        self,
        shared: Shared,
        paths: Mapping[Way, Ridden],
        near: str,
        now: float,
        calendar: float,
        draw: Callable[[int], bytes],
    ) -> None:
        self.stage = 0
        self._since_1970 = calendar - now
        self._knocks_at = now + STREAM_AFTER
        self._shared = shared
        self._paths = paths
        self._near = near
        self._draw = draw
        self._own: Ephemeral | None = Ephemeral(draw(PUBLIC))
        self._public = self._own.public
        self._theirs = b""
        self._next = now
        self._stage_ends = now + FIRST_SECONDS
        self._over = False
        self._session: Session | None = None

    def deadline(self) -> float:
        return self._next

    def given_up(self, now: float) -> bool:
        """No answer came, by any way."""
        return self._over and now >= self._next and self._session is None

    def due(self, now: float) -> list[Send]:
        """Openings. None once there is a session, or no hope of one."""
        if self._session is not None or self._over or now < self._next:
            return []
        if now >= self._stage_ends:
            if self.stage == LAST:
                self._over, self._next = True, now + PATIENCE
                return []
            self.stage += 1
            self._stage_ends = now + (LAST_SECONDS if self.stage == LAST else STAGE_SECONDS)
        self._next = now + EVERY
        level = STAGES[self.stage][0]
        time = int(self._since_1970 + now)
        return [
            self._opening(way, ridden, time)
            for way, ridden in self._paths.items()
            if way.level <= level and (way != STREAM or now >= self._knocks_at)
        ]

    def _opening(self, way: Way, ridden: Ridden, time: int) -> Send:
        filling = bytes(OPENING_LENGTH - len(self._near))
        opening = Opening(self._public, time, way.id, STAGES[self.stage][1], self._near, filling)
        plain = _encoder.encode(opening)
        return Send(way, ridden, self._shared.seal(Side.NEAR, plain, self._draw(NONCE)))

    def receive(self, box: bytes, now: float) -> Session | None:
        """The session, when the first challenge comes; later ones tell it which ways carry."""
        opened = self._shared.open(Side.FAR, box)
        if opened is None:
            return None
        try:
            challenge = _challenges.decode(opened[0])
        except msgspec.MsgspecError:
            return None
        if (
            not 0 <= challenge.way <= LARGEST
            or challenge.near != self._public
            or len(challenge.far) != PUBLIC
        ):
            return None
        if self._session is not None and challenge.far == self._theirs:
            self._session.hear(challenge.heard, challenge.way, now)
        agreed = self._own.agree(challenge.far) if self._own is not None else None
        if agreed is None:
            return None
        self._own, self._theirs = None, challenge.far
        keys = self._shared.session(self._public, challenge.far, agreed)
        levels = STAGES[self.stage]
        self._session = Session(Side.NEAR, keys, self._paths, levels, now)
        self._session.hear(challenge.heard, challenge.way, now)
        return self._session
