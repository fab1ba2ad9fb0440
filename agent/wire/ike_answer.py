"""What an IKE daemon that is not ours answers, in a few words (RFC 7296, 3.10; RFC 2408, 3.14)."""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import WireError
from agent.wire.isakmp import NOTIFY, RESPONSE, SA_INIT, parse_header, payloads

SA = 33
SA_V1, NOTIFY_V1 = 1, 11
MAIN_MODE, INFORMATIONAL_V1 = 2, 5
ENCRYPTED_V1 = 0x01

_NOTIFIES = {
    1: "UNSUPPORTED_CRITICAL_PAYLOAD",
    4: "INVALID_IKE_SPI",
    5: "INVALID_MAJOR_VERSION",
    7: "INVALID_SYNTAX",
    9: "INVALID_MESSAGE_ID",
    14: "NO_PROPOSAL_CHOSEN",
    17: "INVALID_KE_PAYLOAD",
    24: "AUTHENTICATION_FAILED",
    43: "TEMPORARY_FAILURE",
    16390: "COOKIE",
    16391: "REDIRECT",
}
_NOTIFIES_V1 = {
    1: "INVALID-PAYLOAD-TYPE",
    2: "DOI-NOT-SUPPORTED",
    5: "INVALID-MAJOR-VERSION",
    7: "INVALID-EXCHANGE-TYPE",
    14: "NO-PROPOSAL-CHOSEN",
    15: "BAD-PROPOSAL-SYNTAX",
    16: "PAYLOAD-MALFORMED",
    24: "AUTHENTICATION-FAILED",
    29: "UNSUPPORTED-EXCHANGE-TYPE",
}
# Sent along with an answer that sets something up: they say nothing of it.
_STATUS = 16384
_ANSWERS = (16390, 16391)


def says(message: bytes) -> str:
    """Of a message without the non-ESP marker: "IKE notify NO_PROPOSAL_CHOSEN", and the like.

    "" for what answers no first message of IKE. WireError for what breaks off.
    """
    header = parse_header(message)
    major = header.version >> 4
    if major == 1:
        return _says_v1(message)
    found = list(payloads(message))
    if major != 2 or not header.flags & RESPONSE or header.exchange != SA_INIT:
        return ""
    for kind, body in found:
        if kind == NOTIFY:
            number = _number(body, 2)
            if number < _STATUS or number in _ANSWERS:
                return _notify("IKE", number, _NOTIFIES)
    return "IKE, with a proposal chosen" if any(kind == SA for kind, _ in found) else "IKE"


def _says_v1(message: bytes) -> str:
    header = parse_header(message)
    if header.length != len(message):
        raise WireError(f"an IKE message of {header.length} octets has {len(message)}")
    if header.flags & ENCRYPTED_V1 or header.exchange not in (MAIN_MODE, INFORMATIONAL_V1):
        return ""
    for kind, body in payloads(message):
        if kind == NOTIFY_V1:
            return _notify("IKEv1", _number(body, 6), _NOTIFIES_V1)
        if kind == SA_V1:
            return "IKEv1, with a proposal chosen"
    return ""


def _number(body: bytes, at: int) -> int:
    if len(body) < at + 2:
        raise WireError("an IKE notify breaks off")
    return int.from_bytes(body[at : at + 2], "big")


def _notify(protocol: str, number: int, names: Mapping[int, str]) -> str:
    return f"{protocol} notify {names.get(number, number)}"
