"""ESP: what scapy builds with the same keys, octet for octet, and what is not let through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec
from agent.wire.base import Keys, Packet, seal
from agent.wire.esp import spi
from tests.unit.wire_shots import ENDS, FOREIGN, KEYS, TAG, path, seen

CODEC = codec("esp")
KEY = KEYS.derive("esp key") + KEYS.derive("esp salt")[:4]


def association() -> SecurityAssociation:
    return SecurityAssociation(ESP, spi(KEYS, TAG.check), crypt_algo="AES-GCM", crypt_key=KEY)


@pytest.mark.parametrize("size", [None, 600, 1400])
def test_esp_is_scapys(size: int | None) -> None:
    """Transport mode, next header 59; scapy pads by itself."""
    made = CODEC.request(KEYS, TAG, path("esp", 4), size)
    inside = len(made) - 8 - 8 - 16 - 4
    dummy = seal(KEYS, "esp", TAG) + bytes(inside - 16)
    packet = IP(src=ENDS[4][0], dst=ENDS[4][1], proto=59) / Raw(dummy)
    built = association().encrypt(packet, seq_num=TAG.shot, iv=made[8:16])
    assert bytes(built[ESP]) == made


@pytest.mark.parametrize("size", [None, 1400, 2000])
def test_scapy_decrypts_a_dummy_packet(size: int | None) -> None:
    made = CODEC.request(KEYS, TAG, path("esp", 6), size)
    packet = IPv6(src=ENDS[6][0], dst=ENDS[6][1], nh=50) / ESP(made)
    assert (packet[ESP].spi, packet[ESP].seq) == (spi(KEYS, TAG.check), TAG.shot)
    plain = association().decrypt(packet)
    assert plain.nh == 59  # no next header: RFC 4303, 2.6
    assert bytes(plain.payload).startswith(seal(KEYS, "esp", TAG))
    assert len(plain.payload) == len(made) - 8 - 8 - 16 - 4


def test_spi() -> None:
    """256 or more, one for each check, others in another run."""
    spis = [spi(KEYS, check) for check in range(2000)]
    assert min(spis) >= 256
    assert max(spis) < 2**32
    assert len(set(spis)) == 2000
    assert spi(FOREIGN, 0) != spi(KEYS, 0)


def test_no_spi_is_a_reserved_one() -> None:
    """Not even where the first octets drawn are all zero, once in four thousand million."""

    class Unlucky(Keys):
        def derive(self, label: str, *numbers: int) -> bytes:
            return bytes(32)

    assert spi(Unlucky(bytes(32)), 1) == 256


def test_no_iv_is_used_for_two_plaintexts() -> None:
    """GCM loses everything with the first repetition."""
    there = path("esp", 4)
    made = {
        CODEC.request(KEYS, Tag(check, shot), there, size)
        for check in (1, 2, 256)
        for shot in (1, 2, 256)
        for size in (None, 600, 601, 604)
    }
    assert len({data[8:16] for data in made}) == len(made)


def test_the_ciphertext_is_a_multiple_of_four() -> None:
    for size in range(72, 400):
        assert len(CODEC.request(KEYS, TAG, path("esp", 4), size)) % 4 == 0


def test_every_changed_bit_is_noticed() -> None:
    packet = seen("esp", 4)
    for bit in range(8 * len(packet.payload)):
        payload = bytearray(packet.payload)
        payload[bit // 8] ^= 1 << bit % 8
        assert CODEC.read(KEYS, replace(packet, payload=bytes(payload))) is None


def test_esp_of_anybody_else() -> None:
    for payload in (bytes(8), bytes(200), b"\xff" * 200, b"\0\0\1\0" + bytes(60)):
        assert CODEC.read(KEYS, Packet(4, 50, *ENDS[4], payload)) is None
    with pytest.raises(WireError, match="breaks off"):
        CODEC.read(KEYS, Packet(4, 50, *ENDS[4], bytes(7)))


def test_a_right_key_and_a_false_header_is_no_shot() -> None:
    """Our own key, but an SPI or a sequence number that is not the sealed tag's."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    made = CODEC.request(KEYS, TAG, path("esp", 4))
    iv = made[8:16]
    plain = AESGCM(KEY[:32]).decrypt(KEY[32:] + iv, made[16:], made[:8])
    for header in (
        made[:4] + b"\0\0\0\x09",
        spi(KEYS, TAG.check + 1).to_bytes(4, "big") + made[4:8],
    ):
        forged = header + iv + AESGCM(KEY[:32]).encrypt(KEY[32:] + iv, plain, header)
        assert CODEC.read(KEYS, Packet(4, 50, *ENDS[4], forged)) is None


def test_a_quoted_sequence_number_out_of_range() -> None:
    index = spi(KEYS, 5).to_bytes(4, "big")
    assert CODEC.quoted(KEYS, [5], index + b"\0\0\0\2") == Tag(5, 2)
    assert CODEC.quoted(KEYS, [5], index + b"\0\0\0\0") is None
    assert CODEC.quoted(KEYS, [5], index + b"\0\1\0\0") is None
    assert CODEC.quoted(KEYS, [5], index) is None
    assert CODEC.quoted(KEYS, [], index + b"\0\0\0\2") is None


def test_an_answer_to_less_than_a_request() -> None:
    with pytest.raises(WireError):
        CODEC.answer(KEYS, TAG, path("esp", 4), bytes(40))
