"""A box inside a real packet of one of our kinds, and out again. No socket, no key.

Where the box rides: ESP's ciphertext (the marker is the SPI, RFC 4303); AH's datagram inside, as a
shot has it (the marker is the SPI, RFC 4302); a ping's data; Kerberos padata of our private type;
IKE's Vendor ID in an IKE_SA_INIT, which who does not know it must ignore (RFC 7296, 3.12). Only the
first packet of a flow is one of those: an IKE daemon that sees many of them blocks their sender.
The others are INFORMATIONAL exchanges with an Encrypted payload, which a daemon that does not know
their SPIs drops without a word (2.21.4).

Kerberos on TCP is a stream: near knocks, by a SYN that holds the whole message, and then connects
(:mod:`agent.linux.streams`). ``nat-keepalive`` has one octet, and carries nothing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from agent.errors import WireError
from agent.inband.box import MARKER, SMALLEST, turned
from agent.wire import der, ip
from agent.wire.ah import DISCARD
from agent.wire.ah import LENGTH as AH_LENGTH
from agent.wire.base import TAG_LENGTH, Packet, Path
from agent.wire.icmp import PROTOCOL as ICMP_PROTOCOL
from agent.wire.icmp import REPLY, REQUEST, whole_error
from agent.wire.ike import VENDOR_ID, natd
from agent.wire.isakmp import HEADER_LENGTH, RESPONSE, SA_INIT, SK, VERSION
from agent.wire.kerberos import AS_REQ, KRB_ERROR, LENGTH_OCTETS
from agent.wire.natt import NON_ESP_MARKER
from agent.wire.templates import templates

PORTS = {"kerberos-udp": 88, "kerberos-tcp": 88, "ike": 500, "ike-nat-t": 4500, "esp-in-udp": 4500}
KINDS = ("esp-in-udp", "ike-nat-t", "ike", "icmp-echo", "kerberos-udp", "ah", "esp", "kerberos-tcp")

INFORMATIONAL, INITIATOR = 37, 0x08
SYN = 0x02
AH_ICV = 16
MOST_MARKERS = 40  # in one kernel filter: two for each key

_IKE = struct.Struct("!8s8sBBBBII")
_AH = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True)
class Ridden:
    """What carried a box. ``path``: as its sender sees it; in a ping the source port is the
    identifier, in AH the ports are those inside. ``echo``: what an answer repeats of it.
    """

    kind: str
    reply: bool
    path: Path
    echo: bytes = b""


# -- in --------------------------------------------------------------------------------------------


def counted_by(ridden: Ridden) -> object:
    """Whose packets are numbered in a row: ESP's and AH's towards a host, or else a flow's."""
    path = ridden.path
    if ridden.kind in ("esp", "esp-in-udp"):
        return "esp", path.destination
    return ridden.kind, path.destination if ridden.kind == "ah" else path


def wrap(ridden: Ridden, box: bytes, number: int) -> bytes:
    """What follows the IP header. ``number``, from 0: of the packet, see :func:`counted_by`."""
    path = ridden.path
    match ridden.kind:
        case "esp":
            return _esp(box, number)
        case "ah":
            return _ah(path, box, number)
        case "icmp-echo":
            return _ping(ridden, box, number)
        case "esp-in-udp":
            return ip.udp(path, _esp(box, number))
        case "ike":
            return ip.udp(path, _ike(ridden, box, number))
        case "ike-nat-t":
            return ip.udp(path, NON_ESP_MARKER + _ike(ridden, box, number))
        case "kerberos-tcp":
            return _syn(path, message(box, ridden.reply))
        case _:
            return ip.udp(path, _kerberos(box, ridden.reply))


def _esp(box: bytes, number: int) -> bytes:
    return box[:MARKER] + (number + 1).to_bytes(4, "big") + box[MARKER:]


def _ah(path: Path, box: bytes, number: int) -> bytes:
    inside = ip.udp(path, box[MARKER:])
    index = int.from_bytes(box[:MARKER], "big")
    length = AH_LENGTH[path.family]
    header = _AH.pack(ip.UDP, length // 4 - 2, 0, index, number + 1)
    # Nobody on the way can check it, and the box inside has an authentication of its own.
    icv = hashlib.blake2s(box, digest_size=AH_ICV).digest()
    return (header + icv).ljust(length, b"\0") + inside


def _ping(ridden: Ridden, box: bytes, number: int) -> bytes:
    path = ridden.path
    type = (REPLY if ridden.reply else REQUEST)[path.family]
    identity = ridden.echo or struct.pack("!HH", path.source_port or 0, number + 1 & 0xFFFF)
    blank = bytes((type, 0, 0, 0)) + identity + box
    covered = blank
    if path.family == 6:
        covered = ip.pseudo_header(path, ip.ICMPV6, len(blank)) + blank
    return blank[:2] + ip.checksum(covered).to_bytes(2, "big") + blank[4:]


def _ike(ridden: Ridden, box: bytes, number: int) -> bytes:
    if ridden.reply:
        # An answer repeats the initiator SPI, and with it the marker of who asked.
        spi, exchange = turned(box[:MARKER]) + ridden.echo[MARKER:8], ridden.echo[8]
    else:
        spi = box[:MARKER] + hashlib.blake2s(repr(ridden.path).encode(), digest_size=4).digest()
        exchange = INFORMATIONAL if number else SA_INIT
    if exchange == SA_INIT:
        return _ike_init(ridden, spi, box[MARKER:])
    flags = RESPONSE if ridden.reply else INITIATOR
    length = HEADER_LENGTH + len(box)  # the payload's own header is as long as the marker
    header = _IKE.pack(
        spi, hashlib.blake2s(spi, digest_size=8).digest(), SK, VERSION, exchange, flags, number + 1,
        length,
    )  # fmt: skip
    return header + struct.pack("!BBH", 0, 0, len(box)) + box[MARKER:]


def _ike_init(ridden: Ridden, spi: bytes, body: bytes) -> bytes:
    template = templates()["ike-response" if ridden.reply else "ike-request"]
    at = template.fields["seal"]
    message = bytearray(template.data[:at] + body)
    message[:8] = spi
    message[24:HEADER_LENGTH] = len(message).to_bytes(4, "big")
    vendor = at - len(VENDOR_ID) - 2
    message[vendor : vendor + 2] = (4 + len(VENDOR_ID) + len(body)).to_bytes(2, "big")
    if not ridden.reply:
        path, spis = ridden.path, spi + bytes(8)
        found = {
            "nonce": hashlib.blake2s(body).digest(),
            "natd_source": natd(spis, path.source, path.source_port or 0),
            "natd_destination": natd(spis, path.destination, path.destination_port or 0),
        }
        for name, octets in found.items():
            field = template.fields[name]
            message[field : field + len(octets)] = octets
    return bytes(message)


def _kerberos(box: bytes, reply: bool) -> bytes:
    data, at = _padata("krb-error" if reply else "as-req", len(box))
    return data[:at] + box + data[at + len(box) :]


@lru_cache(maxsize=64)
def _padata(name: str, length: int) -> tuple[bytes, int]:
    """A message with ``length`` octets of padata, and where they begin."""
    template = templates()[name]
    at = template.fields["seal"]
    holder = template.data[at : at + TAG_LENGTH]
    data = der.grown(template.data, at, bytes(length - TAG_LENGTH))
    return data, data.index(holder)


def _syn(path: Path, payload: bytes) -> bytes:
    """A first segment that brings octets along (RFC 9293, 3.5)."""
    number = hashlib.blake2s(payload, digest_size=4).digest()
    ports = struct.pack("!HH", path.source_port or 0, path.destination_port or 0)
    blank = ports + number + struct.pack("!IBBHHH", 0, 0x50, SYN, 65_535, 0, 0) + payload
    total = ip.checksum(ip.pseudo_header(path, ip.TCP, len(blank)) + blank)
    return blank[:16] + total.to_bytes(2, "big") + blank[18:]


def message(box: bytes, reply: bool) -> bytes:
    """For a stream: four octets of length in front (RFC 4120, 7.2.2)."""
    body = _kerberos(box, reply)
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


# -- out -------------------------------------------------------------------------------------------


def unwrap(packet: Packet, markers: Collection[bytes]) -> tuple[Ridden, bytes] | None:
    """What rode in a packet, if it begins with one of ``markers``. Never raises."""
    try:
        found = _unwrap(packet)
    except (WireError, struct.error, IndexError):
        return None
    if found is None or found[1][:MARKER] not in markers or len(found[1]) < SMALLEST:
        return None
    return found


def _unwrap(packet: Packet) -> tuple[Ridden, bytes] | None:
    data = packet.payload
    ends = packet.family, packet.source, packet.destination
    match packet.protocol:
        case ip.ESP:
            return Ridden("esp", False, Path(*ends)), data[:MARKER] + data[8:]
        case ip.AH:
            length = AH_LENGTH[packet.family]
            ports = struct.unpack_from("!HH", data, length)
            box = data[4 : 4 + MARKER] + data[length + ip.UDP_HEADER_LENGTH :]
            return Ridden("ah", ports[0] == DISCARD, Path(*ends, *ports)), box
        case ip.UDP:
            return _unwrap_udp(packet, Path(*ends, packet.source_port, packet.destination_port))
        case ip.TCP:
            path = Path(*ends, packet.source_port, packet.destination_port)
            if packet.tcp_flags != SYN or path.destination_port != PORTS["kerberos-tcp"]:
                return None
            inside = unwrap_message(data)
            return None if inside is None else (Ridden("kerberos-tcp", False, path), inside)
        case protocol if protocol == ICMP_PROTOCOL[packet.family]:
            if data[0] not in (REQUEST[packet.family], REPLY[packet.family]):
                return None
            reply = data[0] == REPLY[packet.family]
            path = Path(*ends, int.from_bytes(data[4:6], "big"))
            return Ridden("icmp-echo", reply, path, data[4:8]), data[8:]
        case _:
            return None


def _unwrap_udp(packet: Packet, path: Path) -> tuple[Ridden, bytes] | None:
    data, ports = packet.payload, (path.source_port, path.destination_port)
    if PORTS["kerberos-udp"] in ports and data[:1] in (b"\x6a", b"\x7e"):
        return _unwrap_kerberos(data, path)
    if PORTS["ike"] in ports:
        return _unwrap_ike("ike", data, path)
    if PORTS["ike-nat-t"] in ports:
        if data.startswith(NON_ESP_MARKER):
            return _unwrap_ike("ike-nat-t", data[4:], path)
        # ESP has no word for "reply": who spoke from a port that is not 4500 began.
        reply = path.destination_port != PORTS["esp-in-udp"]
        return Ridden("esp-in-udp", reply, path), data[:MARKER] + data[8:]
    return None


def _unwrap_ike(kind: str, message: bytes, path: Path) -> tuple[Ridden, bytes] | None:
    spi, _, _, version, exchange, flags, _, length = _IKE.unpack_from(message)
    if version != VERSION or length != len(message):
        return None
    reply = bool(flags & RESPONSE)
    ridden = Ridden(kind, reply, path, spi + bytes((exchange,)))
    marker = turned(spi[:MARKER]) if reply else spi[:MARKER]
    if exchange == INFORMATIONAL:
        return ridden, marker + message[HEADER_LENGTH + 4 :]
    at = templates()["ike-response" if reply else "ike-request"].fields["seal"]
    if exchange != SA_INIT or message[at - len(VENDOR_ID) : at] != VENDOR_ID:
        return None
    return ridden, marker + message[at:]


def _unwrap_kerberos(data: bytes, path: Path) -> tuple[Ridden, bytes] | None:
    at = kerberos_places()[data[0]]
    box = data[at : at + int.from_bytes(data[at - 2 : at], "big")]
    return Ridden("kerberos-udp", data[0] == KRB_ERROR, path), box


def message_length(stream: bytes) -> int | None:
    """Octets of the first message in ``stream``; None while it is not there whole."""
    length = LENGTH_OCTETS + int.from_bytes(stream[:LENGTH_OCTETS], "big")
    return length if len(stream) >= LENGTH_OCTETS and length <= len(stream) else None


def unwrap_message(data: bytes) -> bytes | None:
    """The box in one message of a stream; None in any other message."""
    body = data[LENGTH_OCTETS:]
    if body[:1] not in (b"\x6a", b"\x7e") or message_length(data) != len(data):
        return None
    at = kerberos_places()[body[0]]
    box = body[at : at + int.from_bytes(body[at - 2 : at], "big")]
    return box if len(box) >= SMALLEST else None


@lru_cache(maxsize=1)
def kerberos_places() -> dict[int, int]:
    """First octet of a message → where the box begins in it: boxes are long enough for lengths of
    two octets each, so that it is always the same place.
    """
    return {AS_REQ: _padata("as-req", SMALLEST)[1], KRB_ERROR: _padata("krb-error", SMALLEST)[1]}


def places() -> dict[int, tuple[int, ...]]:
    """Protocol → the octets behind the IP header where a marker may stand: for a kernel filter."""
    kerberos = tuple(ip.UDP_HEADER_LENGTH + at for at in sorted(kerberos_places().values()))
    ping = (8,)
    return {
        ip.ESP: (0,),
        ip.AH: (4,),
        ip.ICMP: ping,
        ip.ICMPV6: ping,
        ip.TCP: (ip.TCP_HEADER_LENGTH + LENGTH_OCTETS + kerberos_places()[AS_REQ],),
        ip.UDP: (ip.UDP_HEADER_LENGTH, ip.UDP_HEADER_LENGTH + len(NON_ESP_MARKER), *kerberos),
    }


def is_marked(packet: Packet, markers: Collection[bytes]) -> bool:
    """A control packet; or an ICMP error about one, as far as it quotes the marker."""
    if unwrap(packet, markers) is not None:
        return True
    error = whole_error(packet)
    if error is None:
        return False
    at = places().get(error.protocol, ())
    return any(error.head[place : place + MARKER] in markers for place in at)
