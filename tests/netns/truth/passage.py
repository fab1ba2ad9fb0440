"""One packet's way through the chains of a case, as Linux would take it: sender, gateway, receiver.

Written without a look at the program, of which it imports nothing. What the three connection
trackers hold of a flow goes in with the packet, and comes out changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.netns.truth.rules import (
    ACCEPT,
    FRESH,
    INBOUND,
    OUTBOUND,
    REJECT,
    Case,
    Chain,
    Host,
    Packet,
)

BACK = {INBOUND: OUTBOUND, OUTBOUND: INBOUND}

UNSENT = "unsent"  # the sender's own output chain
LOSS = "loss"  # chance
LOST = "lost"  # dropped at the gateway
COLLIDED = "collided"  # or not by its rules, but by what it holds of a translated flow
REFUSED = "refused"  # rejected at the gateway
HOST_DROPPED = "host-dropped"
HOST_REFUSED = "host-refused"
DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Kind:
    """How long one flow is the same flow to a tracker: one "shot", a "check", or "both" ways."""

    protocol: str
    port: int | None = None
    fixed: bool = False  # leaves from ``port`` as well
    body: str = ""
    flow: str = "shot"


KINDS = {
    "icmp-echo": Kind("icmp", flow="check"),
    "esp": Kind("esp", flow="both"),
    "ah": Kind("ah", flow="both"),
    "ike": Kind("udp", 500, fixed=True, flow="both"),
    "ike any": Kind("udp", 500),
    "ike-nat-t": Kind("udp", 4500, body="ike"),
    "esp-in-udp": Kind("udp", 4500, body="esp"),
    "nat-keepalive": Kind("udp", 4500, body="keepalive"),
    "kerberos-udp": Kind("udp", 88),
    "kerberos-tcp": Kind("tcp", 88),
}

Entry = tuple[str, bool] | None  # which way the first packet went, and was there one back?


@dataclass(frozen=True, slots=True)
class Memory:
    """What the trackers hold of a flow. ``far_nat``, ``near_nat``: for the translated address."""

    gateway: Entry = None
    near: Entry = None
    far: Entry = None
    far_nat: Entry = None
    near_nat: Entry = None


NOTHING = Memory()


@dataclass(frozen=True, slots=True)
class Step:
    fate: str
    memory: Memory
    altered: bool = False  # counts where it arrived
    nameless: bool = False  # arrived from a port that does not tell any more whose it is
    lucky: bool = False  # "random" may draw the very port: 1 in 511 for those below 512
    vague: bool = False  # arrived from an address that nobody told of; it may count as a stranger


def _packet(kind: Kind, reply: bool) -> Packet:
    body = kind.body
    if kind.protocol == "icmp":
        body = "reply" if reply else "request"
    if kind.port is None:
        return Packet(kind.protocol, body=body)
    ports = (kind.port if kind.fixed else FRESH, kind.port)
    return Packet(kind.protocol, *(ports[::-1] if reply else ports), body)


def _look(entry: Entry, way: str, tracks: bool) -> tuple[str, Entry]:
    """(the packet's state, the entry as the packet leaves it, also where it is then dropped)."""
    if not tracks:
        return "none", None
    if entry is None:
        return "new", None
    first, answered = entry
    if way == first:
        return ("established" if answered else "new"), entry
    return "established", (first, True)


def _keep(entry: Entry, way: str, tracks: bool) -> Entry:
    """A packet that got past the last hook is remembered."""
    return (way, False) if tracks and entry is None else entry


def cross(
    case: Case, kind: Kind, memory: Memory, way: str, *, reply: bool = False, later: bool = False
) -> Iterator[Step]:
    """All that can become of one packet. ``later``: a TCP segment behind the handshake."""
    packet = _packet(kind, reply)
    sender, sink = (case.near, case.far) if way == OUTBOUND else (case.far, case.near)
    here, there = ("near", "far") if way == OUTBOUND else ("far", "near")
    hides = case.nat is not None and case.nat.covers(kind.protocol)
    began = case.nat.way if case.nat is not None else OUTBOUND  # what is translated
    translated = hides and memory.gateway is not None and memory.gateway[0] == began
    leaving = packet
    if way != began and reply and translated:
        assert case.nat is not None
        here += "_nat"
        if case.nat.ports and kind.fixed:  # the answer goes to the port that the NAT has drawn
            leaving = replace(packet, destination_port=FRESH)
    # The sender's own firewall.
    action, memory = _host(sender, "output", memory, here, leaving, way)
    if action != ACCEPT:
        yield Step(UNSENT, memory)
        return
    # The gateway.
    collides = translated and way != began and not reply
    state, entry = _look(None if collides else memory.gateway, way, case.stateful)
    memory = replace(memory, gateway=memory.gateway if collides else entry)
    if case.loss.get(way):
        yield Step(LOSS, memory)
    action = case.forward.judge(packet, way, state)
    if action != ACCEPT:
        yield Step(REFUSED if action == REJECT else COLLIDED if collides else LOST, memory)
        return
    if collides:
        yield Step(COLLIDED, memory)
        return
    memory = replace(memory, gateway=_keep(entry, way, case.stateful))
    assert memory.gateway is not None or not hides
    translated = hides and memory.gateway is not None and memory.gateway[0] == began
    altered = nameless = lucky = vague = False
    if translated:
        assert case.nat is not None
        altered = kind.protocol == "ah"  # its check value covers the addresses
        if way == began:
            there += "_nat"
            vague = not case.hidden and (kind.body == "keepalive" or kind.protocol == "tcp")
            if case.nat.ports and kind.port is not None and not reply:
                packet = replace(packet, source_port=FRESH)
                altered |= kind.fixed
                lucky = kind.fixed and case.nat.form == "masquerade random"
                nameless = kind.body == "keepalive" or kind.protocol == "tcp"
    # The receiver's own firewall.
    action, memory = _host(sink, "input", memory, there, packet, way)
    if action == ACCEPT:
        yield Step(DELIVERED, memory, altered, nameless, lucky, vague)
        return
    said = _says_no(sink, way, packet) if action == REJECT else {False}
    if True in said:
        yield Step(HOST_REFUSED, memory, altered, nameless, lucky, vague)
    if case.limited or False in said:
        yield Step(HOST_DROPPED, memory, altered, nameless, lucky, vague)


def _host(
    host: Host | None, hook: str, memory: Memory, place: str, packet: Packet, way: str
) -> tuple[str, Memory]:
    if host is None:
        return ACCEPT, memory
    chain: Chain = getattr(host, hook)
    state, entry = _look(getattr(memory, place), way, host.stateful)
    action = chain.judge(packet, way, state)
    if action == ACCEPT:
        entry = _keep(entry, way, host.stateful)
    return action, replace(memory, **{place: entry})


def _says_no(host: Host | None, way: str, packet: Packet) -> set[bool]:
    """Does the refusal get out of the host's own output chain? ICMP, or where it may be TCP's
    reset, that one or the other.
    """
    if host is None:
        return {True}
    state = "related" if host.stateful else "none"
    told = {host.output.judge(Packet("icmp", body="error"), BACK[way], state) == ACCEPT}
    if packet.protocol == "tcp":
        reset = Packet("tcp", packet.destination_port, packet.source_port)
        states = ("established", "related") if host.stateful else ("none",)
        told |= {host.output.judge(reset, BACK[way], s) == ACCEPT for s in states}
    return told
