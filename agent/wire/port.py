"""The kinds ``udp:PORT`` and ``tcp:PORT``: a port of a service that we do not speak.

The message is a line that a person can read in a trace, its length, the seal, and zeros up to the
size asked for. An answer looks the same.
"""

from __future__ import annotations

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal

LINE = b"ipsec-probe firewall test\r\n"
SEAL_AT = len(LINE) + 2  # two octets of length between them
NATURAL = SEAL_AT + TAG_LENGTH
PROTOCOLS = {"udp": ip.UDP, "tcp": ip.TCP}


class PortCodec(Codec):
    """``transport`` is "udp" or "tcp", ``port`` 1 to 65535."""

    def __init__(self, transport: str, port: int) -> None:
        self.name = f"{transport}:{port}"
        self.port = port
        self.stream = transport == "tcp"
        self._protocol = PROTOCOLS[transport]

    def protocol(self, family: int) -> int:
        del family
        return self._protocol

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        return self._message(keys, tag, self._wanted(path.family, size))

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        length = min(self._wanted(path.family, size), len(request))
        if length < NATURAL:
            raise WireError("a request that is shorter than any answer to it")
        return self._message(keys, tag, length)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        message = packet.payload
        if not message.startswith(LINE):
            return None
        if int.from_bytes(message[len(LINE) : SEAL_AT], "big") != len(message):
            raise WireError("a test message that breaks off, or is a fragment")
        tag = unseal(keys, self.name, message[SEAL_AT:NATURAL])
        return None if tag is None else Reading(tag)

    def message_length(self, stream: bytes) -> int | None:
        """Of a foreign service's answer: all that has come, for it has no end that we know."""
        if not self.stream or not stream:
            return None
        if stream.startswith(LINE) and len(stream) >= SEAL_AT:
            return max(NATURAL, int.from_bytes(stream[len(LINE) : SEAL_AT], "big"))
        return None if LINE.startswith(stream[: len(LINE)]) else len(stream)

    def heard(self, keys: Keys, asked: Tag, message: bytes) -> str:
        """Whatever it is: the service's protocol is not known here."""
        del keys, asked
        return f"{len(message)} octets"

    def _wanted(self, family: int, size: int | None) -> int:
        if size is None:
            return NATURAL
        length = ip.room(family, self._protocol, size)
        if length < NATURAL:
            raise ip.too_small(self.name, size, NATURAL + size - length)
        return length

    def _message(self, keys: Keys, tag: Tag, length: int) -> bytes:
        filling = bytes(length - NATURAL)
        return LINE + length.to_bytes(2, "big") + seal(keys, self.name, tag) + filling
