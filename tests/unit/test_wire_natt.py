"""UDP 4500: three packets that must never be taken for one another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.contrib.ikev2 import IKEv2
from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP, SecurityAssociation

from agent.errors import WireError
from agent.wire import codec
from agent.wire.esp import spi
from agent.wire.natt import is_keepalive
from tests.unit.wire_shots import ENDS, KEYS, TAG, back, exchange, path, seen

IKE, ESP_IN_UDP, KEEPALIVE = (codec(kind) for kind in ("ike-nat-t", "esp-in-udp", "nat-keepalive"))


def test_ike_stands_behind_a_marker() -> None:
    shot = exchange("ike-nat-t", 4, 1400)
    for message in (shot.request, shot.answer):
        assert message[:4] == bytes(4)
        header = IKEv2(message[4:])
        assert (header.exch_type, header.length) == (34, len(message) - 4)
    assert shot.answer[4:12] == shot.request[4:12]


def test_esp_is_esp() -> None:
    """With a key of its own: the one of plain ESP does not open it."""
    made = exchange("esp-in-udp", 4).request
    assert made[:4] != bytes(4)
    packet = IP(src=ENDS[4][0], dst=ENDS[4][1], proto=50) / ESP(made)
    key = KEYS.derive("esp-in-udp key") + KEYS.derive("esp-in-udp salt")[:4]
    number = spi(KEYS, TAG.check)
    plain = SecurityAssociation(ESP, number, crypt_algo="AES-GCM", crypt_key=key).decrypt(packet)
    assert plain.proto == 59
    assert codec("esp").read(KEYS, replace(seen("esp-in-udp", 4), protocol=50)) is None
    assert ESP_IN_UDP.read(KEYS, replace(seen("esp", 4), protocol=17)) is None


def test_ike_without_the_marker_is_not_ours() -> None:
    packet = seen("ike-nat-t", 4)
    assert IKE.read(KEYS, replace(packet, payload=packet.payload[4:])) is None


def test_neither_marker_nor_keepalive_is_malformed_esp() -> None:
    packet = seen("ike-nat-t", 4)
    for payload in (packet.payload, bytes(4), b"\xff"):
        assert ESP_IN_UDP.read(KEYS, replace(packet, payload=payload)) is None
    with pytest.raises(WireError):
        ESP_IN_UDP.read(KEYS, replace(packet, payload=b"\xff\xff"))


def test_the_keepalive_is_one_octet_and_known_by_nothing_else() -> None:
    there = path("nat-keepalive", 4)
    assert KEEPALIVE.request(KEYS, TAG, there) == b"\xff"
    assert KEEPALIVE.answer(KEYS, TAG, back(there), b"\xff") == b"\xff"
    assert not KEEPALIVE.tagged
    assert KEEPALIVE.read(KEYS, seen("nat-keepalive", 4)) is None
    assert seen("nat-keepalive", 4).size == 29
    assert seen("nat-keepalive", 6).size == 49


def test_a_keepalive_has_one_size() -> None:
    assert KEEPALIVE.request(KEYS, TAG, path("nat-keepalive", 6), 49) == b"\xff"
    with pytest.raises(WireError, match="has 29 octets, 1400 were asked for"):
        KEEPALIVE.request(KEYS, TAG, path("nat-keepalive", 4), 1400)


@pytest.mark.parametrize(
    ("payload", "answer"), [(b"\xff", True), (b"", False), (b"\xff\xff", False), (b"\xfe", False)]
)
def test_is_keepalive(payload: bytes, answer: bool) -> None:
    assert is_keepalive(payload) is answer
