"""The endpoint's mind, without sockets and without a clock.

Events go in, actions come out: ``handle(event, now) -> actions``, and ``deadline()`` says when
``handle(Tick(), now)`` wants to be called next. The shell that owns sockets and clock executes the
actions; a test joins two engines over a fake link instead.

A sighting is itself an action: the shell passes it on to whoever conducts the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agent import sightings
from agent.album import Album
from agent.answers import Answers, way_back
from agent.crossed import Crossed
from agent.errors import WireError
from agent.events import (
    Action,
    Answered,
    AnswerLate,
    Captured,
    Connect,
    Connected,
    Control,
    FireVolleys,
    Input,
    Piece,
    Received,
    Requested,
    Sent,
    Tick,
    Transmit,
    Write,
)
from agent.limits import CONNECTION, HEADERS, Bucket, octets, sizes
from agent.model import TAKEN, Check, Event, Flow, Side, Sighting, Tag, Volley
from agent.recognise import FOREIGN, ICMP_PROTOCOLS, TCP, Recogniser
from agent.timetable import Timetable
from agent.unclaimed import Unclaimed
from agent.wire import ip
from agent.wire.base import Codec, Keys, Packet, Path, Reading
from agent.wire.icmp import IcmpError, is_housekeeping, whole_error

OVER = "more than the agent's limits allow"


class Engine:
    """One run at one endpoint. ``local`` and ``peer`` are this host's and the other's address.

    ``bucket``: what this end may send; None for as much as is ordered. ``others``: whether another
    run at this endpoint is with the host of that address. ``peer_own``: the address that the peer
    has on its own interface, where ``peer`` is translated. ``keep``: the packets as well, see
    :mod:`agent.album`.
    """

    def __init__(
        self,
        side: Side,
        keys: Keys,
        checks: Iterable[Check],
        local: str,
        peer: str,
        bucket: Bucket | None = None,
        others: Callable[[str], bool] = lambda _address: False,
        peer_own: str = "",
        *,
        keep: bool = False,
    ) -> None:
        self.side = side
        self.keys = keys
        self.local, self.peer = local, peer
        self._bucket = bucket
        self.remote = peer.partition("%")[0]  # as packets have it, which know no zones
        self._known = known = Recogniser(side, keys, checks, self.remote, others)
        self.checks, self.codecs = known.checks, known.codecs
        self.originates = known.originates
        self.own_port, self.peer_port = known.own_port, known.peer_port
        self.album = Album(side, keep, known.by_port)
        self.duplicates = 0  # shots seen more than once at one point
        self._strangers = 0
        self.crossed = Crossed(known, local, peer)
        self.live = self.crossed.live
        self.nameless: set[int] = set()
        self._due = Timetable()
        self.answers = Answers(
            keys, self.checks, self.codecs, local, self.remote, peer_own.partition("%")[0]
        )
        self._seen: set[tuple[Tag, Event, str]] = set()
        self._known_as: Sighting | None = None  # the packet at hand, also when seen again
        self._served: set[int] = set()
        self._unclaimed = Unclaimed()

    # -- what the shell asks ---------------------------------------------------------------

    def fresh_ports_needed(self, volleys: Iterable[Volley]) -> list[tuple[Tag, Codec]]:
        """The shots of ``volleys`` that want a source port of their own."""
        needed: list[tuple[Tag, Codec]] = []
        for volley in volleys:
            check = self.checks[volley.check]
            if check.destination_port is None or check.source_port is not None:
                continue
            kind = self.codecs[check.kind]
            shots = range(volley.first, volley.first + volley.count)
            needed += [(Tag(check.number, shot), kind) for shot in shots]
        return needed

    @property
    def strangers(self) -> int:
        """Packets that came in and are not of this run, or malformed."""
        return self._strangers + self._unclaimed.count

    def check_room(self, volleys: Sequence[Volley], gap: float, now: float) -> None:
        """OverLimit for an order of more than this end may send, a shot every ``gap`` seconds."""
        if self._bucket is None:
            return
        start = max(now, self._due.last() or now)
        shots = sizes(volleys, self.checks)
        before = [octets(self.checks[tag.check]) for tag in self._due.waiting()]
        seconds = start - now + max(0, len(shots) - 1) * gap
        self._bucket.check_order(shots, before, seconds, now)

    def deadline(self) -> float | None:
        return self._due.next()

    def stop(self) -> None:
        """Sends nothing more."""
        self._due.clear()

    def handle(self, event: Input, now: float) -> list[Action]:
        match event:
            case Captured():
                return self._shown(event, self._captured)
            case Piece():
                return [*self.album.piece(event)]
            case Control(packet, outgoing):
                return self.crossed.control(packet, outgoing)
            case Received():
                return self._received(event, now)
            case Tick():
                return self._tick(now)
            case FireVolleys():
                self._due.add(event.volleys, event.gap, now)
                return self._tick(now)
            case AnswerLate(late, gap):
                self.answers.order(late)
                volley = Volley(late.check, late.first, late.count)
                return self.handle(FireVolleys([volley], gap), now)
            case Sent():
                return self._sent(event)
            case Connected():
                return self._connected(event)
            case Answered():
                return self._answered(event)
            case Requested():
                return self._requested(event, now)

    # -- sending ---------------------------------------------------------------------------

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while (shot := self._due.pop(now)) is not None:
            tag, ttl = shot
            check = self.checks[tag.check]
            if check.flow is Flow.REPLY:
                actions += self._answer_late(tag, now)
                continue
            source_port = check.source_port
            if source_port is None and check.destination_port is not None:
                source_port = self._known.port_of(tag)
                if source_port is None:
                    path = Path(check.family, self.local, self.peer, None, check.destination_port)
                    actions.append(self._unsent(tag, path, "no free source port", now))
                    continue
            path = Path(check.family, self.local, self.peer, source_port, check.destination_port)
            kind = self.codecs[check.kind]
            try:
                data = kind.request(self.keys, tag, path, check.size)
            except WireError as error:  # a size that this kind cannot have
                actions.append(self._unsent(tag, path, str(error), now))
                continue
            if not self._may_send(kind, path, data, now):
                actions.append(self._unsent(tag, path, OVER, now))
                continue
            actions.append(
                Connect(tag, path, data, ttl)
                if kind.stream
                else Transmit(tag, kind, path, data, ttl, check.fragmenting)
            )
        return actions

    def _may_send(self, kind: Codec, path: Path, data: bytes, now: float) -> bool:
        if self._bucket is None:
            return True
        headers = HEADERS[path.family] + 8 if not kind.whole_packet(path.family) else 0
        return self._bucket.take(len(data) + (CONNECTION if kind.stream else headers), now)

    def _unsent(self, tag: Tag, path: Path, reason: str, time: float) -> Sighting:
        return self._along(path, tag, Event.UNSENT, time, note=reason)

    def _sent(self, event: Sent) -> list[Action]:
        if event.error:
            return [self._unsent(event.tag, event.path, event.error, event.time)]
        check = self.checks[event.tag.check]
        return self._once(sightings.of_sent(self.side, event, check, self.codecs[check.kind]))

    def _answer(self, tag: Tag, packet: Packet, now: float) -> list[Action]:
        """The reply to a request that was delivered. One for each shot, whatever comes again."""
        reply = self.answers.due(tag)
        denied = self.answers.denied(packet)
        if denied:
            return self._once(self._unsent(reply, way_back(packet), denied, now)) if reply else []
        self.answers.keep(tag, packet)
        return self._reply(reply, packet, now) if reply else []

    def _answer_late(self, reply: Tag, now: float) -> list[Action]:
        packet = self.answers.ordered(reply)
        if packet is not None:
            return self._reply(reply, packet, now)
        path = Path(self.checks[reply.check].family, self.local, self.peer)
        return [self._unsent(reply, path, "that request was not delivered here", now)]

    def _reply(self, reply: Tag, packet: Packet, now: float) -> list[Action]:
        answer = self.answers.answer(reply, packet)
        if answer is None:
            return []
        if not self._may_send(answer.codec, answer.path, answer.data, now):
            return [self._unsent(reply, answer.path, OVER, now)]
        return [answer]

    # -- seeing ----------------------------------------------------------------------------

    def _shown(self, event: Captured, look: Callable[[Captured], list[Action]]) -> list[Action]:
        self._known_as = None
        actions = look(event)
        return [*actions, *self.album.keep(event, self._known_as, again=not actions)]

    def _captured(self, event: Captured) -> list[Action]:
        packet = event.packet
        if packet.protocol == TCP:
            return self._tcp(event)
        if packet.protocol in ICMP_PROTOCOLS:
            error = whole_error(packet)
            if error is not None:
                return self._refusal(error, event)
        where = Event.LEFT if event.outgoing else Event.ARRIVED
        if event.fragment:
            tag = self._known.first_fragment(packet, event.outgoing)
            return self._note(Reading(tag), packet, where, event.time, "fragment") if tag else []
        reading = self._known.read(packet, event.outgoing)
        begins = reading is None and self._known.first_fragment(packet, event.outgoing) is not None
        if begins and not event.outgoing:
            reading = self._known.damaged(packet)
        if reading is None:
            answer = self._known.answer_of_others(packet, event.outgoing) if begins else None
            if answer is not None:
                said = self._known.heard(answer, packet.payload)
                self._strangers += not said.says
                return self._note(said, packet, Event.REPLIED, event.time)
            self._stranger(packet, event.outgoing)
            return []
        return self._note(reading, packet, where, event.time, backwards=event.backwards)

    def _received(self, event: Received, now: float) -> list[Action]:
        packet = event.packet
        if packet.protocol == TCP:
            # Where another program holds the port. Answers are told of by our own connections.
            found = self._known.tcp_place(packet, outgoing=False)
            if found is None or self.checks[found[0].check].flow is Flow.REPLY:
                return []
            tag, stage = found
            return self._note(Reading(tag), packet, Event.DELIVERED, event.time, stage)
        reading = self._known.read(packet, outgoing=False)
        if reading is None:
            answer = self._known.answer_of_others(packet, outgoing=False)
            if answer is None:
                return []  # the capture has counted it
            reading = self._known.heard(answer, packet.payload)
            return self._note(reading, packet, Event.REPLIED, event.time, TAKEN)
        actions = self._note(reading, packet, Event.DELIVERED, event.time)
        return actions + self._answer(reading.tag, packet, now)

    def _note(
        self,
        reading: Reading,
        packet: Packet,
        event: Event,
        time: float,
        stage: str = "",
        *,
        backwards: bool = False,
    ) -> list[Action]:
        arrived = event is Event.ARRIVED and not stage
        return self._once(
            sightings.of_packet(
                self.side,
                event,
                reading,
                packet,
                time,
                stage=stage,
                kind=self._known.kind(reading.tag) if arrived else None,
                backwards=backwards,
            )
        )

    def _along(self, path: Path, tag: Tag, event: Event, time: float, **more: str) -> Sighting:
        return sightings.of_path(self.side, event, tag, path, time, **more)

    def _once(self, sighting: Sighting) -> list[Action]:
        self._known_as = sighting
        stage = sighting.stage + "!" * bool(sighting.says)  # garbage hides no answer behind it
        key = (Tag(sighting.check, sighting.shot), sighting.event, stage)
        if key in self._seen:
            self.duplicates += 1
            return []
        self._seen.add(key)
        return [sighting]

    def _stranger(self, packet: Packet, outgoing: bool) -> None:
        """Not ours. Between the same two hosts it may have opened the way for a check."""
        if not outgoing:
            self._strangers += not is_housekeeping(packet)
            self.nameless.update(self._known.nameless(packet))
        self.crossed.stranger(packet, outgoing)

    # -- ICMP errors -----------------------------------------------------------------------

    def _refusal(self, error: IcmpError, event: Captured) -> list[Action]:
        """An ICMP error that quotes a shot of ours, or (going out) one of the other end's."""
        told = {tag for tag, where, _ in self._seen if where is Event.SENT}
        told -= {tag for tag, where, _ in self._seen if where is Event.REFUSED}
        found = self._known.quoted(error, not event.outgoing, told)
        if found is None:
            self._strangers += not event.outgoing
            return []
        return self._once(sightings.of_error(self.side, found, error, event.packet, event.time))

    # -- TCP -------------------------------------------------------------------------------

    def _tcp(self, event: Captured) -> list[Action]:
        packet = event.packet
        found = self._known.tcp_place(packet, event.outgoing)
        if found is None:
            if self._known.by_port(packet, event.outgoing) is None:
                self._unclaimed_tcp(event)
            return []
        tag, stage = found
        if stage != "rst":
            where = Event.LEFT if event.outgoing else Event.ARRIVED
            return self._note(Reading(tag), packet, where, event.time, stage)
        # A reset by the end that was asked refuses the request. One that comes from the asking end
        # refuses the answer, if that never got there; else that end gives up on a connection.
        check = self.checks[tag.check]
        if check.partner is None or (check.flow is Flow.NEW and event.outgoing):
            return []
        return self._note(
            Reading(Tag(check.partner, tag.shot)), packet, Event.REFUSED, event.time, "rst"
        )

    def _unclaimed_tcp(self, event: Captured) -> None:
        """A segment from a port that nobody announced: a NAT may have given it that port."""
        packet = event.packet
        served = {c.destination_port for c in self.checks.values()}
        if event.outgoing or packet.destination_port not in served:
            return
        if self._known.is_others(packet.source):
            return
        if self._known.is_peers(packet.source):
            self.nameless.update(self._known.nameless(packet))
        self._unclaimed.hold(event)

    def _connected(self, event: Connected) -> list[Action]:
        tag = event.tag
        check = self.checks[tag.check]
        path = self._own_path(tag)
        if event.error:
            if event.error in ("ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"):
                return []  # the capture saw who refused; silence is silence
            return [self._unsent(tag, path, event.error, event.time)]
        if check.partner is None:
            return []
        reply = Tag(check.partner, tag.shot)
        return self._once(
            self._along(path.back(), reply, Event.DELIVERED, event.time, stage="syn-ack")
        )

    def _own_path(self, tag: Tag) -> Path:
        check = self.checks[tag.check]
        port = self._known.port_of(tag)
        return Path(check.family, self.local, self.peer, port, check.destination_port)

    def _answered(self, event: Answered) -> list[Action]:
        check = self.checks[event.tag.check]
        if check.partner is None or not event.stream:
            return []
        kind = self.codecs[check.kind]
        length = kind.message_length(event.stream)
        if length is None or length > len(event.stream):
            return []
        packet = ip.on_stream(self._own_path(event.tag).back(), event.stream[:length])
        reply = Tag(check.partner, event.tag.shot)
        ours = self._stream_read(kind, packet)
        foreign = ours is None or ours.tag != reply
        said = self._known.heard(reply, packet.payload, FOREIGN) if foreign else Reading(reply)
        return self._note(said, packet, Event.DELIVERED, event.time, "answer")

    def _requested(self, event: Requested, now: float) -> list[Action]:
        if event.connection in self._served:
            return []
        for kind in self.codecs.values():
            if not kind.stream or kind.port != event.path.destination_port:
                continue
            length = kind.message_length(event.stream)
            if length is None or length > len(event.stream):
                continue
            packet = ip.on_stream(event.path, event.stream[:length])
            reading = self._stream_read(kind, packet)
            check = self.checks.get(reading.tag.check) if reading else None
            if reading is None or check is None or self.originates(check):
                continue
            self._served.add(event.connection)
            actions = self._claim(reading.tag, event)
            actions += self._note(reading, packet, Event.DELIVERED, event.time, "request")
            for answer in self._answer(reading.tag, packet, now):
                if isinstance(answer, Transmit):  # on the connection that is there
                    actions.append(Write(event.connection, answer.tag, answer.path, answer.data))
                else:
                    actions.append(answer)
            return actions
        return []

    def _claim(self, tag: Tag, event: Requested) -> list[Action]:
        """The request names its shot: segments seen from the same port were its own."""
        port = event.path.source_port
        if port is None or not self._known.claim(tag, event.path.source, port):
            return []
        actions: list[Action] = []
        for earlier in self._unclaimed.claim(event.path.source, port):
            actions += self._shown(earlier, self._tcp)
        return actions

    def _stream_read(self, kind: Codec, packet: Packet) -> Reading | None:
        try:
            return kind.read(self.keys, packet)
        except WireError:
            self._strangers += 1
            return None
