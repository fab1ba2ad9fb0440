"""Captured fragments → what the engine is told of them: the first, the others, and the whole."""

from __future__ import annotations

from agent.events import Captured, Frame, Piece
from agent.wire import ip
from agent.wire.base import Packet
from agent.wire.reassemble import Reassembler


class Pieces:
    """Of what comes in and of what goes out, each by itself."""

    def __init__(self) -> None:
        self._joining = {True: Reassembler(), False: Reassembler()}

    def take(self, packet: Packet, frame: Frame) -> list[Captured | Piece]:
        """WireError for what cannot be joined. Each frame is handed on once."""
        joined = self._joining[frame.outgoing].add(frame.data, frame.time)
        outgoing, when = frame.outgoing, frame.time
        told: list[Captured | Piece] = []
        if not ip.is_later_fragment(packet):
            shown = frame if joined is None else None
            told.append(Captured(packet, outgoing, when, fragment=True, frame=shown))
        elif joined is None:
            told.append(Piece(frame))
        if joined is not None:
            whole, backwards = ip.parse(joined.packet), joined.backwards
            told.append(Captured(whole, outgoing, when, backwards=backwards, frame=frame))
        return told
