"""A stream of octets each way, over ways that lose, double and reorder. Sans-IO.

As in QUIC (RFC 9000, 13) each packet has a number of its own, also when it carries octets for a
second time; what has come is acknowledged by the numbers, so that each end learns by which of its
ways the other hears it. ``receive`` takes a box; ``due`` says what to send at ``deadline``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from agent.inband.box import SessionKeys, Window
from agent.inband.carriers import Ridden
from agent.inband.ways import LARGEST, Way, Ways, of_id
from agent.model import Side

SEGMENT = 900  # octets of the stream in one packet: with all headers it stays below 1280
ACK_SECONDS = 0.02
EVERY = 4  # packets with octets, and they are acknowledged at once
FIRST_RTO, SHORTEST_RTO, LONGEST_RTO = 0.5, 0.2, 2.0
WORD_SECONDS = 4.0  # near says something at least this often, so that its flows stay open
LOST_SECONDS = 15.0  # of silence, and the other end is gone
HEARD_SECONDS = 2.0
WINDOW_FIRST, WINDOW_LEAST, WINDOW_MOST = 8.0, 6.0, 32.0  # packets under way
MOST_WAITING = 1 << 20  # octets of the stream that came before what precedes them
REPORTED = 60  # packets that an acknowledgement tells of
MOST_COPIES = 12  # of one packet, by as many ways

FINISHED = 1


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """What a session's box holds."""

    way: int  # by which it was sent
    heard: int  # bit n: its sender lately heard the other by the way n
    level: int  # of fixed tuples that the other end may use
    upto: int  # octets of the other's stream that have come without a gap
    largest: int  # number of the other's packets, and of the REPORTED before it which have come
    mask: int
    flags: int = 0
    segments: tuple[tuple[int, bytes], ...] = ()  # (offset, octets)
    asks: bool = False  # for an answer, though it carries nothing
    end: int = 0  # with FINISHED: octets of the stream after which there is no more to wait for


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


@dataclass(frozen=True, slots=True)
class Send:
    """An action: send ``box`` as ``ridden`` says."""

    way: Way
    ridden: Ridden
    box: bytes


@dataclass(slots=True)
class _Flying:
    way: int
    time: float
    offsets: tuple[int, ...]


@dataclass(slots=True)
class _Pace:
    """How long to wait for an answer, and how many packets may be under way."""

    smoothed: float | None = None
    variance: float = 0.0
    window: float = WINDOW_FIRST
    reduced: float = float("-inf")

    def measure(self, took: float) -> None:
        """RFC 6298, 2."""
        if self.smoothed is None:
            self.smoothed, self.variance = took, took / 2
        else:
            self.variance += (abs(self.smoothed - took) - self.variance) / 4
            self.smoothed += (took - self.smoothed) / 8

    def patience(self, misses: int) -> float:
        if self.smoothed is None:
            base = FIRST_RTO
        else:
            base = max(SHORTEST_RTO, self.smoothed + 4 * self.variance + ACK_SECONDS)
        return min(LONGEST_RTO, base * 2.0 ** min(misses, 4))

    def lost(self, now: float) -> None:
        if now - self.reduced > (self.smoothed or 0.0):
            self.reduced = now
            self.window = max(WINDOW_LEAST, self.window / 2)


@dataclass(slots=True)
class Incoming:
    upto: int = 0
    early: dict[int, bytes] = field(default_factory=dict)
    held: int = 0  # octets in ``early``

    def take(self, offset: int, octets: bytes) -> None:
        known = self.early.get(offset, b"")
        more = len(octets) - len(known)
        if more > 0 and offset + len(octets) > self.upto and self.held + more <= MOST_WAITING:
            self.early[offset] = octets
            self.held += more

    def whole(self) -> bytes:
        """What has come without a gap since this was last asked."""
        found = bytearray()
        for offset in sorted(self.early):
            if offset > self.upto:
                break
            whole = self.early.pop(offset)
            self.held -= len(whole)
            octets = whole[self.upto - offset :]
            found += octets
            self.upto += len(octets)
        return bytes(found)


class Session:
    """One end of one session."""

    def __init__(
        self,
        side: Side,
        keys: SessionKeys,
        paths: Mapping[Way, Ridden],
        levels: tuple[int, int],
        now: float,
        peer: str = "",
    ) -> None:
        """``peer``: the only address that the other end's packets may come from; "": any.

        ``paths``: how to send by each of this end's ways. ``levels`` (see :mod:`ways`): of fixed
        tuples that this end may use, and that the other may.
        """
        self.side = side
        self.keys = keys
        self.peer = peer
        self.ways = Ways(paths)
        self.rtt = 0.0
        self.lost = False
        self.finished = False  # the other end has said its last word
        self.carried: dict[bool, dict[Way, int]] = {True: {}, False: {}}  # out: way → packets
        self._other = Side.FAR if side is Side.NEAR else Side.NEAR
        self._paths = dict(paths)
        self._level, self._told_level = levels
        self._window = Window()
        self._incoming = Incoming()
        self._pace = _Pace()
        self._buffer = bytearray()
        self._cut = 0  # octets of the stream that were cut into segments
        self._segments: dict[int, bytes] = {}  # by offset; those that are not acknowledged
        self._waiting: deque[int] = deque()
        self._flying: dict[int, _Flying] = {}
        self._number = 0
        self._misses = 0
        self._heard_at = self._spoke_at = now
        self._heard_by: dict[int, float] = {}  # way of the other end → when it was last heard so
        self._ack_at: float | None = None
        self._unacked = 0
        self._asking = side is Side.NEAR  # the first packet proves that near is there
        self._last: int | None = None  # once closed: see Frame.end
        self._end: int | None = None  # the other's

    # -- what the shell asks -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._buffer += data

    def close(self, *, at_once: bool = False) -> None:
        """The next packets say that no more will come than was written; ``at_once``: no more at
        all.
        """
        self._last = 0 if at_once else self._cut + len(self._buffer)
        self._asking = True

    @property
    def unsent(self) -> int:
        """Octets that were written and have not been sent once."""
        return len(self._buffer)

    @property
    def idle(self) -> bool:
        """All that was written has come to the other end."""
        return not (self._buffer or self._segments)

    def hear(self, confirmed: int, way: int, now: float) -> None:
        """A challenge came by ``way``, and says that this end was heard by ``confirmed``."""
        self.ways.confirm(confirmed, now)
        self._heard_at = self._heard_by[way] = now

    def deadline(self) -> float:
        if self.lost:
            return float("inf")
        wanted = [self._heard_at + LOST_SECONDS]
        if self._ack_at is not None:
            wanted.append(self._ack_at)
        if self._flying:
            first = min(flying.time for flying in self._flying.values())
            wanted.append(first + self._pace.patience(self._misses))
        if self._asking or ((self._buffer or self._waiting) and self._room()):
            wanted.append(self._spoke_at)
        if self.side is Side.NEAR:
            wanted.append(self._spoke_at + WORD_SECONDS)
        return min(wanted)

    # -- receiving -----------------------------------------------------------------------------

    def opens(self, box: bytes) -> tuple[int, Frame] | None:
        """(number, frame) of a packet of the other end's; None for anything else."""
        opened = self.keys.open(self._other, box)
        if opened is None:
            return None
        try:
            return opened[0], _decoder.decode(opened[1])
        except msgspec.MsgspecError:
            return None

    def receive(self, box: bytes, source: str, now: float) -> bytes | None:
        """The octets of the stream that are whole now; None for what is not this session's, or has
        come before.
        """
        if self.peer and source != self.peer:
            return None
        opened = self.opens(box)
        if opened is None or not self._window.take(opened[0]):
            return None
        frame = opened[1]
        self._heard_at = self._heard_by[frame.way & LARGEST] = now
        self._note(False, frame.way)
        if self.side is Side.FAR:
            self._level = frame.level
        self._acknowledged(frame, now)
        for way in range(LARGEST + 1):
            if frame.heard >> way & 1:
                self.ways.confirm(way, now)
        for offset, octets in frame.segments:
            self._incoming.take(offset, octets)
        if frame.segments or frame.asks:
            self._unacked += 1
            self._ack_at = now if self._unacked >= EVERY else (self._ack_at or now + ACK_SECONDS)
        if frame.flags & FINISHED:
            self._end, self._ack_at = frame.end, now
        whole = self._incoming.whole()
        self.finished = self._end is not None and self._incoming.upto >= self._end
        return whole

    def answer_by(self, way: Way, ridden: Ridden) -> None:
        """A way back, as the latest packet by it has shown."""
        self._paths[way] = ridden
        self.ways.add(way)

    def _acknowledged(self, frame: Frame, now: float) -> None:
        newest: dict[int, float] = {}
        progress = False
        for number, flying in list(self._flying.items()):
            behind = frame.largest - number
            if not (0 <= behind < REPORTED and frame.mask >> behind & 1):
                continue
            del self._flying[number]
            progress = True
            self.ways.confirm(flying.way, now)
            newest[flying.way] = max(newest.get(flying.way, 0.0), flying.time)
            if behind == 0:
                took = now - flying.time
                self._pace.measure(took)
                self.rtt = min(self.rtt, took) if self.rtt else took
            self._pace.window = min(WINDOW_MOST, self._pace.window + 1 / self._pace.window)
            for offset in flying.offsets:
                self._segments.pop(offset, None)
        for offset in [o for o, data in self._segments.items() if o + len(data) <= frame.upto]:
            del self._segments[offset]
        if progress:
            self._misses = 0
            self._forget_copies(max(newest.values()))
            self._overtaken(newest, now)

    def _forget_copies(self, until: float) -> None:
        """What other ways carried as well says nothing more, now that it has come."""
        for number, flying in list(self._flying.items()):
            if flying.time <= until and not any(o in self._segments for o in flying.offsets):
                del self._flying[number]

    def _overtaken(self, newest: Mapping[int, float], now: float) -> None:
        """What was sent before something that has come by the same way is most likely lost."""
        late = 1.5 * (self._pace.smoothed or FIRST_RTO)
        for number, flying in list(self._flying.items()):
            if flying.time < newest.get(flying.way, 0.0) and now - flying.time > late:
                self._give_up(number, now)

    def _give_up(self, number: int, now: float) -> None:
        flying = self._flying.pop(number)
        self._pace.lost(now)
        for offset in flying.offsets:
            if offset in self._segments and offset not in self._waiting:
                self._waiting.append(offset)

    # -- sending -------------------------------------------------------------------------------

    def due(self, now: float) -> list[Send]:
        self._expire(now)
        if self._heard_at + LOST_SECONDS <= now:
            self.lost = True
        sends: list[Send] = []
        while self._room() and (offsets := self._next_segment()):
            sends += self._packet(offsets, now)
        word = self.side is Side.NEAR and self._spoke_at + WORD_SECONDS <= now
        answer = self._ack_at is not None and now >= self._ack_at
        if not sends and (self._asking or word):
            sends += self._packet((), now, asks=True)
        elif not sends and answer:
            sends += self._packet((), now)
        return sends

    def _room(self) -> bool:
        return len(self._flying) < self._pace.window

    def _expire(self, now: float) -> None:
        patience = self._pace.patience(self._misses)
        late = [n for n, flying in self._flying.items() if flying.time + patience <= now]
        if not late:
            return
        self._misses += 1
        for way in {self._flying[number].way for number in late}:
            self.ways.doubt(way)
        for number in late:
            self._give_up(number, now)
        self._asking |= not self._waiting  # what asked for an answer asks again

    def _next_segment(self) -> tuple[int, ...]:
        while self._waiting:
            offset = self._waiting.popleft()
            if offset in self._segments:
                return (offset,)
        if not self._buffer:
            return ()
        offset = self._cut
        self._segments[offset] = bytes(self._buffer[:SEGMENT])
        del self._buffer[:SEGMENT]
        self._cut += len(self._segments[offset])
        return (offset,)

    def _packet(self, offsets: tuple[int, ...], now: float, *, asks: bool = False) -> list[Send]:
        """One packet, by one way or, where that is in doubt, by several."""
        chosen = self.ways.choose(now, self._misses, self._level)[:MOST_COPIES]
        recent = [way for way, when in self._heard_by.items() if now - when < HEARD_SECONDS]
        heard = sum(1 << way for way in recent)
        sends = []
        for way in chosen:
            frame = Frame(
                way.id,
                heard,
                self._told_level,
                self._incoming.upto,
                max(0, self._window.largest),
                self._window.recent(REPORTED) if self._window.largest >= 0 else 0,
                0 if self._last is None else FINISHED,
                tuple((offset, self._segments[offset]) for offset in offsets),
                asks,
                self._last or 0,
            )
            box = self.keys.seal(self.side, self._number, _encoder.encode(frame))
            if offsets or asks:
                self._flying[self._number] = _Flying(way.id, now, offsets)
            self._number += 1
            self._note(True, way.id)
            sends.append(Send(way, self._paths[way], box))
        self._spoke_at = now
        self._ack_at, self._unacked = None, 0
        self._asking = False
        return sends

    def _note(self, out: bool, number: int) -> None:
        way = of_id(number)
        if way is not None:
            self.carried[out][way] = self.carried[out].get(way, 0) + 1
