"""Control shots: as large as a real message, on the same port, and not the protocol at all.

Where the real kind passes and its noise does not, something in between reads the payload. Noise
always comes from a fresh port: on the tuple of a real exchange, a firewall would let it ride on the
state that the real one opened.
"""

from __future__ import annotations

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal

FILLING = 0xEE  # no version, exchange or ASN.1 tag that IKE or Kerberos knows
# Where either protocol has its first telling octets there is filling, and the seal, which may look
# like anything, comes behind it.
SEAL_AT = 20
LENGTH_AT = SEAL_AT + TAG_LENGTH
SMALLEST = LENGTH_AT + 2


class Noise(Codec):
    """The control shot to one kind; a subclass says to which."""

    transport: int = ip.UDP
    natural: int  # octets of payload: what the real request has

    def protocol(self, family: int) -> int:
        del family
        return self.transport

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        return self._message(keys, tag, self._wanted(path.family, size))

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        length = min(self._wanted(path.family, size), len(request))
        if length < SMALLEST:
            raise WireError("noise that is shorter than any answer to it")
        return self._message(keys, tag, length)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        message = packet.payload
        tag = unseal(keys, self.name, message[SEAL_AT:LENGTH_AT])
        if tag is None:
            return None
        if self.message_length(message) != len(message):
            raise WireError("noise that breaks off, or is a fragment")
        return Reading(tag)

    def message_length(self, stream: bytes) -> int | None:
        if stream and stream[0] != FILLING:
            return len(stream)  # what a service that is not ours says, as far as it has come
        if len(stream) < SMALLEST:
            return None
        return max(SMALLEST, int.from_bytes(stream[LENGTH_AT:SMALLEST], "big"))

    def _wanted(self, family: int, size: int | None) -> int:
        if size is None:
            return self.natural
        length = ip.room(family, self.transport, size)
        if length < SMALLEST:
            raise ip.too_small(self.name, size, size - length + SMALLEST)
        return length

    def _message(self, keys: Keys, tag: Tag, length: int) -> bytes:
        front, back = (bytes([FILLING]) * octets for octets in (SEAL_AT, length - SMALLEST))
        return front + seal(keys, self.name, tag) + length.to_bytes(2, "big") + back


class IkeNoise(Noise):
    name = "ike-noise"
    port = 500
    natural = 260


class KerberosUdpNoise(Noise):
    name = "kerberos-udp-noise"
    port = 88
    natural = 197


class KerberosTcpNoise(Noise):
    name = "kerberos-tcp-noise"
    port = 88
    natural = 201
    stream = True
    transport = ip.TCP
