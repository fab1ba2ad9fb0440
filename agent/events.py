"""What goes into the engine (events) and what comes out of it (actions)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.model import Fragmenting, Kept, Late, Sighting, Tag, Volley
from agent.wire.base import Codec, Packet, Path

# -- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


@dataclass(frozen=True, slots=True)
class FireVolleys:
    volleys: Sequence[Volley]
    gap: float  # seconds between two shots


@dataclass(frozen=True, slots=True)
class AnswerLate:
    late: Late
    gap: float  # seconds between two shots


@dataclass(frozen=True, slots=True)
class Frame:
    """What the capture got, octet by octet."""

    data: bytes  # from the IP header on
    outgoing: bool
    time: float  # seconds since the epoch, stamped by the kernel
    unfilled: bool = False  # the UDP or TCP checksum is left to the interface


@dataclass(frozen=True, slots=True)
class Captured:
    """Seen on an interface (AF_PACKET)."""

    packet: Packet
    outgoing: bool
    time: float
    fragment: bool = False  # the first of several; the whole comes when the others have come
    backwards: bool = False  # the whole was joined of fragments, and the first came last
    frame: Frame | None = None  # as it was captured; None: told already, with its first fragment


@dataclass(frozen=True, slots=True)
class Piece:
    """A later fragment, captured while others are still missing."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Control:
    """A control message of ours was seen on an interface: no shot, and no stranger either."""

    packet: Packet
    outgoing: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A raw or UDP socket got it."""

    packet: Packet
    time: float


@dataclass(frozen=True, slots=True)
class Sent:
    """The kernel took a shot, or refused it with the errno named ``error``."""

    tag: Tag
    time: float
    path: Path
    error: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Connected:
    """Our own TCP connection was made, or failed with the errno named ``error``."""

    tag: Tag
    time: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """All that our own TCP connection has brought so far."""

    tag: Tag
    stream: bytes
    time: float


@dataclass(frozen=True, slots=True)
class Requested:
    """All that a connection which the other end made to our listener has brought so far."""

    connection: int
    path: Path  # as the other end sees it: source is the peer
    stream: bytes
    time: float


Input = (
    Tick
    | FireVolleys
    | AnswerLate
    | Captured
    | Piece
    | Control
    | Received
    | Sent
    | Connected
    | Answered
    | Requested
)


# -- actions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send ``data`` by ``codec`` along ``path``; tell the engine with Sent."""

    tag: Tag
    codec: Codec
    path: Path
    data: bytes
    ttl: int | None = None  # None: as the host sends everything else
    fragmenting: Fragmenting = Fragmenting.USUAL


@dataclass(frozen=True, slots=True)
class Connect:
    """Make a TCP connection from ``path``'s source port, then write ``data``."""

    tag: Tag
    path: Path
    data: bytes
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Answer on a connection that the other end made, then close it."""

    connection: int
    tag: Tag
    path: Path
    data: bytes


Action = Transmit | Connect | Write | Sighting | Kept
