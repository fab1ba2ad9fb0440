"""Both ends' packets as one capture for Wireshark, each with a comment that names its check.

Each packet is as its end's capture saw it; only a checksum that a host left to its interface, as
virtual ones never fill it in, is filled in, and the comment says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from agent.errors import WireError
from agent.model import Check, Event, Flow, Kept, Side
from agent.wire import ip
from agent.wire.base import Packet
from agent.wire.icmp import describe, read_error
from probe.naming import carrier, service
from probe.reel import Reel, ordered
from probe.report.pcapng import Interface, Recorded, write
from probe.result import Conclusion, Host, RunResult

SIDES = (Side.NEAR, Side.FAR)  # interface 0 and 1
FLAGS = {0x01: "FIN", 0x02: "SYN", 0x04: "RST", 0x10: "ACK"}

ABOUT = """\
ipsec-probe {version}: scenario {scenario}, {started}{broken}
near: {near}
far: {far}

A packet that crossed stands here twice: as it left one end, and as it arrived at the other. The \
comments name the check, the shot, and what came of it. Packets of others are left out.

Time stamps are by the clock of the end that the packet's interface is named after. The two \
clocks were never compared: a difference between a stamp of near and one of far is no delay, and \
sorting by time mixes up the order. As they stand, the packets of each end are in the order in \
which it saw them, and an arrival is behind its departure.

Wireshark takes both ends for one: it calls the second copy of a TCP segment a retransmission, and \
that of an ESP packet a sequence number repeated. One end alone, with the display filter \
frame.interface_name == "near" and saved as a file of its own, has none of that."""

CLOCK = (
    "Time stamps are by {side}'s own clock, which was never compared with {other}'s. Captured by "
    "AF_PACKET: on its way in before {side}'s own firewall, on its way out behind it. {count}."
)
NONE = "None of its packets is here"
FILLED = "checksum: left by the host to its interface; filled in here"
UNFILLED = "checksum: left by the host to its interface, and no sum of this packet"


def render(result: RunResult) -> bytes:
    """The whole file."""
    packets = [
        recorded
        for reel in result.reels
        for recorded in _Reel(reel, result.conclusions if not reel.purpose else ()).recorded()
    ]
    counts = Counter(packet.interface for packet in packets)
    hosts = {Side.NEAR: result.near, Side.FAR: result.far}
    started = datetime.fromtimestamp(result.started, UTC).isoformat(timespec="seconds")
    about = ABOUT.format(
        version=result.near.version,
        scenario=result.scenario,
        started=started.replace("+00:00", "Z"),
        broken="" if result.complete else "; the run broke off",
        near=_host(result.near),
        far=_host(result.far),
    )
    interfaces = [
        Interface(
            side,
            _host(hosts[side]),
            CLOCK.format(
                side=side,
                other=SIDES[1 - place],
                count=f"{counts[place]} packets" if counts[place] else NONE,
            ),
        )
        for place, side in enumerate(SIDES)
    ]
    return write(about, f"ipsec-probe {result.near.version}", interfaces, packets)


def _host(host: Host) -> str:
    return f"{host.name} ({host.address})"


class _Reel:
    def __init__(self, reel: Reel, conclusions: tuple[Conclusion, ...]) -> None:
        self._reel = reel
        self._checks = {check.number: check for check in reel.checks}
        self._found: Mapping[int, Conclusion] = {c.check.number: c for c in conclusions}

    def recorded(self) -> Iterator[Recorded]:
        for kept in ordered(self._reel):
            data, told = kept.data, ""
            if kept.unfilled:
                filled = _filled(kept.data)
                data, told = (filled, FILLED) if filled else (kept.data, UNFILLED)
            lines = (self._what(kept), self._outcome(kept), told)
            yield Recorded(
                SIDES.index(kept.at),
                kept.time,
                kept.outgoing,
                data,
                "\n".join(line for line in lines if line),
            )

    def _what(self, kept: Kept) -> str:
        check = self._checks[kept.check]
        name = f"{self._name(check)}, {check.direction} {check.flow}, shot {kept.shot}"
        where = f"{'left' if kept.outgoing else 'arrived at'} {kept.at}"
        again = ", seen again" if kept.again else ""
        return f"{name}: {_thing(kept)}{where}{again}"

    def _name(self, check: Check) -> str:
        request = check
        if check.flow is Flow.REPLY and check.partner is not None:
            request = self._checks[check.partner]
        found = self._found.get(request.number)
        title = (found.label if found else "") or service(check.kind).title
        means = carrier(request)
        return title if means in ("", title) else f"{title}, {means}"

    def _outcome(self, kept: Kept) -> str:
        if self._reel.purpose:
            return self._reel.purpose
        found = self._found.get(kept.check)
        if found is None:
            return ""
        expected = "" if found.expected == "pass" else f" (expected: {found.expected})"
        return f"outcome: {found.outcome}{expected}" + (f": {found.cause}" if found.cause else "")


def _thing(kept: Kept) -> str:
    """What the packet is, where it is not simply the shot; ends in a blank."""
    packet = _parsed(kept.data)
    if kept.event is Event.REFUSED:
        return f"refused by {_refusal(packet)}, which "
    if kept.event is Event.REPLIED:
        return "the answer of a program that is not ours "
    if packet is not None and ip.is_fragment(packet):
        if ip.is_later_fragment(packet):
            return "a later fragment " if kept.event is None else "its last missing fragment "
        return "its first fragment "
    if packet is not None and packet.protocol == ip.TCP:
        flags = ", ".join(name for bit, name in FLAGS.items() if packet.tcp_flags & bit)
        stage = {"syn": "SYN", "syn-ack": "SYN-ACK"}.get(kept.stage, kept.stage)
        return f"{stage} " if stage and kept.event else f"a segment ({flags}) "
    return ""


def _refusal(packet: Packet | None) -> str:
    if packet is None:
        return "a malformed packet"
    if packet.protocol == ip.TCP:
        return f"a TCP reset of {packet.source}"
    try:
        error = read_error(packet)
    except WireError:
        error = None
    if error is None:
        return packet.source
    return f"{packet.source}: {describe(error.family, error.type, error.code)}"


def _parsed(data: bytes) -> Packet | None:
    try:
        return ip.parse(data)
    except WireError:
        return None


def _filled(data: bytes) -> bytes | None:
    """With the right checksum of UDP or TCP; None where the packet has not all it covers."""
    packet = _parsed(data)
    if packet is None or ip.is_fragment(packet):
        return None
    return ip.with_checksum(packet, data)
