"""What travels on UDP 4500 (RFC 3947, 3948): IKE behind a marker, ESP, and the keepalive.

Three packets that a firewall may treat in three ways, so three kinds. Each has a seal, and ESP a
key, of its own: none is ever taken for another.
"""

from __future__ import annotations

from agent.errors import WireError
from agent.model import Tag
from agent.wire import ip
from agent.wire.base import Codec, Keys, Packet, Path, Reading
from agent.wire.esp import Esp
from agent.wire.ike import Ike

PORT = 4500
NON_ESP_MARKER = bytes(4)  # where ESP would have its SPI, which cannot be 0
KEEPALIVE = b"\xff"


class IkeNatT(Ike):
    """``ike-nat-t``: as ``ike``, from any port, behind four zero octets."""

    name = "ike-nat-t"
    port = PORT
    fixed_source = False
    marker = NON_ESP_MARKER


class EspInUdp(Esp):
    """``esp-in-udp``: as ``esp``, behind a UDP header."""

    name = "esp-in-udp"
    port = PORT

    def protocol(self, family: int) -> int:
        del family
        return ip.UDP

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        data = packet.payload
        if data.startswith(NON_ESP_MARKER) or is_keepalive(data):
            return None
        return super().read(keys, packet)


class NatKeepalive(Codec):
    """``nat-keepalive``: one octet. It has no room for a tag; its fresh source port tells it."""

    name = "nat-keepalive"
    port = PORT
    tagged = False

    def protocol(self, family: int) -> int:
        del family
        return ip.UDP

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        del keys, tag
        if size is not None and ip.room(path.family, ip.UDP, size) != 1:
            natural = ip.HEADER_LENGTH[path.family] + ip.UDP_HEADER_LENGTH + 1
            raise WireError(f"{self.name} has {natural} octets, {size} were asked for")
        return KEEPALIVE

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        """The same octet: the peer's own keepalive, sent back to where this one came from."""
        del request
        return self.request(keys, tag, path, size)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """Always None: see :func:`is_keepalive`."""
        del keys, packet
        return None


def is_keepalive(payload: bytes) -> bool:
    """One octet 0xFF (RFC 3948, 2.3)."""
    return payload == KEEPALIVE
