"""The kind ``ike-v1``: the first message of IKEv1's main mode, on UDP 500 (RFC 2408, RFC 2409).

The ISAKMP of Microsoft's KB 233256. The request offers three transforms, from AES-256 to the
3DES of those days, with preshared keys. All in them is usual but the hash, Tiger, which is
registered and which no daemon has: they must be refused, and what is refused leaves nothing behind.

The tag travels as in IKEv2: the initiator cookie differs from shot to shot and can be read back,
and the seal stands in a Vendor ID (RFC 2408, 3.16) behind the same constant octets.

The answer is what a responder says that takes none of the proposals: an informational exchange with
NO-PROPOSAL-CHOSEN (RFC 2408, 5.4 and 4.8), in the clear, for there is no SA yet (RFC 2409, 5.7). It
sets nothing up, so its responder cookie is zero.
"""

from __future__ import annotations

from agent.errors import WireError
from agent.model import Tag
from agent.wire.base import Keys, Packet, Path, Reading, seal
from agent.wire.ike import Ike, initiator_spi, put, sized
from agent.wire.isakmp import HEADER_LENGTH
from agent.wire.templates import templates

VERSION = 0x10
MAIN_MODE, INFORMATIONAL = 2, 5
NO_PROPOSAL_CHOSEN = 14

_TEMPLATES = {MAIN_MODE: "ike-v1-request", INFORMATIONAL: "ike-v1-response"}


class Ike1(Ike):
    name = "ike-v1"

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        template = templates()["ike-v1-request"]
        message = bytearray(
            sized("ike-v1-request", self._wanted("ike-v1-request", path.family, size))
        )
        put(message, template, "initiator_cookie", initiator_spi(keys, tag))
        put(message, template, "seal", seal(keys, self.name, tag))
        return bytes(message)

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        template = templates()["ike-v1-response"]
        length = min(self._wanted("ike-v1-response", path.family, size), len(request))
        if length < len(template.data):
            raise WireError("an IKEv1 request that is shorter than any answer to it")
        message = bytearray(sized("ike-v1-response", length))
        put(message, template, "initiator_cookie", request[:8])
        put(message, template, "message_id", _message_id(keys, tag))
        put(message, template, "seal", seal(keys, self.name, tag))
        return bytes(message)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """A shot; None for any other IKE, which is not looked into further than its header."""
        message = packet.payload
        if len(message) < 20 or message[17] != VERSION or message[18] not in _TEMPLATES:
            return None
        if int.from_bytes(message[24:HEADER_LENGTH], "big") != len(message):
            raise WireError("an IKEv1 message that breaks off, or is a fragment")
        return self._sealed(keys, _TEMPLATES[message[18]], message)

    def translated(self, packet: Packet) -> tuple[bool, bool] | None:
        """None: main mode looks for a NAT in its third message only (RFC 3947, 3.2)."""
        del packet
        return None


def _message_id(keys: Keys, tag: Tag) -> bytes:
    """Four octets that are not zero, which is a first exchange's own (RFC 2408, 3.1)."""
    octets = keys.derive("ike-v1 message id", tag.check, tag.shot)[:4]
    return bytes((octets[0] | 0x80,)) + octets[1:]
