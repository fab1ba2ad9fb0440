"""The packets themselves, as this end's capture saw them, for a run that asks for them. Sans-IO.

Only what belongs to a shot of the run is kept: its packets and fragments, the segments of its
connections, the ICMP errors that quote it, a daemon's answer to it. Of strangers, nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from agent.errors import WireError
from agent.events import Captured, Frame, Piece
from agent.model import Kept, Side, Sighting, Tag
from agent.wire.base import Packet
from agent.wire.ip import is_fragment, parse
from agent.wire.reassemble import datagram

MOST = 16 << 20  # octets of packets, of a run at one end
DATAGRAMS = 64  # in fragments, that are remembered at once
FRAGMENTS = 64  # of one datagram, that wait for the one which tells whose they are

Name = tuple[bytes, bool]  # of a datagram in fragments, and whether it goes out


class Album:
    """``owner`` tells the shot that a segment of a connection belongs to.

    Beyond MOST octets nothing more is kept, and ``left_out`` counts.
    """

    def __init__(
        self, side: Side, asked: bool, owner: Callable[[Packet, bool], Tag | None]
    ) -> None:
        self.asked = asked
        self.left_out = 0
        self._side = side
        self._owner = owner
        self._seen = 0
        self._octets = 0
        self._datagrams: OrderedDict[Name, Tag] = OrderedDict()
        self._waiting: OrderedDict[Name, list[tuple[int, Frame]]] = OrderedDict()

    def keep(self, event: Captured, known_as: Sighting | None, again: bool) -> list[Kept]:
        """The frame of ``event`` where it is the run's, and the fragments that waited for it.

        ``known_as``: the sighting that it made, or (``again``) would have made.
        """
        if not self.asked or event.frame is None:
            return []
        self._seen += 1
        if known_as is not None:
            tag: Tag | None = Tag(known_as.check, known_as.shot)
        else:
            tag = self._owner(event.packet, event.outgoing)
        if tag is None:
            return []
        waited = self._told(_name(event.frame), tag)
        return waited + self._picture(self._seen, event.frame, tag, known_as, again)

    def piece(self, event: Piece) -> list[Kept]:
        """A later fragment. It waits, where nothing has told yet whose it is."""
        name = _name(event.frame) if self.asked else None
        if name is None:
            return []
        self._seen += 1
        tag = self._datagrams.get(name)
        if tag is not None:
            return self._picture(self._seen, event.frame, tag)
        waiting = self._waiting.setdefault(name, [])
        if len(waiting) < FRAGMENTS:
            waiting.append((self._seen, event.frame))
        if len(self._waiting) > DATAGRAMS:
            self._waiting.popitem(last=False)
        return []

    def _told(self, name: Name | None, tag: Tag) -> list[Kept]:
        """The fragments of the datagram ``name`` that came so far: now it is known whose it is."""
        if name is None:
            return []
        self._datagrams[name] = tag
        if len(self._datagrams) > DATAGRAMS:
            self._datagrams.popitem(last=False)
        waited = self._waiting.pop(name, [])
        return [kept for seen, frame in waited for kept in self._picture(seen, frame, tag)]

    def _picture(
        self,
        number: int,
        frame: Frame,
        tag: Tag,
        known_as: Sighting | None = None,
        again: bool = False,
    ) -> list[Kept]:
        if self._octets + len(frame.data) > MOST:
            self.left_out += 1
            return []
        self._octets += len(frame.data)
        return [
            Kept(
                at=self._side,
                number=number,
                time=frame.time,
                outgoing=frame.outgoing,
                data=frame.data,
                check=tag.check,
                shot=tag.shot,
                event=known_as.event if known_as else None,
                stage=known_as.stage if known_as else "",
                again=again and known_as is not None,
                unfilled=frame.unfilled,
            )
        ]


def _name(frame: Frame) -> Name | None:
    """None for what is no fragment."""
    try:
        return (datagram(frame.data), frame.outgoing) if is_fragment(parse(frame.data)) else None
    except WireError:
        return None
