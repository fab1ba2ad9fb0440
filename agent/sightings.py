"""What is written down of a packet that was seen, or of a shot on its way out."""

from __future__ import annotations

from agent.errors import WireError
from agent.events import Sent
from agent.model import Check, Event, Flow, Icmp, Side, Sighting, Tag
from agent.recognise import digest
from agent.wire.base import Codec, Packet, Path, Reading
from agent.wire.icmp import IcmpError
from agent.wire.ip import dscp

ON_THE_WIRE = (Event.LEFT, Event.ARRIVED)  # a raw IPv6 socket shows no header


def of_packet(
    side: Side,
    event: Event,
    reading: Reading,
    packet: Packet,
    time: float,
    *,
    stage: str = "",
    kind: Codec | None = None,
    backwards: bool = False,
) -> Sighting:
    """``kind``: given where the packet's own NAT detection is to be read as well.

    ``backwards``: it came in fragments, the last one first.
    """
    return Sighting(
        at=side,
        event=event,
        check=reading.tag.check,
        shot=reading.tag.shot,
        time=time,
        source=packet.source,
        destination=packet.destination,
        source_port=packet.source_port,
        destination_port=packet.destination_port,
        ttl=packet.ttl,
        size=packet.size,
        digest="" if stage else digest(packet.protocol, packet.payload),
        intact=reading.intact,
        stage=stage,
        note=reading.note,
        dscp=dscp(packet.header) if event in ON_THE_WIRE and packet.header else None,
        translated=_translated(kind, packet) if kind is not None else None,
        backwards=backwards,
        says=reading.says,
    )


def of_sent(side: Side, event: Sent, check: Check, kind: Codec) -> Sighting:
    """The kernel took it."""
    body = event.data[20:] if kind.whole_packet(event.path.family) else event.data
    stage = ""
    if kind.stream:
        stage = "syn" if check.flow is Flow.NEW else "answer"
    return of_path(
        side,
        Event.SENT,
        event.tag,
        event.path,
        event.time,
        digest="" if kind.stream else digest(kind.protocol(event.path.family), body),
        stage=stage,
    )


def of_error(side: Side, found: Reading, error: IcmpError, packet: Packet, time: float) -> Sighting:
    """``packet`` is an ICMP error that quotes the shot ``found``."""
    return Sighting(
        at=side,
        event=Event.REFUSED,
        check=found.tag.check,
        shot=found.tag.shot,
        time=time,
        source=packet.source,
        destination=packet.destination,
        ttl=packet.ttl,
        size=packet.size,
        icmp=Icmp(error.type, error.code, error.sender, error.mtu),
        note=found.note,
    )


def of_path(
    side: Side,
    event: Event,
    tag: Tag,
    path: Path,
    time: float,
    *,
    digest: str = "",
    stage: str = "",
    note: str = "",
) -> Sighting:
    """For what a socket told, which shows no IP header."""
    return Sighting(
        at=side,
        event=event,
        check=tag.check,
        shot=tag.shot,
        time=time,
        source=path.source,
        destination=path.destination,
        source_port=path.source_port,
        destination_port=path.destination_port,
        digest=digest,
        stage=stage,
        note=note,
    )


def _translated(kind: Codec, packet: Packet) -> tuple[bool, bool] | None:
    try:
        return kind.translated(packet)
    except WireError:
        return None
