"""The kinds ``kerberos-udp`` and ``kerberos-tcp``: an AS-REQ and a KRB-ERROR (RFC 4120).

The request asks for a ticket for one principal, of a realm that cannot exist unless a run is given
another (:class:`~agent.model.Client`), and sends no preauthentication data: it guesses nothing and
enumerates nobody. The tag travels in padata of a
private type (negative numbers are for local use: 5.2.7), which a KDC that does not know it skips,
and is followed by zeros where a larger packet is asked for. The nonce differs from shot to shot.

The answer says "preauthentication required", the error whose e-data has a defined form
(METHOD-DATA, 5.9.1): ours holds the padata with a seal of its own. No clock is read: its time is a
constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from agent.errors import WireError
from agent.model import CLIENT, Client, Tag
from agent.wire import der, ip
from agent.wire.base import TAG_LENGTH, Codec, Keys, Packet, Path, Reading, seal, unseal
from agent.wire.templates import templates

PRINCIPAL, REALM = CLIENT.principal, CLIENT.realm  # what the templates were built with
LONGEST_NAME = 128  # octets of a principal or a realm
PADATA_TYPE = -23325  # after Microsoft's KB 233256
KDC_OPTIONS = "forwardable+renewable+renewable-ok"
ETYPES = (18, 17, 20, 19)  # AES-256 and AES-128 with SHA-1, then with SHA-2 (RFC 8009)
TILL = "20370913024805Z"  # as clients ask that want no end
STIME = "20240101000000Z"

AS_REQ, AS_REP, KRB_ERROR = 0x6A, 0x6B, 0x7E  # application tags 10, 11 and 30
PREAUTH_REQUIRED = 25
NONCE_LENGTH = 4
LENGTH_OCTETS = 4  # in front of a message on TCP (7.2.2)
LARGEST_MESSAGE = 1 << 20

_ERRORS = {  # RFC 4120, 7.5.9
    6: "client unknown",
    7: "server unknown",
    12: "forbidden by policy",
    14: "no encryption type in common",
    18: "client revoked",
    25: "preauthentication required",
    52: "response too big for UDP",
    60: "generic error",
    68: "wrong realm",
}

_MARK = bytes.fromhex("a1040202a4e3")  # [1] INTEGER PADATA_TYPE


def fault(client: Client) -> str:
    """What is wrong with a client's names, in words; "" when they can be asked for."""
    for what, name, forbidden in (
        ("principal", client.principal, "@/"),  # one component, of this realm
        ("realm", client.realm, "@/:"),  # RFC 4120, 6.1
    ):
        if not 1 <= len(name) <= LONGEST_NAME:
            return f"a Kerberos {what} has 1 to {LONGEST_NAME} characters"
        if not all("!" <= letter <= "~" and letter not in forbidden for letter in name):
            return (
                f"the Kerberos {what} {name!r}: visible ASCII characters are allowed, "
                f"{' and '.join(forbidden)} are not"
            )
    return ""


class KerberosUdp(Codec):
    """``kerberos-udp``."""

    name = "kerberos-udp"
    port: int = 88

    def protocol(self, family: int) -> int:
        del family
        return ip.TCP if self.stream else ip.UDP

    def request(self, keys: Keys, tag: Tag, path: Path, size: int | None = None) -> bytes:
        length = self._wanted("as-req", keys.client, path.family, size)
        data, seal_at, nonce_at = _sized("as-req", keys.client, length)
        message = bytearray(data)
        message[seal_at : seal_at + TAG_LENGTH] = seal(keys, self.name, tag)
        message[nonce_at : nonce_at + NONCE_LENGTH] = _nonce(keys, tag)
        return self._framed(message)

    def answer(
        self, keys: Keys, tag: Tag, path: Path, request: bytes, size: int | None = None
    ) -> bytes:
        room = len(request) - (LENGTH_OCTETS if self.stream else 0)
        length = min(self._wanted("krb-error", keys.client, path.family, size), room)
        data, seal_at, _ = _sized("krb-error", keys.client, length)
        if len(data) > room:
            raise WireError("an AS-REQ that is shorter than any answer to it")
        message = bytearray(data)
        message[seal_at : seal_at + TAG_LENGTH] = seal(keys, self.name, tag)
        return self._framed(message)

    def read(self, keys: Keys, packet: Packet) -> Reading | None:
        """A shot, found by its padata; None for any other Kerberos, which is not parsed further."""
        message = packet.payload
        if self.stream:
            if len(message) < LENGTH_OCTETS:
                return None
            if message[LENGTH_OCTETS : LENGTH_OCTETS + 1] not in (b"\x6a", b"\x7e"):
                return None
            if int.from_bytes(message[:LENGTH_OCTETS], "big") != len(message) - LENGTH_OCTETS:
                raise WireError("a Kerberos message on TCP that is not as long as it says")
            message = message[LENGTH_OCTETS:]
        if not message or message[0] not in (AS_REQ, KRB_ERROR):
            return None
        if der.element(message)[2] != len(message):
            raise WireError("octets behind a Kerberos message")
        at = message.find(_MARK) + len(_MARK)
        if at < len(_MARK):
            return None
        value = der.element(message, at)[1]  # padata-value [2]
        start = der.element(message, value)[1]  # OCTET STRING
        tag = unseal(keys, self.name, message[start : start + TAG_LENGTH])
        return None if tag is None else Reading(tag)

    def heard(self, keys: Keys, asked: Tag, message: bytes) -> str:
        """Any well-formed KRB-ERROR or AS-REP. Not every KDC repeats the client: by the ports."""
        del keys, asked
        code = parse_error(message)
        if code is None:
            return ""
        if not code:
            return "Kerberos AS-REP"
        return f"KRB-ERROR {code}" + (f" ({_ERRORS[code]})" if code in _ERRORS else "")

    def _framed(self, message: bytearray) -> bytes:
        if self.stream:
            return len(message).to_bytes(LENGTH_OCTETS, "big") + message
        return bytes(message)

    def _wanted(self, template: str, client: Client, family: int, size: int | None) -> int:
        natural = len(_named(template, client))
        if template == "as-req":  # the answer names the realm once more, and must not be longer
            natural = max(natural, len(_named("krb-error", client)))
        if size is None:
            return natural
        room = ip.room(family, self.protocol(family), size)
        length = room - (LENGTH_OCTETS if self.stream else 0)
        if length < natural:
            raise ip.too_small(self.name, size, natural + size - length)
        return length


class KerberosTcp(KerberosUdp):
    """``kerberos-tcp``: the same messages behind four octets of length."""

    name = "kerberos-tcp"
    stream = True

    def message_length(self, stream: bytes) -> int | None:
        """What cannot be Kerberos is one message, as far as it has come."""
        if len(stream) < LENGTH_OCTETS:
            return None
        length = int.from_bytes(stream[:LENGTH_OCTETS], "big")
        return LENGTH_OCTETS + length if length <= LARGEST_MESSAGE else len(stream)


def parse_error(message: bytes) -> int | None:
    """What a KDC says: the error code of a KRB-ERROR, 0 for an AS-REP; None for anything else.

    ``message`` with or without the length that TCP puts in front. WireError when it breaks off.
    """
    if int.from_bytes(message[:LENGTH_OCTETS], "big") == len(message) - LENGTH_OCTETS:
        message = message[LENGTH_OCTETS:]
    if not message or message[0] not in (AS_REP, KRB_ERROR):
        return None
    _, start, end = der.element(message)
    if end != len(message):
        raise WireError("octets behind a Kerberos message")
    if message[0] == AS_REP:
        return 0
    for tag, contents in _elements(_inside(message[start:end])):
        if tag == 0xA6:  # error-code [6]
            return int.from_bytes(_inside(contents), "big", signed=True)
    return None


def _inside(data: bytes) -> bytes:
    _, start, end = der.element(data)
    return data[start:end]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, start, end = der.element(data, at)
        yield tag, data[start:end]
        at = end


def _nonce(keys: Keys, tag: Tag) -> bytes:
    """31 bits, the first of them set: DER wants no fewer octets for it then."""
    octets = keys.derive("kerberos nonce", tag.check, tag.shot)[:NONCE_LENGTH]
    return bytes(((octets[0] & 0x3F) | 0x40,)) + octets[1:]


@lru_cache(maxsize=16)
def _named(name: str, client: Client) -> bytes:
    """A template that names ``client``; the place holders are where they come to be."""
    data = templates()[name].data
    for old, new in ((PRINCIPAL, client.principal), (REALM, client.realm)):
        data = der.renamed(data, old.encode("ascii"), new.encode("ascii"))
    return data


@lru_cache(maxsize=64)
def _sized(name: str, client: Client, length: int) -> tuple[bytes, int, int]:
    """A template of ``length`` octets, or as near below as DER allows: (it, seal at, nonce at).

    Lengths in front and the filling behind the seal move what follows them.
    """
    natural = templates()[name]
    holders = [
        natural.data[at : at + octets]
        for field, octets in (("seal", TAG_LENGTH), ("nonce", NONCE_LENGTH))
        if (at := natural.fields.get(field)) is not None
    ]
    named = _named(name, client)
    data = der.grown_to(named, named.index(holders[0]), length)
    places = [data.index(holder) for holder in holders]
    return data, places[0], places[-1]
