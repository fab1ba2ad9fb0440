"""ICMP and ICMPv6: the kind ``icmp-echo``, and the errors that quote a shot of ours.

RFC 792, 1191, 1812, 4443, 4884.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal

HEADER_LENGTH = 8
NATURAL = 56  # octets of data, as ping sends
PATTERN = bytes(range(256)) * 256  # ping's filling, behind what stands in its time stamp's place

REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}
PROTOCOL = {4: ip.ICMP, 6: ip.ICMPV6}

_HOUSEKEEPING = {4: bytes((9, 10)), 6: bytes((*range(130, 138), 143))}  # RFC 1256, 4861, 3810
_ERRORS = {
    4: {3: "destination unreachable", 11: "time exceeded", 12: "parameter problem"},
    6: {
        1: "destination unreachable",
        2: "packet too big",
        3: "time exceeded",
        4: "parameter problem",
    },
}
_CODES = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "fragmentation needed and not allowed",
    (4, 3, 5): "source route failed",
    (4, 3, 6): "destination network unknown",
    (4, 3, 7): "destination host unknown",
    (4, 3, 8): "source host isolated",
    (4, 3, 9): "communication with the network administratively prohibited",
    (4, 3, 10): "communication with the host administratively prohibited",
    (4, 3, 11): "network unreachable for this type of service",
    (4, 3, 12): "host unreachable for this type of service",
    (4, 3, 13): "communication administratively prohibited",
    (4, 3, 14): "host precedence violation",
    (4, 3, 15): "precedence cut off",
    (4, 11, 0): "time to live exceeded in transit",
    (4, 11, 1): "fragment reassembly time exceeded",
    (4, 12, 0): "parameter problem at the octet pointed to",
    (4, 12, 1): "a required option is missing",
    (4, 12, 2): "bad length",
    (6, 1, 0): "no route to the destination",
    (6, 1, 1): "communication administratively prohibited",
    (6, 1, 2): "beyond the scope of the source address",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address failed the ingress or egress policy",
    (6, 1, 6): "route to the destination rejected",
    (6, 1, 7): "error in the source routing header",
    (6, 1, 8): "headers too long",
    (6, 2, 0): "packet too big",
    (6, 3, 0): "hop limit exceeded in transit",
    (6, 3, 1): "fragment reassembly time exceeded",
    (6, 4, 0): "erroneous header field",
    (6, 4, 1): "unrecognized next header",  # how IPv6 says "protocol unreachable"
    (6, 4, 2): "unrecognized IPv6 option",
    (6, 4, 3): "the first fragment does not hold all headers",
}


def describe(family: int, type: int, code: int) -> str:
    """In plain words: "communication administratively prohibited (ICMP 3/13)"."""
    words = _CODES.get((family, type, code)) or _ERRORS[family].get(type, "an ICMP message")
    return f"{words} (ICMP{'v6' if family == 6 else ''} {type}/{code})"


# -- errors --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP error, and what it quotes of the packet it is about.

    ``source``, ``destination``, ``protocol`` and the ports are the quoted packet's; ``head`` is
    what was quoted behind its IP header, 8 octets or more, the UDP or TCP header among them.
    """

    family: int
    type: int
    code: int
    sender: str
    mtu: int | None
    source: str
    destination: str
    protocol: int
    source_port: int | None
    destination_port: int | None
    head: bytes


def read_error(packet: Packet) -> IcmpError | None:
    """The error in ``packet``; None when it is none (an echo, a neighbour solicitation).

    WireError for an error that quotes less than an IP header and 8 octets.
    """
    family, message = packet.family, packet.payload
    if packet.protocol != PROTOCOL[family] or not message or message[0] not in _ERRORS[family]:
        return None
    if len(message) < HEADER_LENGTH:
        raise WireError("an ICMP error breaks off")
    type, code = message[0], message[1]
    mtu = None
    if (family, type, code) == (4, 3, 4):
        mtu = int.from_bytes(message[6:8], "big") or None  # 0: older than RFC 1191
    elif (family, type) == (6, 2):
        mtu = int.from_bytes(message[4:8], "big")
    quoted = _quotation(family, type, message)
    return _error4(quoted, packet, mtu) if family == 4 else _error6(quoted, packet, mtu)


def whole_error(packet: Packet) -> IcmpError | None:
    """As :func:`read_error`; None also for one that quotes too little."""
    try:
        return read_error(packet)
    except WireError:
        return None


def _quotation(family: int, type: int, message: bytes) -> bytes:
    """The original datagram, without the extensions that may follow 128 octets of it or more
    (RFC 4884, 4); a smaller length is junk in a field that older routers leave unused.
    """
    quoted = message[HEADER_LENGTH:]
    length = 0
    if family == 4:
        length = message[5] * 4
    elif type in (1, 3):
        length = message[4] * 8
    return quoted[:length] if length >= 128 else quoted


def _error4(quoted: bytes, packet: Packet, mtu: int | None) -> IcmpError:
    if len(quoted) < 20 or quoted[0] >> 4 != 4:
        raise WireError("an ICMP error quotes no IPv4 header")
    start = (quoted[0] & 15) * 4
    later = bool(int.from_bytes(quoted[6:8], "big") & 0x1FFF)
    whole = int.from_bytes(quoted[2:4], "big")
    if whole >= start + 8:  # else a router's own idea of the field: leave it
        quoted = quoted[:whole]
    return _error(quoted, start, quoted[9], later, packet, mtu)


def _error6(quoted: bytes, packet: Packet, mtu: int | None) -> IcmpError:
    if len(quoted) < 40 or quoted[0] >> 4 != 6:
        raise WireError("an ICMPv6 error quotes no IPv6 header")
    protocol, start, later = quoted[6], 40, False
    if protocol in ip.EXTENSIONS:
        protocol, start, later = ip.walk_extensions(quoted)
    return _error(quoted, start, protocol, later, packet, mtu)


def _error(
    quoted: bytes, start: int, protocol: int, later: bool, packet: Packet, mtu: int | None
) -> IcmpError:
    head = quoted[start:]
    if start < 20 or len(head) < 8:
        raise WireError("an ICMP error quotes less than 8 octets behind the IP header")
    ports: tuple[int | None, int | None] = (None, None)
    if protocol in (ip.TCP, ip.UDP) and not later:
        ports = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
    source, destination = ip.addresses(quoted)
    type, code = packet.payload[0], packet.payload[1]
    return IcmpError(
        packet.family,
        type,
        code,
        packet.source,
        mtu,
        source,
        destination,
        protocol,
        *ports,
        head,
    )


def is_housekeeping(packet: Packet) -> bool:
    """True for what hosts and routers of one link say: of neighbours, routers and groups."""
    message, family = packet.payload, packet.family
    is_icmp = packet.protocol == PROTOCOL[family] and bool(message)
    return is_icmp and message[0] in _HOUSEKEEPING[family]


# -- echo ----------------------------------------------------------------------------------------


class IcmpEcho(Codec):
    """``icmp-echo``: a ping, whose data begin with the seal. The far kernel answers it.

    A kernel's reply repeats its request, so it reads as the request's tag with ``reply`` set.
    """

    name = "icmp-echo"
    answered_by_kernel = True

    def protocol(self, family: int) -> int:
        return PROTOCOL[family]

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        length = NATURAL
        if size is not None:
            length = ip.room(path.family, PROTOCOL[path.family], size) - HEADER_LENGTH
            if length < TAG_LENGTH:
                smallest = ip.HEADER_LENGTH[path.family] + HEADER_LENGTH + TAG_LENGTH
                raise ip.too_small(self.name, size, smallest)
        body = _identity(keys, tag) + seal(keys, self.name, tag) + PATTERN[TAG_LENGTH:length]
        return _message(REQUEST[path.family], body, path)

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        """What a kernel replies: the request's own data, whatever ``tag`` and ``size``."""
        del keys, tag, size
        return _message(REPLY[path.family], request[4:], path)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        message, family = packet.payload, packet.family
        if packet.protocol != PROTOCOL[family] or not message:
            return None
        reply = message[0] == REPLY[family]
        if not reply and message[0] != REQUEST[family]:
            return None
        if len(message) < HEADER_LENGTH:
            raise WireError("an ICMP echo breaks off")
        tag = unseal(keys, self.name, message[HEADER_LENGTH : HEADER_LENGTH + TAG_LENGTH])
        return None if tag is None else Reading(tag, reply=reply)

    def quoted(self, keys: Keys, checks: Iterable[int], head: bytes) -> Tag | None:
        """By the seal where it was quoted: a NAT may have given the echo another identifier."""
        sealed = unseal(keys, self.name, head[HEADER_LENGTH : HEADER_LENGTH + TAG_LENGTH])
        for number in checks:
            tag = Tag(number, int.from_bytes(head[6:8], "big"))
            if sealed == tag or head[4:8] == _identity(keys, tag):
                return tag
        return None


def _identity(keys: Keys, tag: Tag) -> bytes:
    """Identifier and sequence number: one identifier per check, the shots counted as ping does."""
    first = int.from_bytes(keys.derive("icmp identifier")[:2], "big")
    return ((first + tag.check) & 0xFFFF).to_bytes(2, "big") + tag.shot.to_bytes(2, "big")


def _message(type: int, body: bytes, path: Path) -> bytes:
    """``body`` begins with the identifier."""
    blank = bytes((type, 0, 0, 0)) + body
    covered = blank
    if path.family == 6:
        covered = ip.pseudo_header(path, ip.ICMPV6, len(blank)) + blank
    return blank[:2] + ip.checksum(covered).to_bytes(2, "big") + body
