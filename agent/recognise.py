"""Whose packet is it? A packet, or one that an ICMP error quotes, → the shot it is, if it is ours.

A shot is known by what it carries, and its MAC is checked. Where there is no room for a tag (a NAT
keepalive, a SYN) it is known by a source port that only this shot leaves from, and that both ends
were told beforehand; never by likeness of headers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from dataclasses import replace

from agent.errors import WireError
from agent.model import Check, Direction, Flow, Side, Tag
from agent.wire import codec
from agent.wire.base import Codec, Keys, Packet, Path, Reading
from agent.wire.icmp import IcmpError
from agent.wire.ike import tag_of_spi
from agent.wire.natt import NON_ESP_MARKER, is_keepalive

ICMP_PROTOCOLS = (1, 58)
TCP, UDP, AH = 6, 17, 51
UDP_HEADER = 8  # octets
AH_SEQUENCE_ENDS = 12  # octets into the header
FOREIGN = "answered by a service that is not ours"
ANY_SHOT = "the error quotes too little to tell which shot of the check it was"
SYN, RST, ACK = 0x02, 0x04, 0x10


def digest(protocol: int, payload: bytes) -> str:
    """Names the bytes that should cross unchanged. ICMP's header differs by nature."""
    body = payload[8:] if protocol in ICMP_PROTOCOLS else payload
    return hashlib.blake2s(body, digest_size=8).hexdigest()


class Recogniser:
    """The checks of one run, as one endpoint sees them.

    ``peer``: the other host's address in packets; a NAT may give it more, those of sealed shots.
    ``others``: whether another run at this endpoint is with the host of that address, which may use
    the same ports.
    """

    def __init__(
        self,
        side: Side,
        keys: Keys,
        checks: Iterable[Check],
        peer: str,
        others: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        self.keys = keys
        self.checks = {check.number: check for check in checks}
        self.codecs = {check.kind: codec(check.kind) for check in self.checks.values()}
        self._side = side
        self._peers = {peer.partition("%")[0]}
        self._others = others
        # (protocol, port) → the one shot that leaves from there
        self._own: dict[tuple[int, int], Tag] = {}
        self._peer: dict[tuple[int, int], Tag] = {}
        self._port_of: dict[Tag, int] = {}

    def kind(self, tag: Tag) -> Codec:
        return self.codecs[self.checks[tag.check].kind]

    def originates(self, check: Check) -> bool:
        """True when this end sends the check's shots."""
        return (check.direction is Direction.OUTBOUND) == (self._side is Side.NEAR)

    def is_others(self, address: str) -> bool:
        """Whether that host is another run's and not ours."""
        return address not in self._peers and self._others(address)

    def is_peers(self, address: str) -> bool:
        """Whether it is the other end's, by itself or by a NAT's doing."""
        return address in self._peers

    # -- fresh ports -------------------------------------------------------------------------

    def own_port(self, tag: Tag, port: int) -> None:
        self._own[self.kind(tag).protocol(self.checks[tag.check].family), port] = tag
        self._port_of[tag] = port

    def peer_port(self, tag: Tag, port: int) -> None:
        self._peer[self.kind(tag).protocol(self.checks[tag.check].family), port] = tag

    def port_of(self, tag: Tag) -> int | None:
        return self._port_of.get(tag)

    def claim(self, tag: Tag, address: str, port: int) -> bool:
        """A sealed request came from there: False where that is as the other end announced it."""
        place = (self.kind(tag).protocol(self.checks[tag.check].family), port)
        known = place in self._peer and address in self._peers
        self._peer.setdefault(place, tag)
        self._peers.add(address)
        return not known

    def by_port(self, packet: Packet, outgoing: bool) -> Tag | None:
        """The shot, or the reply to it, that travels from or to a fresh port.

        A busy service has other clients, whose ports are drawn from the same numbers: the other
        end's port is its own at the other end's address alone.
        """
        if self.is_others(packet.destination if outgoing else packet.source):
            return None
        asking, answering = (self._own, self._peer) if outgoing else (self._peer, self._own)
        if (packet.destination if outgoing else packet.source) not in self._peers:
            asking, answering = (asking, {}) if outgoing else ({}, answering)
        request = asking.get((packet.protocol, packet.source_port or 0))
        if request and self.checks[request.check].destination_port == packet.destination_port:
            return request
        asked = answering.get((packet.protocol, packet.destination_port or 0))
        if asked is None:
            return None
        check = self.checks[asked.check]
        if check.destination_port != packet.source_port or check.partner is None:
            return None
        return Tag(check.partner, asked.shot)

    # -- packets -----------------------------------------------------------------------------

    def read(self, packet: Packet, outgoing: bool) -> Reading | None:
        """The shot of this run in a packet that travels the way its check says; else None."""
        for kind in self.codecs.values():
            if kind.stream or kind.protocol(packet.family) != packet.protocol:
                continue
            if kind.port is not None and kind.port not in (
                packet.source_port,
                packet.destination_port,
            ):
                continue
            if kind.tagged:
                try:
                    reading = kind.read(self.keys, packet)
                except WireError:
                    continue  # a stranger, unless another kind knows it
            else:
                reading = self._untagged(kind, packet, outgoing)
            if reading is None:
                continue
            check = self.checks.get(reading.tag.check)
            if check is None or check.kind != kind.name:
                continue
            if kind.answered_by_kernel and reading.reply and check.partner is not None:
                # A kernel sends the request's own bytes back, its tag among them.
                check = self.checks[check.partner]
                reading = replace(reading, tag=Tag(check.number, reading.tag.shot))
            if self.originates(check) == outgoing:
                if not outgoing and kind.tagged and check.flow is Flow.NEW:
                    self._peers.add(packet.source)
                return reading
        return None

    def damaged(self, packet: Packet) -> Reading | None:
        """A request of the other end's that was cut or changed, known by what is left of it.

        Not so a reply: a daemon that holds the port may have sent an answer of its own.
        """
        tag = self.first_fragment(packet, outgoing=False)
        if tag is None or self.checks[tag.check].flow is not Flow.NEW:
            return None
        if self.originates(self.checks[tag.check]):
            return None
        return Reading(tag, intact=False, note="its payload was cut or changed on the way")

    def answer_of_others(self, packet: Packet, outgoing: bool) -> Tag | None:
        """The reply that a datagram stands for, though it is none of ours: it goes where only an
        answer to one of our requests goes, or repeats the initiator SPI of one.
        """
        if packet.protocol != UDP:
            return None
        tag = self.first_fragment(packet, outgoing)
        return tag if tag and self.checks[tag.check].flow is Flow.REPLY else None

    def heard(self, answer: Tag, message: bytes, note: str = "") -> Reading:
        """Somebody else's ``message`` in the place of that reply; it says "" if it is garbage."""
        check, says = self.checks[answer.check], ""
        with suppress(WireError):  # it breaks off
            if check.partner is not None:
                asked = Tag(check.partner, answer.shot)
                says = self.kind(answer).heard(self.keys, asked, message)
        return Reading(answer, note=note, says=says)

    def first_fragment(self, packet: Packet, outgoing: bool) -> Tag | None:
        """The shot whose first fragment this is, by what stands in front: its tag may come later.

        A fresh port, ESP's SPI and sequence, or the initiator SPI of IKE, which is keyed as well.
        """
        tag = self.by_port(packet, outgoing)
        if tag is not None:
            return tag
        if packet.protocol == UDP:
            return self._by_initiator(packet, outgoing)
        for kind in self.codecs.values():
            if kind.stream or kind.port is not None:
                continue
            if kind.protocol(packet.family) != packet.protocol:
                continue
            mine = [c.number for c in self.checks.values() if c.kind == kind.name]
            tag = kind.quoted(self.keys, mine, packet.payload)
            if tag is not None:
                return tag
        return None

    def _by_initiator(self, packet: Packet, outgoing: bool) -> Tag | None:
        """By the initiator SPI, which the answer to a request repeats."""
        # Behind a marker on port 4500; an SPI begins like one once in four thousand million.
        at = len(NON_ESP_MARKER) if packet.payload.startswith(NON_ESP_MARKER) else 0
        tag = tag_of_spi(self.keys, packet.payload[at : at + 8], self.checks)
        check = self.checks.get(tag.check) if tag else None
        if tag is None or check is None:
            return None
        if self.originates(check) == outgoing:
            return tag
        return Tag(check.partner, tag.shot) if check.partner is not None else None

    def _untagged(self, kind: Codec, packet: Packet, outgoing: bool) -> Reading | None:
        """One octet carries no tag: it is known by the fresh port that only this shot uses."""
        if not is_keepalive(packet.payload):
            return None
        tag = self.by_port(packet, outgoing)
        return Reading(tag) if tag and self.checks[tag.check].kind == kind.name else None

    def nameless(self, packet: Packet) -> list[int]:
        """The checks that a packet may be a shot of, had a NAT given it another source port."""
        if packet.protocol != TCP and not is_keepalive(packet.payload):
            return []
        if self.is_others(packet.source):
            return []
        return [
            check.number
            for check in self.checks.values()
            if check.flow is Flow.NEW
            and not self.originates(check)
            and check.destination_port == packet.destination_port
            and self.codecs[check.kind].protocol(check.family) == packet.protocol
            and (self.codecs[check.kind].stream or not self.codecs[check.kind].tagged)
        ]

    def tcp_place(self, packet: Packet, outgoing: bool) -> tuple[Tag, str] | None:
        """Which shot a segment belongs to, and which stage of its connection it is."""
        tag = self.by_port(packet, outgoing)
        if tag is None or not self.codecs[self.checks[tag.check].kind].stream:
            return None
        request = self.checks[tag.check].flow is Flow.NEW
        if packet.tcp_flags & RST:
            return tag, "rst"
        if packet.tcp_flags & SYN:
            opening = not packet.tcp_flags & ACK
            return (tag, "syn" if opening else "syn-ack") if opening == request else None
        if packet.payload:
            return tag, "request" if request else "answer"
        return None

    def may_open(self, packet: Packet) -> list[int]:
        """The checks on whose tuple a stranger travels: a firewall may keep state of it."""
        found: list[int] = []
        for check in self.checks.values():
            kind = self.codecs[check.kind]
            if kind.stream or kind.protocol(check.family) != packet.protocol:
                continue
            if packet.protocol in ICMP_PROTOCOLS:
                continue  # every echo request is a flow of its own
            ports = (check.source_port, check.destination_port)
            if kind.port is None or (
                None not in ports
                and (packet.source_port, packet.destination_port) in (ports, ports[::-1])
            ):
                found.append(check.number)
        return found

    # -- what an ICMP error quotes -----------------------------------------------------------

    def quoted(self, error: IcmpError, ours: bool, told: Set[Tag]) -> Reading | None:
        """The shot in ``error``: one of ours, or of the other end's.

        ``told``: shots that were sent and not refused yet, for errors that quote too little to
        tell the shots of a check apart. The oldest of them is meant then, and the note says so.
        """
        numbers = [c.number for c in self.checks.values() if self.originates(c) == ours]
        quoted = Packet(
            error.family,
            error.protocol,
            error.source,
            error.destination,
            error.head[8:],
            error.source_port,
            error.destination_port,
        )
        if error.protocol in (TCP, UDP):
            tag = self.by_port(quoted, outgoing=ours)
            if tag is not None:
                return Reading(tag)
            reading = self.read(quoted, outgoing=ours)
            if reading is not None:
                return Reading(reading.tag)
            with_peer = (quoted.destination if ours else quoted.source) in self._peers
            length = int.from_bytes(error.head[4:6], "big")
            return self._fixed_port(quoted, numbers, told, length) if with_peer else None
        for kind in self.codecs.values():
            if kind.protocol(error.family) == error.protocol:
                mine = [n for n in numbers if self.checks[n].kind == kind.name]
                tag = kind.quoted(self.keys, mine, error.head)
                if tag is not None and error.protocol == AH and len(error.head) < AH_SEQUENCE_ENDS:
                    return _oldest(tag.check, told)
                if tag is None and kind.answered_by_kernel:
                    tag = self._kernels_answer(kind, error.head, numbers)
                if tag is not None:
                    return Reading(tag)
        return None

    def _kernels_answer(self, kind: Codec, head: bytes, numbers: Iterable[int]) -> Tag | None:
        """The kernel's reply among ``numbers``, which is quoted with its request's own octets."""
        partners = {self.checks[n].partner: n for n in numbers if self.checks[n].kind == kind.name}
        asked = kind.quoted(self.keys, [n for n in partners if n is not None], head)
        return Tag(partners[asked.check], asked.shot) if asked else None

    def _fixed_port(
        self, quoted: Packet, numbers: Iterable[int], told: Set[Tag], length: int
    ) -> Reading | None:
        """Only ports were quoted, and both are fixed: the oldest unrefused shot of that check.

        Of several on the same ports, one whose datagrams have the quoted ``length``.
        """
        found: list[Reading] = []
        for number in numbers:
            check = self.checks[number]
            kind = self.codecs[check.kind]
            ports = (check.source_port, check.destination_port)
            if kind.protocol(quoted.family) == quoted.protocol and ports == (
                quoted.source_port,
                quoted.destination_port,
            ):
                reading = _oldest(number, told)
                if reading is not None:
                    found.append(reading)
        fitting = [reading for reading in found if self._length(reading.tag, quoted) == length]
        return next(iter([*fitting, *found]), None)

    def _length(self, tag: Tag, quoted: Packet) -> int:
        """Of a request's UDP datagram, in octets; 0 where it cannot be made."""
        check = self.checks[tag.check]
        ports = quoted.source_port, quoted.destination_port
        path = Path(quoted.family, quoted.source, quoted.destination, *ports)
        try:
            data = self.codecs[check.kind].request(self.keys, tag, path, check.size)
        except WireError:
            return 0
        return UDP_HEADER + len(data)


def _oldest(check: int, told: Set[Tag]) -> Reading | None:
    shots = [tag.shot for tag in told if tag.check == check]
    return Reading(Tag(check, min(shots)), note=ANY_SHOT) if shots else None
