"""What a foreign IKE daemon's answer is taken for; and what only looks like one."""

from __future__ import annotations

import pytest
from scapy.contrib.ikev2 import IKEv2, IKEv2_KE, IKEv2_Nonce, IKEv2_Notify, IKEv2_SA
from scapy.layers.isakmp import ISAKMP, ISAKMP_payload_Notify, ISAKMP_payload_SA

from agent.errors import WireError
from agent.model import Tag
from agent.wire import codec
from agent.wire.ike import initiator_spi
from agent.wire.ike_answer import says
from tests.unit.wire_shots import FOREIGN, KEYS, TAG, exchange

SPI, SPI_R = initiator_spi(KEYS, TAG), bytes(range(1, 9))


def notify(number: int, *, flags: int = 0x20, exchange_type: int = 34, status: int = 0) -> bytes:
    """As charon refuses: one notify. ``status``: one more in front of it, that says nothing."""
    header = IKEv2(init_SPI=SPI, resp_SPI=SPI_R, next_payload=41, exch_type=exchange_type, id=0)
    header.flags = flags
    last = IKEv2_Notify(next_payload=0, proto=0, type=number, notify=b"")
    if not status:
        return bytes(header / last)
    first = IKEv2_Notify(next_payload=41, proto=0, type=status, notify=bytes(20))
    return bytes(header / first / last)


def accepted() -> bytes:
    header = IKEv2(init_SPI=SPI, resp_SPI=SPI_R, next_payload=33, exch_type=34, id=0)
    header.flags = 0x20
    return bytes(
        header
        / IKEv2_SA(next_payload=34)
        / IKEv2_KE(next_payload=40, group=31, ke=bytes(32))
        / IKEv2_Nonce(next_payload=41, nonce=bytes(32))
        / IKEv2_Notify(next_payload=0, proto=0, type=16388, notify=bytes(20))
    )


def isakmp(exchange_type: int, next_payload: int, body: object, flags: int = 0) -> bytes:
    header = ISAKMP(
        init_cookie=SPI, resp_cookie=bytes(8), exch_type=exchange_type, next_payload=next_payload
    )
    header.flags = flags
    return bytes(header / body)


NO_PROPOSAL_V1 = ISAKMP_payload_Notify(next_payload=0, doi=1, proto=1, notify_msg_type=14)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (notify(14), "IKE notify NO_PROPOSAL_CHOSEN"),
        (notify(17), "IKE notify INVALID_KE_PAYLOAD"),
        (notify(16390), "IKE notify COOKIE"),
        (notify(8192), "IKE notify 8192"),
        (notify(14, status=16388), "IKE notify NO_PROPOSAL_CHOSEN"),
        (notify(16404), "IKE"),
        (accepted(), "IKE, with a proposal chosen"),
        (isakmp(5, 11, NO_PROPOSAL_V1), "IKEv1 notify NO-PROPOSAL-CHOSEN"),
        (isakmp(2, 1, ISAKMP_payload_SA(next_payload=0)), "IKEv1, with a proposal chosen"),
        (notify(14, flags=0x08), ""),  # a request
        (notify(14, exchange_type=35), ""),
        (isakmp(5, 11, NO_PROPOSAL_V1, flags=1), ""),  # encrypted: to whom?
        (isakmp(4, 11, NO_PROPOSAL_V1), ""),
    ],
)
def test_what_it_says(message: bytes, told: str) -> None:
    assert says(message) == told
    assert codec("ike").heard(KEYS, TAG, message) == told
    assert codec("ike-nat-t").heard(KEYS, TAG, bytes(4) + message) == told


def test_only_the_answer_to_this_very_request() -> None:
    for kind in ("ike", "ike-v1"):
        assert codec(kind).heard(KEYS, TAG, notify(14))
        assert codec(kind).heard(FOREIGN, TAG, notify(14)) == ""
        assert codec(kind).heard(KEYS, Tag(TAG.check, TAG.shot + 1), notify(14)) == ""
        assert codec(kind).heard(KEYS, TAG, b"") == ""
    assert codec("ike-nat-t").heard(KEYS, TAG, notify(14)) == ""  # on 4500 there is a marker


def test_what_breaks_off() -> None:
    whole = notify(14)
    broken = [whole[:-1], whole + b"\0", whole[:30], whole[:28], SPI]
    broken.append(isakmp(5, 11, NO_PROPOSAL_V1)[:-1])
    short = bytearray(notify(14)[:-4])  # a notify without its number
    short[24:28] = len(short).to_bytes(4, "big")
    short[30:32] = (4).to_bytes(2, "big")
    broken.append(bytes(short))
    for message in broken:
        with pytest.raises(WireError):
            says(message)


def test_our_own_answers_are_as_real() -> None:
    for kind, told in (("ike", "IKE notify NO_PROPOSAL_CHOSEN"), ("ike-v1", "IKEv1 notify")):
        assert says(exchange(kind, 4).answer).startswith(told)


def test_the_other_kinds_words() -> None:
    assert codec("udp:53").heard(KEYS, TAG, b"whatever") == "8 octets"
    assert codec("esp").heard(KEYS, TAG, b"whatever") == ""
    assert codec("ike-noise").heard(KEYS, TAG, notify(14)) == ""
