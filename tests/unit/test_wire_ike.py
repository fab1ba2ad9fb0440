"""IKE: the messages as scapy and the RFC have them, an SPI to be read back, NAT detection."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from scapy.contrib.ikev2 import (
    IKEv2,
    IKEv2_KE,
    IKEv2_Nonce,
    IKEv2_Notify,
    IKEv2_Proposal,
    IKEv2_SA,
    IKEv2_Transform,
    IKEv2_VendorID,
)

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec, ike, ip
from agent.wire.base import Packet, Path, seal
from agent.wire.ike import initiator_spi, nat_detected, tag_of_spi
from agent.wire.isakmp import RESPONSE, parse_header, payloads
from tests.unit.wire_shots import (
    ANSWER_TAG,
    ELSEWHERE,
    ENDS,
    FAMILIES,
    FOREIGN,
    FRESH,
    KEYS,
    TAG,
    exchange,
    path,
    seen,
)

CODEC = codec("ike")
sizes = pytest.mark.parametrize("size", [None, 289, 293, 576, 1400, 2000])


def layers(message: bytes) -> list[Any]:
    found, layer = [], IKEv2(message)
    while layer:
        found.append(layer)
        layer = layer.payload
    return found


@sizes
def test_scapy_dissects_the_request(size: int | None) -> None:
    packet = seen("ike", 4, size)
    found = layers(packet.payload)
    assert [type(layer) for layer in found] == [
        IKEv2, IKEv2_SA, IKEv2_KE, IKEv2_Nonce, IKEv2_Notify, IKEv2_Notify, IKEv2_VendorID,
    ]  # fmt: skip
    header, offer, exchange_, nonce, source, destination, vendor = found
    assert header.init_SPI == initiator_spi(KEYS, TAG)
    assert (header.resp_SPI, header.version, header.exch_type) == (bytes(8), 0x20, 34)
    assert (int(header.flags), header.id, header.length) == (0x08, 0, len(packet.payload))
    proposal = offer.prop
    assert isinstance(proposal, IKEv2_Proposal)
    assert (proposal.proposal, proposal.proto, proposal.trans_nb) == (1, 1, 6)
    transforms, transform = [], proposal.trans
    while isinstance(transform, IKEv2_Transform):
        transforms.append((transform.transform_type, transform.transform_id))
        transform = transform.payload
    assert transforms == [(1, 12), (2, 3), (3, 12), (4, 31), (4, 19), (4, 14)]
    assert (exchange_.group, len(exchange_.ke), len(nonce.nonce)) == (31, 32, 32)
    assert (source.type, destination.type) == (16388, 16389)
    filling = b"" if size is None else bytes(size - 288)
    assert vendor.vendorID == ike.VENDOR_ID + seal(KEYS, "ike", TAG) + filling


@sizes
def test_scapy_dissects_the_answer(size: int | None) -> None:
    shot = exchange("ike", 4, size, size)
    header, notify, vendor = layers(shot.answer)
    assert header.init_SPI == shot.request[:8]
    assert (header.resp_SPI, header.exch_type) == (bytes(8), 34)
    assert (int(header.flags), header.id, header.length) == (0x20, 0, len(shot.answer))
    assert (notify.type, notify.proto, notify.notify) == (14, 0, b"")  # NO_PROPOSAL_CHOSEN
    assert vendor.vendorID[:32] == ike.VENDOR_ID + seal(KEYS, "ike", ANSWER_TAG)
    assert not any(vendor.vendorID[32:])


def test_the_public_value_is_one() -> None:
    """A daemon may compute a secret with it; RFC 7748, 6.1 forbids an all-zero one."""
    body = dict(payloads(exchange("ike", 4).request))[34]
    assert body[:4] == b"\0\x1f\0\0"
    peer = X25519PublicKey.from_public_bytes(body[4:])
    assert any(X25519PrivateKey.generate().exchange(peer))


def test_the_vendor_id_is_the_published_one() -> None:
    text = b"ipsec-probe: firewall test, not an implementation of IKE"
    assert hashlib.sha256(text).digest()[:16] == ike.VENDOR_ID


def test_spi_and_nonce_differ_from_shot_to_shot() -> None:
    made = [
        dict(payloads(CODEC.request(KEYS, Tag(check, shot), path("ike", 4))))[40]
        for check in (1, 2)
        for shot in (1, 2)
    ]
    assert len(set(made)) == 4
    spis = {initiator_spi(KEYS, Tag(check, 1)) for check in range(3000)}
    assert len(spis) == 3000
    assert len({spi[:2] for spi in spis}) > 2500  # nothing of the tag shows


@pytest.mark.parametrize("tag", [Tag(0, 1), Tag(65_535, 65_535), Tag(258, 7), TAG])
def test_the_tag_in_an_spi_can_be_read_back(tag: Tag) -> None:
    spi = initiator_spi(KEYS, tag)
    assert tag_of_spi(KEYS, spi) == tag
    assert tag_of_spi(FOREIGN, spi) is None
    for bit in range(64):
        changed = bytearray(spi)
        changed[bit // 8] ^= 1 << bit % 8
        assert tag_of_spi(KEYS, bytes(changed)) is None
    assert tag_of_spi(KEYS, spi[:7]) is None
    assert tag_of_spi(KEYS, bytes(8)) is None


def test_a_foreign_daemons_answer_is_matched_by_its_spi() -> None:
    """strongSwan's NO_PROPOSAL_CHOSEN: no Vendor ID of ours, so no Reading, but our SPI."""
    request = exchange("ike", 4).request
    response = bytes(
        IKEv2(init_SPI=request[:8], resp_SPI=bytes(8), next_payload=41, exch_type=34, flags=0x20)
        / IKEv2_Notify(next_payload=0, type=14)
    )
    assert CODEC.read(KEYS, Packet(4, 17, *ENDS[4], response, 500, 500)) is None
    header = parse_header(response)
    assert tag_of_spi(KEYS, header.initiator_spi) == TAG
    assert header.flags & RESPONSE
    assert list(payloads(response)) == [(41, b"\0\0\0\x0e")]


def test_an_encrypted_payload_ends_the_walk() -> None:
    message = bytes(IKEv2(init_SPI=b"i" * 8, resp_SPI=b"r" * 8, next_payload=46, exch_type=35))
    body = b"\x29\0\0\x08\1\2\3\4"
    message = message[:24] + (28 + 8).to_bytes(4, "big") + body
    assert list(payloads(message)) == [(46, b"\1\2\3\4")]


@pytest.mark.parametrize(
    ("at", "octets", "told"),
    [(27, b"\x05", "has 260"), (30, b"\0\x03", "impossible"), (30, b"\x7f\0", "impossible"),
     (224, b"\x2b", "breaks off")],
)  # fmt: skip
def test_malformed_payloads(at: int, octets: bytes, told: str) -> None:
    message = bytearray(exchange("ike", 4).request)
    message[at : at + len(octets)] = octets
    with pytest.raises(WireError, match=told):
        list(payloads(bytes(message)))


def test_a_broken_off_header() -> None:
    with pytest.raises(WireError, match="header breaks off"):
        parse_header(bytes(27))


def test_ike_of_anybody_else() -> None:
    request = exchange("ike", 4).request
    packet = seen("ike", 4)
    strangers = {
        "version 1": request[:17] + b"\x10" + request[18:],
        "IKE_AUTH": request[:18] + b"\x23" + request[19:],
        "another Vendor ID": request.replace(ike.VENDOR_ID, bytes(16)),
        "the answer's form": request[:19] + b"\x20" + request[20:],
        "nothing": b"",
        "19 octets": request[:19],
    }
    for payload in strangers.values():
        assert CODEC.read(KEYS, replace(packet, payload=payload)) is None
    with pytest.raises(WireError):
        CODEC.read(KEYS, replace(packet, payload=request[:20]))
    with pytest.raises(WireError):
        CODEC.read(KEYS, replace(packet, payload=request + b"\0"))


# -- NAT detection -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["ike", "ike-nat-t"])
def test_no_nat(kind: str, family: int) -> None:
    assert nat_detected(seen(kind, family, 1400)) == (False, False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["ike", "ike-nat-t"])
def test_a_translated_address_or_port(kind: str, family: int) -> None:
    packet = seen(kind, family)
    new = ELSEWHERE[family]
    assert nat_detected(replace(packet, source=new)) == (True, False)
    assert nat_detected(replace(packet, source_port=1)) == (True, False)
    assert nat_detected(replace(packet, destination=new)) == (False, True)
    assert nat_detected(replace(packet, destination_port=1)) == (False, True)


def test_scapys_packet_has_the_hash_of_the_rfc() -> None:
    """SHA-1(SPIi | SPIr | address | port): RFC 7296, 2.23."""
    there = Path(4, *ENDS[4], FRESH, 500)
    _, _, _, _, source, destination, _ = layers(CODEC.request(KEYS, TAG, there))
    spis = initiator_spi(KEYS, TAG) + bytes(8)
    near, far = (ip.pack(end) for end in ENDS[4])
    assert source.notify == hashlib.sha1(spis + near + FRESH.to_bytes(2, "big")).digest()
    assert destination.notify == hashlib.sha1(spis + far + b"\x01\xf4").digest()


def test_no_hashes_no_word() -> None:
    answer = ip.parse(exchange("ike", 4).answered)
    assert nat_detected(answer) is None
    request = exchange("ike", 4).request
    auth = replace(answer, payload=request[:18] + b"\x23" + request[19:])
    assert nat_detected(auth) is None
    with pytest.raises(WireError):
        nat_detected(replace(answer, payload=request[:-1]))


def test_without_a_source_port_the_services_own_is_assumed() -> None:
    packet = replace(seen("ike", 4), payload=CODEC.request(KEYS, TAG, Path(4, *ENDS[4])))
    assert nat_detected(packet) == (False, False)


def test_an_answer_to_less_than_a_request() -> None:
    with pytest.raises(WireError):
        CODEC.answer(KEYS, TAG, path("ike", 4), bytes(71))
