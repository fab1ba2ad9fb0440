"""Records that both ends share: what to send, and what was seen of it. No behaviour.

The words are used in one sense everywhere:

* *near* is the host where ``probe run`` was typed, *far* the one where the agent runs;
* *outbound* is near → far, *inbound* far → near: always the way the packet itself travels;
* a *check* is kind × direction × flow × size, a *shot* is one packet of a check;
* a *sighting* is one fact that one endpoint recorded about one shot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    NEAR = "near"
    FAR = "far"


class Direction(StrEnum):
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Flow(StrEnum):
    """In the firewall's eyes: opened by this packet, or inside what the other side opened."""

    NEW = "new"
    REPLY = "reply"


class Fragmenting(StrEnum):
    """How a packet that is larger than the path's MTU is to travel."""

    USUAL = "usual"  # as the host sends everything of its kind
    NEVER = "never"  # whole, with DF set: refused or lost where it does not fit
    LAST_FIRST = "last-first"  # in fragments that leave in the reverse order


class Event(StrEnum):
    SENT = "sent"  # the kernel took it from our socket
    UNSENT = "unsent"  # the kernel refused it; Sighting.note holds the errno's name
    LEFT = "left"  # seen going out of an interface (AF_PACKET)
    ARRIVED = "arrived"  # seen coming in on an interface (AF_PACKET), before the host's firewall
    DELIVERED = "delivered"  # a socket got it
    REFUSED = "refused"  # somebody answered with an ICMP error or a TCP RST
    REPLIED = "replied"  # an answer that is not ours was seen: a daemon's, or a middlebox's


TAKEN = "taken"  # stage of a REPLIED: a socket got it; without a stage an interface saw it
OVER_RATION = "over ration"  # note of an UNSENT: held back, so that no daemon gets too many


@dataclass(frozen=True, slots=True)
class Client:
    """For whom a Kerberos request asks. ``.invalid`` can be no real realm (RFC 2606)."""

    principal: str = "ipsec-probe"
    realm: str = "IPSEC-PROBE.INVALID"


CLIENT = Client()


@dataclass(frozen=True, slots=True)
class Tag:
    """What a shot carries so that it is known again: the check's number and the shot's."""

    check: int  # 0 … 65535
    shot: int  # 1 … 65535


@dataclass(frozen=True, slots=True)
class Check:
    """One question. ``partner`` joins a ``new`` check and the ``reply`` that answers its shots."""

    number: int
    kind: str
    direction: Direction
    flow: Flow
    family: int  # 4 or 6
    size: int | None = None  # octets of the whole IP packet; None: the kind's natural size
    source_port: int | None = None  # None: no ports, or a fresh one for every shot
    destination_port: int | None = None
    partner: int | None = None
    fragmenting: Fragmenting = Fragmenting.USUAL


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP (or ICMPv6) error that quoted a shot. ``sender`` is the address it came from."""

    type: int
    code: int
    sender: str
    mtu: int | None = None  # for "fragmentation needed" / "packet too big"


@dataclass(frozen=True, slots=True)
class Sighting:
    at: Side
    event: Event
    check: int
    shot: int
    time: float  # seconds since the epoch by that host's own clock; never compared across hosts
    source: str = ""
    destination: str = ""
    source_port: int | None = None
    destination_port: int | None = None
    ttl: int | None = None
    size: int | None = None  # octets of the whole IP packet
    digest: str = ""  # of the bytes behind the IP, UDP or TCP header: equal ends, unaltered
    intact: bool = True  # the kind's own integrity check held (AH's ICV, for one)
    stage: str = ""  # TCP: "syn", "syn-ack", "request", "answer"; "fragment": the first; or TAKEN
    icmp: Icmp | None = None
    note: str = ""
    dscp: int | None = None  # the upper six bits of TOS or traffic class (RFC 2474)
    # (source, destination) translated, by the kind's own NAT detection; None: it has none
    translated: tuple[bool, bool] | None = None
    backwards: bool = False  # it came in fragments, the first one last
    says: str = ""  # an answer that is not ours: its own words; "" where it speaks another protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """A packet of the run as one end's capture saw it, kept where the run asks for its packets.

    ``event`` and ``stage`` are those of the sighting it made; None: it made none, and only belongs
    to the shot (a later fragment, a TCP acknowledgement).
    """

    at: Side
    number: int  # counts what this end has seen of the run: by time stamps alone, a clock may step
    time: float  # seconds since the epoch by that host's own clock; never compared across hosts
    outgoing: bool
    data: bytes  # from the IP header on
    check: int
    shot: int
    event: Event | None = None
    stage: str = ""
    again: bool = False  # that sighting had been made before
    unfilled: bool = False  # its checksum was left to an interface, which a virtual one never fills


@dataclass(frozen=True, slots=True)
class PortHeld:
    """A port that we could not have on this host."""

    protocol: int  # 6 or 17
    port: int
    taken: bool = True  # by another program; False: we lack the privilege for a low port
    lately: bool = False  # since the run began: what came before that was seen may be unseen


@dataclass(frozen=True, slots=True)
class Prior:
    """Earlier traffic on the tuple of a check, from this host's flow ledger."""

    check: int
    seconds: float  # since the last packet, when the run began
    what: str  # in plain words: "an earlier run"
    crossed: bool = True  # False: it left this host, and whether it arrived is not known


@dataclass(frozen=True, slots=True)
class Facts:
    """What an endpoint knows about its own eyes and its own host. Asked for at any time."""

    captured: int = 0  # packets the kernel handed to our capture
    capture_dropped: int = 0  # packets the kernel could not hand over: we were blind to them
    socket_dropped: int = 0  # packets that overflowed one of our sockets
    held: tuple[PortHeld, ...] = ()
    tracked: int = 0  # entries in this host's own connection tracking; 0: it tracks nothing
    live: tuple[int, ...] = ()  # checks on whose tuple traffic that is not ours was seen
    # checks on whose tuple control messages of ours travelled, for want of a control port: from
    # this host, and to it
    carried_out: tuple[int, ...] = ()
    carried_in: tuple[int, ...] = ()
    nameless: tuple[int, ...] = ()  # checks whose shots came, it seems, from a port not their own
    strangers: int = 0  # packets that came in on our ports and are not ours, or malformed
    duplicates: int = 0  # shots of ours seen more than once at one point
    interrupted: str = ""  # this host was deaf or mute for a while: "lost its address 10.0.0.1"
    troubles: tuple[str, ...] = ()  # one sentence each


@dataclass(frozen=True, slots=True)
class PortUse:
    """The source port that a shot with a fresh port leaves from."""

    check: int
    shot: int
    port: int


@dataclass(frozen=True, slots=True)
class Volley:
    """An order: send these shots of this check.

    ``ttl`` (IPv6: hop limit) is for finding out how far they come; None leaves it to the host.
    """

    check: int
    first: int
    count: int
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """An order: answer ``request`` again, with these shots of the reply check.

    ``cold``: as if the request had come, without a flow that it would have opened.
    """

    request: Tag
    check: int
    first: int
    count: int
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one run may have the agent send and for how long, or how much it would like to."""

    shots: float = 2000.0  # a second, replies included
    octets: float = 4_000_000.0  # a second, of whole IP packets
    seconds: float = 3600.0  # from the greeting to the end of the session
