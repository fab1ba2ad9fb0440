"""IKEv1: both messages as scapy and the RFCs have them, at every size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.isakmp import (
    ISAKMP,
    ISAKMP_payload_Notify,
    ISAKMP_payload_Proposal,
    ISAKMP_payload_SA,
    ISAKMP_payload_Transform,
    ISAKMP_payload_VendorID,
)

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec, ike
from agent.wire.base import seal
from agent.wire.ike import initiator_spi, tag_of_spi
from tests.unit.wire_shots import ANSWER_TAG, KEYS, TAG, exchange, path, seen

CODEC = codec("ike-v1")
sizes = pytest.mark.parametrize("size", [None, 217, 576, 1400, 2000])


def layers(message: bytes) -> list[Any]:
    """The payloads one behind the other, by the types that their predecessors name."""
    header = ISAKMP(message[:28])
    types = {1: ISAKMP_payload_SA, 11: ISAKMP_payload_Notify, 13: ISAKMP_payload_VendorID}
    found, kind, at = [header], header.next_payload, 28
    while kind:
        length = int.from_bytes(message[at + 2 : at + 4], "big")
        found.append(types[kind](message[at : at + length]))
        kind, at = message[at], at + length
    assert at == len(message) == header.length
    return found


@sizes
def test_the_request_is_main_modes_first_message(size: int | None) -> None:
    packet = seen("ike-v1", 4, size)
    header, offer, vendor = layers(packet.payload)
    assert header.init_cookie == initiator_spi(KEYS, TAG)
    assert (header.resp_cookie, header.version, header.exch_type) == (bytes(8), 0x10, 2)
    assert (int(header.flags), header.id) == (0, 0)
    assert (offer.doi, offer.situation) == (1, 1)  # IPsec, identity only (RFC 2407, 4.2)
    proposal = offer.prop
    assert isinstance(proposal, ISAKMP_payload_Proposal)
    assert (proposal.proto, proposal.SPIsize, proposal.trans_nb) == (1, 0, 3)
    offered, transform = [], proposal.trans
    while isinstance(transform, ISAKMP_payload_Transform):
        offered.append(dict(transform.transforms))
        transform = transform.payload
    assert [found["Encryption"] for found in offered] == ["AES-CBC", "AES-CBC", "3DES-CBC"]
    assert all(found["Authentication"] == "PSK" for found in offered)
    filling = b"" if size is None else bytes(size - 216)
    assert vendor.VendorID == ike.VENDOR_ID + seal(KEYS, "ike-v1", TAG) + filling


def test_no_daemon_can_accept_it() -> None:
    """Accepted, it would be held half-open: so each transform wants a hash that nobody has."""
    proposal = layers(exchange("ike-v1", 4).request)[1].prop
    transform = proposal.trans
    while isinstance(transform, ISAKMP_payload_Transform):
        assert dict(transform.transforms)["Hash"] == "Tiger"
        transform = transform.payload


@sizes
def test_the_answer_refuses_in_an_informational_exchange(size: int | None) -> None:
    shot = exchange("ike-v1", 4, size, size)
    header, notify, vendor = layers(shot.answer)
    assert (header.init_cookie, header.resp_cookie) == (shot.request[:8], bytes(8))
    assert (header.version, header.exch_type, int(header.flags)) == (0x10, 5, 0)
    assert header.id != 0  # RFC 2408, 3.1: zero is a first exchange's own
    assert (notify.doi, notify.proto, notify.notify_msg_type) == (1, 1, 14)
    assert vendor.VendorID[:32] == ike.VENDOR_ID + seal(KEYS, "ike-v1", ANSWER_TAG)


def test_cookies_and_message_ids_differ_from_shot_to_shot() -> None:
    tags = [Tag(check, shot) for check in (1, 2) for shot in (1, 2)]
    made = [CODEC.request(KEYS, tag, path("ike-v1", 4)) for tag in tags]
    assert len({message[:8] for message in made}) == 4
    assert [tag_of_spi(KEYS, message[:8]) for message in made] == tags
    answers = [CODEC.answer(KEYS, tag, path("ike-v1", 4), made[0]) for tag in tags]
    assert len({message[20:24] for message in answers}) == 4


def test_isakmp_of_anybody_else() -> None:
    packet = seen("ike-v1", 4)
    foreign = bytearray(packet.payload)
    foreign[156:172] = bytes(16)  # another Vendor ID
    other_exchange = packet.payload[:18] + b"\x04" + packet.payload[19:]
    for payload in (bytes(foreign), other_exchange, seen("ike", 4).payload, b"", bytes(19)):
        assert CODEC.read(KEYS, replace(packet, payload=payload)) is None
    for payload in (packet.payload[:-1], packet.payload + b"\0", packet.payload[:28]):
        with pytest.raises(WireError):
            CODEC.read(KEYS, replace(packet, payload=payload))


def test_it_looks_for_no_nat() -> None:
    assert CODEC.translated(seen("ike-v1", 4)) is None


def test_an_answer_to_less_than_a_request() -> None:
    with pytest.raises(WireError):
        CODEC.answer(KEYS, TAG, path("ike-v1", 4), bytes(75))
