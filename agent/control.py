"""What the two ends say to each other: versioned messages, one JSON object a line.

Sans-IO. Near asks, far answers; only :class:`Seen` and :class:`Shown` come unasked. Every question
but :class:`Hello` may be put to the near host's own station as well: it is the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from agent.errors import ControlError
from agent.model import (
    CLIENT,
    Check,
    Client,
    Facts,
    Kept,
    Late,
    Limits,
    PortUse,
    Prior,
    Sighting,
    Volley,
)

PROTOCOL = 1
STOPPED = "stopped"  # an Oops' code
MAX_LINE = 1 << 20  # octets; a longer line ends the connection
ENVELOPE = 300  # octets around the data of a packet that is shown, at most


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """Root of all messages. Unknown members are ignored, unknown types are an error."""


class Hello(Message, frozen=True):
    """Near's first words. They must stay readable to every version, as must Welcome and Oops."""

    protocol: int
    version: str
    name: str


class Welcome(Message, frozen=True):
    protocol: int
    version: str
    name: str
    address: str  # far's own address on this connection
    seen_as: str  # near's address as far sees it
    mtu: int = 0  # octets, of far's interface towards near; 0: not known
    limits: Limits | None = None  # of one session; None: it has none
    sessions: int = 0  # that the agent serves at once; 0: not told


class Open(Message, frozen=True):
    """Begins a run. ``secret``: 32 octets that only this run's shots are keyed with."""

    secret: bytes
    checks: list[Check]
    local: str  # of the station that is asked
    peer: str
    state_timeout: float
    keep: bool = False  # the packets as well: they come as Shown
    asked: Limits | None = None  # None: all that there is
    client: Client = CLIENT


class Opened(Message, frozen=True):
    facts: Facts
    priors: list[Prior]
    granted: Limits | None = None  # never more than was asked; None: as much as one likes


class Prepare(Message, frozen=True):
    """Asks for the source ports that these shots will leave from.

    ``ports``: those that have been agreed on; the receiver draws the others.
    """

    volleys: list[Volley]
    ports: list[PortUse] = []


class Prepared(Message, frozen=True):
    ports: list[PortUse]


class Await(Message, frozen=True):
    """Tells the receiver which source ports the other end's shots will come from.

    ``addresses``: its own as well, by a NAT's doing; shots that come from there may be answered.
    """

    ports: list[PortUse]
    addresses: list[str] = []


class Awaiting(Message, frozen=True):
    pass


class Fire(Message, frozen=True):
    """Sends the shots, one every ``gap`` seconds, the checks taking turns."""

    volleys: list[Volley]
    gap: float


class Firing(Message, frozen=True):
    pass


class Answer(Message, frozen=True):
    """Replies again to a request that was delivered, one shot every ``gap`` seconds."""

    late: Late
    gap: float


class Answering(Message, frozen=True):
    pass


class Seen(Message, frozen=True):
    sightings: list[Sighting]


class Shown(Message, frozen=True):
    """Packets of the run, as far's capture saw them."""

    packets: list[Kept]


class Collect(Message, frozen=True):
    """Asks for what the station knows of its own eyes; all sightings so far come before it."""


class Collected(Message, frozen=True):
    facts: Facts


class Close(Message, frozen=True):
    pass


class Closed(Message, frozen=True):
    pass


class Oops(Message, frozen=True):
    """A refusal. ``code`` is for programs: "version", "denied", "busy", "bad".

    One that nobody has asked for is the agent's farewell: "stopped".
    """

    code: str
    text: str


AnyMessage = (
    Hello
    | Welcome
    | Open
    | Opened
    | Prepare
    | Prepared
    | Await
    | Awaiting
    | Fire
    | Firing
    | Answer
    | Answering
    | Seen
    | Shown
    | Collect
    | Collected
    | Close
    | Closed
    | Oops
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


def encode(message: Message) -> bytes:
    return _encoder.encode(message) + b"\n"


def shown(packets: Iterable[Kept]) -> Iterator[Shown]:
    """``packets`` in messages that are short enough."""
    part: list[Kept] = []
    octets = 0
    for packet in packets:
        size = ENVELOPE + len(packet.data) * 4 // 3
        if part and octets + size > MAX_LINE // 2:
            yield Shown(part)
            part, octets = [], 0
        part.append(packet)
        octets += size
    if part:
        yield Shown(part)


class Decoder:
    """Bytes in, messages out. ControlError for anything that is not the protocol."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[AnyMessage]:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if end > MAX_LINE:
                raise ControlError("a control message is too long")
            try:
                yield _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ControlError(f"a control message is malformed: {error}") from error
        if len(self._buffer) > MAX_LINE:
            raise ControlError("a control message is too long")
