"""The kind ``ike``: IKE_SA_INIT on UDP 500 (RFC 7296, 1.2 and 3).

The request offers one proposal with a real X25519 public value. All in it is usual but the PRF,
which is registered and which no daemon has: it must be refused (NO_PROPOSAL_CHOSEN), and what is
refused leaves nothing behind. One that a daemon accepts is held half-open for half a minute, and
strongSwan asks everybody for cookies at three of them and no longer hears an address with five.
That is not left to counting: nobody knows before the run which daemons the shots will meet.

The tag travels in a Vendor ID, which who does not know it must ignore (3.12): 16 constant octets,
``VENDOR_ID``, then 16 of seal, then zeros where a larger packet is asked for. SPI and nonce differ
from shot to shot, or a daemon would take the second for a retransmission of the first.

The answer refuses the proposal and repeats the Vendor ID with a seal of its own. Its responder SPI
is zero, as in every answer that sets nothing up (2.6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from functools import lru_cache

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal
from agent.wire.ike_answer import says
from agent.wire.isakmp import (
    HEADER_LENGTH,
    NOTIFY,
    RESPONSE,
    SA_INIT,
    VERSION,
    parse_header,
    payloads,
)
from agent.wire.templates import Template, templates

# The first 16 octets of SHA-256("ipsec-probe: firewall test, not an implementation of IKE").
VENDOR_ID = bytes.fromhex("3d1711ae8af47f31a67f8830298c7220")

PRF_HMAC_TIGER = 3  # IANA's registry, deprecated by RFC 9395
GROUPS = (31, 19, 14)  # Curve25519, for which a public value is sent; P-256; MODP 2048

NO_PROPOSAL_CHOSEN = 14
NAT_DETECTION_SOURCE_IP, NAT_DETECTION_DESTINATION_IP = 16388, 16389


# -- what identifies a shot ----------------------------------------------------------------------


def initiator_spi(keys: Keys, tag: Tag) -> bytes:
    """8 octets that look random and can be read back: the tag, masked, and 4 octets of MAC."""
    return _spi(keys, tag.check, tag.shot)


def tag_of_spi(keys: Keys, spi: bytes, known: Container[int] | None = None) -> Tag | None:
    """The shot with that initiator SPI, for what carries no seal: a daemon's answer, an ICMP error.

    Four octets of MAC: a stranger passes once in four thousand million. ``known``: the numbers of
    checks that it can be of; nearly every stranger is of none, which is sooner seen than its MAC.
    """
    if len(spi) != 8:
        return None
    body = _mask(keys, spi[4:], spi[:4])
    tag = Tag(int.from_bytes(body[:2], "big"), int.from_bytes(body[2:], "big"))
    if known is not None and tag.check not in known:
        return None
    return tag if initiator_spi(keys, tag) == spi else None


def _spi(keys: Keys, check: int, shot: int) -> bytes:
    mac = keys.derive("ike spi", check, shot)[:4]
    return _mask(keys, mac, check.to_bytes(2, "big") + shot.to_bytes(2, "big")) + mac


def _mask(keys: Keys, mac: bytes, body: bytes) -> bytes:
    mask = keys.derive("ike spi mask", int.from_bytes(mac, "big"))
    return (int.from_bytes(mask[:4], "big") ^ int.from_bytes(body, "big")).to_bytes(4, "big")


def natd(spis: bytes, address: str, port: int) -> bytes:
    """A NAT detection hash (2.23); ``spis`` are both, 16 octets."""
    material = spis + ip.pack(address) + port.to_bytes(2, "big")
    return hashlib.sha1(material, usedforsecurity=False).digest()


def nat_detected(packet: Packet) -> tuple[bool, bool] | None:
    """Whether (source, destination) were translated, by the hashes in an IKE_SA_INIT.

    A non-ESP marker in front is left out. None where there are no hashes. WireError for a message
    that breaks off.
    """
    message = packet.payload[4:] if packet.payload[:4] == bytes(4) else packet.payload
    header = parse_header(message)
    if (header.version, header.exchange) != (VERSION, SA_INIT):
        return None
    seen: dict[int, set[bytes]] = {}
    for kind, body in payloads(message):
        if kind == NOTIFY and len(body) == 24 and body[1] == 0:
            seen.setdefault(int.from_bytes(body[2:4], "big"), set()).add(body[4:])
    sources = seen.get(NAT_DETECTION_SOURCE_IP)
    destinations = seen.get(NAT_DETECTION_DESTINATION_IP)
    if not sources or not destinations:
        return None
    spis = message[:16]
    return (
        natd(spis, packet.source, packet.source_port or 0) not in sources,
        natd(spis, packet.destination, packet.destination_port or 0) not in destinations,
    )


# -- the codec -----------------------------------------------------------------------------------


class Ike(Codec):
    """``ike``; on another port behind a ``marker``, see :mod:`agent.wire.natt`."""

    name = "ike"
    port: int = 500
    fixed_source = True
    rationed = True
    marker = b""

    def protocol(self, family: int) -> int:
        del family
        return ip.UDP

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        template = templates()["ike-request"]
        length = self._wanted("ike-request", path.family, size)
        message = bytearray(sized("ike-request", length))
        spi = initiator_spi(keys, tag)
        spis = spi + bytes(8)
        # Without a source port there is no socket yet: the service's own is as good as any.
        source = natd(spis, path.source, path.source_port or self.port)
        destination = natd(spis, path.destination, path.destination_port or self.port)
        put(message, template, "initiator_spi", spi)
        put(message, template, "nonce", keys.derive("ike nonce", tag.check, tag.shot))
        put(message, template, "natd_source", source)
        put(message, template, "natd_destination", destination)
        put(message, template, "seal", seal(keys, self.name, tag))
        return self.marker + message

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        template = templates()["ike-response"]
        asked = request[len(self.marker) :]
        length = min(self._wanted("ike-response", path.family, size), len(asked))
        if length < len(template.data):
            raise WireError("an IKE request that is shorter than any answer to it")
        message = bytearray(sized("ike-response", length))
        put(message, template, "initiator_spi", asked[:8])
        put(message, template, "seal", seal(keys, self.name, tag))
        return self.marker + message

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """A shot; None for any other IKE, which is not looked into further than its header."""
        message = packet.payload
        if self.marker:
            if not message.startswith(self.marker):
                return None
            message = message[len(self.marker) :]
        if len(message) < 20 or message[17] != VERSION or message[18] != SA_INIT:
            return None
        if int.from_bytes(message[24:HEADER_LENGTH], "big") != len(message):
            raise WireError("an IKE message that breaks off, or is a fragment")
        response = bool(message[19] & RESPONSE)
        return self._sealed(keys, "ike-response" if response else "ike-request", message)

    def translated(self, packet: Packet) -> tuple[bool, bool] | None:
        return nat_detected(packet)

    def heard(self, keys: Keys, asked: Tag, message: bytes) -> str:
        """Only an answer that repeats the request's initiator SPI is one."""
        if not message.startswith(self.marker + initiator_spi(keys, asked)):
            return ""
        return says(message[len(self.marker) :])

    def _sealed(self, keys: Keys, template: str, message: bytes) -> Reading | None:
        """The shot whose seal stands where ``template`` has it."""
        at = templates()[template].fields["seal"]
        if message[at - len(VENDOR_ID) : at] != VENDOR_ID:
            return None
        tag = unseal(keys, self.name, message[at : at + TAG_LENGTH])
        return None if tag is None else Reading(tag)

    def _wanted(self, template: str, family: int, size: int | None) -> int:
        natural = len(templates()[template].data)
        if size is None:
            return natural
        length = ip.room(family, ip.UDP, size) - len(self.marker)
        if length < natural:
            raise ip.too_small(self.name, size, natural + size - length)
        return length


def put(message: bytearray, template: Template, field: str, octets: bytes) -> None:
    """Writes over a template's place holder."""
    at = template.fields[field]
    message[at : at + len(octets)] = octets


@lru_cache(maxsize=64)
def sized(name: str, length: int) -> bytes:
    """A template whose Vendor ID, the last payload, is filled with zeros up to ``length``."""
    template = templates()[name]
    filling = length - len(template.data)
    message = bytearray(template.data + bytes(filling))
    message[24:28] = length.to_bytes(4, "big")
    at = template.fields["seal"] - len(VENDOR_ID) - 2  # the Vendor ID payload's own length
    message[at : at + 2] = (4 + len(VENDOR_ID) + TAG_LENGTH + filling).to_bytes(2, "big")
    return bytes(message)
