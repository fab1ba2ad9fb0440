"""IPv4 and IPv6 headers, and the UDP and TCP headers behind them (RFC 791, 8200, 768, 9293)."""

from __future__ import annotations

import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from agent.errors import WireError
from agent.wire.base import Packet, Path

ICMP, TCP, UDP, ESP, AH, ICMPV6 = 1, 6, 17, 50, 51, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))  # walked over

HEADER_LENGTH = {4: 20, 6: 40}  # without options or extension headers
UDP_HEADER_LENGTH = 8
TCP_HEADER_LENGTH = 20
LARGEST = 65_535

_V4 = struct.Struct("!BBHHHBBH4s4s")
_V6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")


def parse(data: bytes) -> Packet:
    """The packet that begins ``data``; what follows its IP length (link padding) is ignored.

    IPv6 extension headers are walked over, up to and not including ESP and AH: ``protocol`` is
    what comes behind them, and they are part of ``header``. ``size`` is the whole IP packet.

    A first fragment is read as far as it goes. A later one has ``protocol`` and ``payload`` but no
    ports; :func:`is_fragment` tells either from a whole packet. WireError for anything malformed.
    """
    if not data:
        raise WireError("an empty packet")
    version = data[0] >> 4
    if version == 4:
        return _parse4(data)
    if version == 6:
        return _parse6(data)
    raise WireError(f"IP version {version}")


def _parse4(data: bytes) -> Packet:
    if len(data) < 20:
        raise WireError("an IPv4 header breaks off")
    first, _, size, _, fragment, ttl, protocol, _, source, destination = _V4.unpack_from(data)
    start = (first & 15) * 4
    if start < 20 or size < start:
        raise WireError("an IPv4 header with impossible lengths")
    if size > len(data):
        raise WireError(f"an IPv4 packet of {size} octets breaks off after {len(data)}")
    return _transport(
        data[:start],
        data[start:size],
        protocol,
        (inet_ntop(AF_INET, source), inet_ntop(AF_INET, destination)),
        ttl,
        size,
        (fragment & 0x1FFF, bool(fragment & 0x2000)),
    )


def _parse6(data: bytes) -> Packet:
    if len(data) < 40:
        raise WireError("an IPv6 header breaks off")
    _, length, protocol, ttl, source, destination = _V6.unpack_from(data)
    size = 40 + length
    if size > len(data):
        raise WireError(f"an IPv6 packet of {size} octets breaks off after {len(data)}")
    start, fragment = 40, (0, False)
    if protocol in EXTENSIONS:
        protocol, start, fragment = _walk(data[:size], protocol)
    return _transport(
        data[:start],
        data[start:size],
        protocol,
        (inet_ntop(AF_INET6, source), inet_ntop(AF_INET6, destination)),
        ttl,
        size,
        fragment,
    )


def _walk(data: bytes, protocol: int) -> tuple[int, int, tuple[int, bool]]:
    """Over the extension headers: (protocol behind them, where it begins, (offset, more))."""
    at, fragment = 40, (0, False)
    while protocol in EXTENSIONS:
        if at + 8 > len(data):
            raise WireError("an IPv6 extension header breaks off")
        step = 8 if protocol == FRAGMENT else 8 + 8 * data[at + 1]
        if protocol == FRAGMENT:
            word = int.from_bytes(data[at + 2 : at + 4], "big")
            fragment = (word >> 3, bool(word & 1))
        protocol, at = data[at], at + step
        if at > len(data):
            raise WireError("an IPv6 extension header breaks off")
        if fragment[0]:
            break  # what follows is the middle of something
    return protocol, at, fragment


def _transport(
    header: bytes,
    body: bytes,
    protocol: int,
    ends: tuple[str, str],
    ttl: int,
    size: int,
    fragment: tuple[int, bool],
) -> Packet:
    family = header[0] >> 4
    source, destination = ends
    offset, more = fragment
    if offset or protocol not in (TCP, UDP):
        return Packet(family, protocol, source, destination, body, None, None, ttl, size, header)
    flags = 0
    if protocol == UDP:
        if len(body) < UDP_HEADER_LENGTH:
            raise WireError("a UDP header breaks off")
        source_port, destination_port, end, _ = _UDP.unpack_from(body)
        if end < UDP_HEADER_LENGTH or (end > len(body) and not more):
            raise WireError("a UDP datagram longer than its packet")
        payload = body[UDP_HEADER_LENGTH:end]
    else:
        if len(body) < TCP_HEADER_LENGTH:
            raise WireError("a TCP header breaks off")
        start = (body[12] >> 4) * 4
        if not TCP_HEADER_LENGTH <= start <= len(body):
            raise WireError("a TCP header with an impossible length")
        source_port, destination_port, _, _ = _UDP.unpack_from(body)
        flags, payload = body[13], body[start:]
    return Packet(
        family,
        protocol,
        source,
        destination,
        payload,
        source_port,
        destination_port,
        ttl,
        size,
        header,
        flags,
    )


def on_stream(path: Path, message: bytes) -> Packet:
    """A message that a TCP stream carried along ``path``, as a packet of its own."""
    ports = path.source_port, path.destination_port
    return Packet(path.family, TCP, path.source, path.destination, message, *ports)


def walk_extensions(data: bytes) -> tuple[int, int, bool]:
    """For an IPv6 packet, or the part of one that an error quotes: (the protocol behind the
    extension headers, where it begins, whether this is a later fragment). WireError when cut.
    """
    if len(data) < HEADER_LENGTH[6]:
        raise WireError("an IPv6 header breaks off")
    protocol, start, fragment = _walk(data, data[6])
    return protocol, start, bool(fragment[0])


def addresses(data: bytes) -> tuple[str, str]:
    """The addresses in the IP header that begins ``data`` (20 or 40 octets of it, or more)."""
    if data[0] >> 4 == 4:
        return inet_ntop(AF_INET, data[12:16]), inet_ntop(AF_INET, data[16:20])
    return inet_ntop(AF_INET6, data[8:24]), inet_ntop(AF_INET6, data[24:40])


def dscp(header: bytes) -> int:
    """The differentiated services code point, 0 … 63, of the IP header that begins so."""
    if header[0] >> 4 == 4:
        return header[1] >> 2
    return (int.from_bytes(header[:2], "big") & 0x0FFF) >> 6


def is_fragment(packet: Packet) -> bool:
    """True when ``packet`` is a part of a datagram, first or later. Needs its IP header."""
    header = packet.header
    if packet.family == 4:
        return len(header) >= 20 and bool(int.from_bytes(header[6:8], "big") & 0x3FFF)
    if len(header) <= 40 or header[6] not in EXTENSIONS:
        return False
    offset, more = _walk(header, header[6])[2]
    return bool(offset) or more


def is_later_fragment(packet: Packet) -> bool:
    """True when ``packet`` is a fragment, and not the first: it has no transport header."""
    header = packet.header
    if packet.family == 4:
        return len(header) >= 20 and bool(int.from_bytes(header[6:8], "big") & 0x1FFF)
    return is_fragment(packet) and bool(_walk(header, header[6])[2][0])


@lru_cache(maxsize=256)
def pack(address: str) -> bytes:
    """4 or 16 octets; a zone (``fe80::1%eth0``) is left out. WireError for no address."""
    host = address.partition("%")[0]
    try:
        return inet_pton(AF_INET6 if ":" in host else AF_INET, host)
    except (OSError, ValueError):
        raise WireError(f"{address!r} is not an IP address") from None


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071).

    2**16 leaves the remainder 1 by 65535, so the sum of the 16-bit words is the remainder of the
    whole: one division instead of a loop.
    """
    number = int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big")
    remainder = number % 65535
    return 0 if number and not remainder else 65535 - remainder


def pseudo_header(path: Path, protocol: int, length: int) -> bytes:
    """What transport checksums cover besides the datagram (RFC 768; RFC 8200, 8.1)."""
    ends = pack(path.source) + pack(path.destination)
    if path.family == 4:
        return ends + struct.pack("!BBH", 0, protocol, length)
    return ends + struct.pack("!II", length, protocol)


def udp(path: Path, payload: bytes) -> bytes:
    """A UDP header with its checksum, and ``payload``. WireError when a port is missing."""
    if path.source_port is None or path.destination_port is None:
        raise WireError("UDP needs a source and a destination port")
    length = UDP_HEADER_LENGTH + len(payload)
    if length > LARGEST:
        raise WireError(f"UDP cannot carry {len(payload)} octets")
    blank = _UDP.pack(path.source_port, path.destination_port, length, 0) + payload
    total = checksum(pseudo_header(path, UDP, length) + blank) or 0xFFFF
    return blank[:6] + total.to_bytes(2, "big") + payload


_CHECKSUM_AT = {UDP: 6, TCP: 16}  # in the header


def with_checksum(packet: Packet, data: bytes) -> bytes | None:
    """``data``, of which ``packet`` was read and which is no fragment, with the checksum of its UDP
    or TCP header made right; None for another protocol.
    """
    at = _CHECKSUM_AT.get(packet.protocol)
    if at is None:
        return None
    start = len(packet.header)
    body = bytearray(data[start : packet.size])
    body[at : at + 2] = bytes(2)
    path = Path(packet.family, packet.source, packet.destination)
    total = checksum(pseudo_header(path, packet.protocol, len(body)) + bytes(body))
    if packet.protocol == UDP:
        total = total or 0xFFFF  # zero would say that there is none (RFC 768)
    body[at : at + 2] = total.to_bytes(2, "big")
    return data[:start] + bytes(body) + data[start + len(body) :]


def ipv4_header(
    source: str,
    destination: str,
    protocol: int,
    length: int,
    identification: int = 0,
    ttl: int = 64,
) -> bytes:
    """20 octets, "don't fragment" set, with the checksum; ``length`` counts what follows them."""
    if length > LARGEST - 20:
        raise WireError(f"IPv4 cannot carry {length} octets")
    ends = pack(source), pack(destination)
    blank = _V4.pack(0x45, 0, 20 + length, identification, 0x4000, ttl, protocol, 0, *ends)
    return blank[:10] + checksum(blank).to_bytes(2, "big") + blank[12:]


def ipv6_header(
    source: str, destination: str, protocol: int, length: int, hop_limit: int = 64
) -> bytes:
    """40 octets; ``length`` counts what follows them."""
    if length > LARGEST:
        raise WireError(f"IPv6 cannot carry {length} octets")
    return _V6.pack(0x60000000, length, protocol, hop_limit, pack(source), pack(destination))


def room(family: int, protocol: int, size: int) -> int:
    """Octets behind the IP header (and the UDP or TCP header) in a packet of ``size`` octets.

    Negative when the headers alone are larger. WireError for what no packet can be.
    """
    if size > LARGEST:
        raise WireError(f"no IP packet has {size} octets; the largest has {LARGEST}")
    transport = {UDP: UDP_HEADER_LENGTH, TCP: TCP_HEADER_LENGTH}.get(protocol, 0)
    return size - HEADER_LENGTH[family] - transport


def too_small(kind: str, size: int, smallest: int) -> WireError:
    """The error for a ``size`` below what ``kind`` needs, both in octets of IP packet."""
    return WireError(f"{kind} needs {smallest} octets at least, {size} were asked for")
