"""The kinds without a protocol of ours: one readable line, told apart by port and transport."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.errors import WireError
from agent.wire import codec
from tests.unit.wire_shots import KEYS, TAG, exchange, path, seen

UDP, TCP = codec("udp:1701"), codec("tcp:445")


def test_a_person_can_read_it() -> None:
    assert exchange("udp:1701", 4).request.startswith(b"ipsec-probe firewall test\r\n")


def test_ports_and_transports_are_kinds_of_their_own() -> None:
    packet = seen("udp:1701", 4)
    for other in ("udp:1702", "tcp:1701"):
        assert codec(other).read(KEYS, packet) is None
    assert (UDP.protocol(4), TCP.protocol(6)) == (17, 6)


@pytest.mark.parametrize("size", [None, 1400])
def test_where_a_message_ends(size: int | None) -> None:
    message = exchange("tcp:445", 4, size).request
    assert TCP.message_length(message) == len(message)
    assert TCP.message_length(message[:29]) == len(message)
    assert TCP.message_length(message + b"more") == len(message)
    for early in (b"", message[:1], message[:27], message[:28]):
        assert TCP.message_length(early) is None
    assert UDP.message_length(message) is None
    impossible = message[:27] + b"\0\0" + message[29:]
    assert TCP.message_length(impossible) == 45  # never 0: a reader must get on


def test_a_foreign_services_answer_is_what_has_come() -> None:
    assert TCP.message_length(b"220 mail ESMTP\r\n") == 16
    assert TCP.message_length(b"\0") == 1
    assert TCP.message_length(b"ipsec-probe firewall best") == 25


def test_broken_off_or_lengthened() -> None:
    packet = seen("udp:1701", 4)
    for payload in (packet.payload[:-1], packet.payload + b"\0", packet.payload[:27]):
        with pytest.raises(WireError):
            UDP.read(KEYS, replace(packet, payload=payload))
    assert UDP.read(KEYS, replace(packet, payload=packet.payload[:26])) is None


def test_an_answer_to_less_than_a_request() -> None:
    with pytest.raises(WireError):
        UDP.answer(KEYS, TAG, path("udp:1701", 4), bytes(44))
