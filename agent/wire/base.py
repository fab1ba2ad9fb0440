"""What every kind has in common: the interface of a codec, the tag, the keys of a run.

A codec turns a :class:`~agent.model.Tag` into the bytes of one shot and knows such bytes again.
It opens no socket, reads no clock and draws no random number: keys and tag decide every byte.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from agent.errors import WireError
from agent.model import CLIENT, Client, Tag

TAG_LENGTH = 16  # check (2), shot (2), MAC (12)
MAC_LENGTH = 12


class UnknownKind(WireError):
    """No codec has that name. The text proposes one that is like it."""


class Keys:
    """What both ends of one run agree on, and nobody else: its keys, and its Kerberos client.

    Keys are derived from the run's 32-byte secret by HMAC-SHA256 with a label each.
    """

    def __init__(self, secret: bytes, client: Client = CLIENT) -> None:
        if len(secret) != 32:
            raise ValueError("a run's secret has 32 octets")
        self._secret = secret
        self.client = client

    def derive(self, label: str, *numbers: int) -> bytes:
        """32 octets for ``label``; other labels or numbers give unrelated octets."""
        message = label.encode() + b"".join(b"/%d" % number for number in numbers)
        return hmac.digest(self._secret, message, hashlib.sha256)

    @cached_property
    def mac(self) -> bytes:
        return self.derive("tag")


def seal(keys: Keys, kind: str, tag: Tag) -> bytes:
    """The 16 octets that carry a tag in the clear. The MAC covers the kind as well."""
    body = tag.check.to_bytes(2, "big") + tag.shot.to_bytes(2, "big")
    return body + hmac.digest(keys.mac, kind.encode() + b"\0" + body, hashlib.sha256)[:MAC_LENGTH]


def unseal(keys: Keys, kind: str, sealed: bytes) -> Tag | None:
    """The tag in ``sealed`` (16 octets); None when it is not of this run and kind."""
    if len(sealed) != TAG_LENGTH:
        return None
    tag = Tag(int.from_bytes(sealed[:2], "big"), int.from_bytes(sealed[2:4], "big"))
    return tag if hmac.compare_digest(seal(keys, kind, tag), sealed) else None


@dataclass(frozen=True, slots=True)
class Path:
    """Where a shot goes, as its sender sees it."""

    family: int  # 4 or 6
    source: str
    destination: str
    source_port: int | None = None
    destination_port: int | None = None

    def back(self) -> Path:
        """The way an answer travels."""
        ports = self.destination_port, self.source_port
        return Path(self.family, self.destination, self.source, *ports)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as seen on the wire or at a socket.

    ``payload`` is what follows the IP header (protocols 50, 51, ICMP) or the UDP or TCP header.
    ``header`` is the IP header where it was seen, else empty (a UDP socket shows none).
    """

    family: int
    protocol: int
    source: str
    destination: str
    payload: bytes
    source_port: int | None = None
    destination_port: int | None = None
    ttl: int | None = None
    size: int | None = None
    header: bytes = b""
    tcp_flags: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A shot known again. ``intact`` is False when its own integrity check fails (AH's ICV)."""

    tag: Tag
    intact: bool = True
    note: str = ""
    says: str = ""  # an answer that is not ours: its own words
    reply: bool = False  # a kernel's reply, which can carry no tag but its request's (ICMP echo)


class Codec(ABC):
    """One kind. A new kind is a new module with a subclass, listed in :mod:`agent.wire`."""

    name: str  # as typed by a user: "esp"
    port: int | None = None  # the service's port; None: a protocol without ports
    fixed_source: ClassVar[bool] = False  # real traffic leaves from `port` as well (IKE)
    stream: bool = False  # TCP: request and answer travel on a real connection
    answered_by_kernel: ClassVar[bool] = False  # the far kernel replies (ICMP echo)
    rationed: ClassVar[bool] = False  # a daemon that is not ours must not get many (agent.ration)
    tagged: ClassVar[bool] = True  # False: too small for a tag, known by its fresh port alone

    @abstractmethod
    def protocol(self, family: int) -> int:
        """The IP protocol number."""

    def whole_packet(self, family: int) -> bool:
        """True when request() and answer() include the IP header (AH's ICV covers it)."""
        del family
        return False

    @abstractmethod
    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        """The bytes of a shot: what follows the IP header, or the UDP header, or the TCP stream.

        ``size`` asks for that many octets of whole IP packet, headers counted; WireError when the
        kind cannot be that small. A size that the format cannot have (ESP comes in fours) is
        rounded down to the next that it can.
        """

    @abstractmethod
    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        """The bytes of the reply with ``tag`` to ``request``; never longer than the request."""

    @abstractmethod
    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """The shot in ``packet``, a request or an answer; None for a stranger.

        Raises WireError, and nothing else, for bytes that begin like this kind and break off.
        """

    def quoted(self, keys: Keys, checks: Iterable[int], head: bytes) -> Tag | None:
        """The shot whose first octets behind the IP header an ICMP error quotes (8 or more).

        ``checks`` are the numbers that can be meant. Kinds with ports leave this to the ports.
        """
        del keys, checks, head
        return None

    def heard(self, keys: Keys, asked: Tag, message: bytes) -> str:
        """What a service that is not ours answered to the shot ``asked``, in a few words.

        "" for what is no answer in this protocol; WireError for one that breaks off.
        """
        del keys, asked, message
        return ""

    def translated(self, packet: Packet) -> tuple[bool, bool] | None:
        """Whether (source, destination) were translated, by the message's own NAT detection."""
        del packet
        return None

    def message_length(self, stream: bytes) -> int | None:
        """For stream kinds: octets of the first message in ``stream``; None while undecided."""
        del stream
        return None
