"""The header and the payloads of an IKE message, of either version (RFC 7296, 3.1; RFC 2408)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.errors import WireError

HEADER_LENGTH = 28
VERSION = 0x20
SA_INIT = 34
RESPONSE = 0x20
NOTIFY, SK, SKF = 41, 46, 53

_HEADER = struct.Struct("!8s8sBBBBII")


@dataclass(frozen=True, slots=True)
class Header:
    initiator_spi: bytes
    responder_spi: bytes
    next_payload: int
    version: int  # 0x20: IKEv2
    exchange: int
    flags: int
    message_id: int
    length: int


def parse_header(message: bytes) -> Header:
    """The header of an IKE message (no non-ESP marker). WireError when it breaks off."""
    if len(message) < HEADER_LENGTH:
        raise WireError("an IKE header breaks off")
    return Header(*_HEADER.unpack_from(message))


def payloads(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, contents) of every payload, up to an encrypted one and with it. WireError if cut."""
    header = parse_header(message)
    if header.length != len(message):
        raise WireError(f"an IKE message of {header.length} octets has {len(message)}")
    kind, at = header.next_payload, HEADER_LENGTH
    while kind:
        if at + 4 > len(message):
            raise WireError("an IKE payload breaks off")
        length = int.from_bytes(message[at + 2 : at + 4], "big")
        if length < 4 or at + length > len(message):
            raise WireError("an IKE payload with an impossible length")
        yield kind, message[at + 4 : at + length]
        if kind in (SK, SKF):
            return  # its "next payload" is the first one inside
        kind, at = message[at], at + length
