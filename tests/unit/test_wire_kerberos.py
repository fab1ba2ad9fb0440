"""Kerberos: the messages as scapy has them at every size, and what a foreign KDC answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.asn1.asn1 import ASN1_GENERAL_STRING, ASN1_GENERALIZED_TIME, ASN1_INTEGER
from scapy.layers.kerberos import (
    KRB_AS_REP,
    KRB_AS_REQ,
    KRB_ERROR,
    EncryptedData,
    Kerberos,
    KerberosTCPHeader,
    KRB_Ticket,
    PrincipalName,
)

from agent.errors import WireError
from agent.model import Client, Tag
from agent.wire import codec, kerberos
from agent.wire.base import Keys, Reading, seal
from agent.wire.kerberos import LONGEST_NAME, fault, parse_error
from tests.unit.wire_shots import ANSWER_TAG, KEYS, TAG, exchange, path, seen

UDP, TCP = codec("kerberos-udp"), codec("kerberos-tcp")
# Around the sizes where a DER length needs another octet, and large ones.
sizes = pytest.mark.parametrize(
    "size", [None, 226, 300, 340, 345, 350, 400, 460, 480, 485, 490, 576, 1400, 2000, 65_000]
)


def text(value: Any) -> str:
    octets = value.val
    return octets if isinstance(octets, str) else octets.decode()


def name(value: Any) -> str:
    return "/".join(text(part) for part in value.nameString)


@sizes
def test_scapy_dissects_the_request(size: int | None) -> None:
    made = exchange("kerberos-udp", 4, size).request
    request = Kerberos(made).root
    assert isinstance(request, KRB_AS_REQ)
    assert (request.pvno.val, request.msgType.val) == (5, 10)
    (data,) = request.padata
    assert data.padataType.val == -23_325
    assert data.padataValue.val[:16] == seal(KEYS, "kerberos-udp", TAG)
    assert not any(data.padataValue.val[16:])
    body = request.reqBody
    assert name(body.cname) == "ipsec-probe"
    assert text(body.realm) == "IPSEC-PROBE.INVALID"
    assert name(body.sname) == "krbtgt/IPSEC-PROBE.INVALID"
    assert text(body.till) == "20370913024805Z"
    assert body.kdcOptions.val == f"{0x40800010:032b}"
    assert [kind.val for kind in body.etype] == [18, 17, 20, 19]
    assert 0 < body.nonce.val < 2**31
    assert bytes(Kerberos(made)) == made  # so it is DER: scapy writes no other lengths


@sizes
def test_scapy_dissects_the_answer(size: int | None) -> None:
    made = exchange("kerberos-udp", 4, size, size).answer
    answer = Kerberos(made).root
    assert isinstance(answer, KRB_ERROR)
    assert (answer.pvno.val, answer.msgType.val, answer.errorCode.val) == (5, 30, 25)
    assert text(answer.crealm) == text(answer.realm) == "IPSEC-PROBE.INVALID"
    assert name(answer.cname) == "ipsec-probe"
    assert name(answer.sname) == "krbtgt/IPSEC-PROBE.INVALID"
    assert (text(answer.stime), answer.susec.val) == ("20240101000000Z", 0)
    (data,) = answer.eData.seq
    assert data.padataType.val == -23_325
    assert data.padataValue.val[:16] == seal(KEYS, "kerberos-udp", ANSWER_TAG)
    assert bytes(Kerberos(made)) == made


@pytest.mark.parametrize("size", [None, 1400, 2000])
def test_tcp_puts_the_length_in_front(size: int | None) -> None:
    shot = exchange("kerberos-tcp", 6, size, size)
    for message in (shot.request, shot.answer):
        assert int.from_bytes(message[:4], "big") == len(message) - 4
        assert isinstance(KerberosTCPHeader(message)[Kerberos].root, KRB_AS_REQ | KRB_ERROR)


def test_nonces_differ_and_have_31_bits() -> None:
    nonces = set()
    for shot in range(1, 300):
        made = UDP.request(KEYS, Tag(1, shot), path("kerberos-udp", 4))
        nonces.add(Kerberos(made).root.reqBody.nonce.val)
    assert len(nonces) == 299
    assert all(2**30 <= nonce < 2**31 for nonce in nonces)


def test_where_a_message_ends() -> None:
    shot = exchange("kerberos-tcp", 4)
    length = len(shot.request)
    assert TCP.message_length(shot.request) == length
    assert TCP.message_length(shot.request[:4]) == length
    assert TCP.message_length(shot.request + b"more") == length
    assert TCP.message_length(shot.request[:3]) is None
    assert TCP.message_length(b"HTTP/1.0 400 Bad Request\r\n") == 26
    assert UDP.message_length(shot.request) is None


def test_kerberos_of_anybody_else() -> None:
    packet = seen("kerberos-udp", 4)
    foreign = packet.payload.replace(bytes.fromhex("a4e3"), bytes.fromhex("0097"), 1)
    for payload in (foreign, b"", b"\x7e\0", b"\x6c" + packet.payload[1:], b"nonsense"):
        assert UDP.read(KEYS, replace(packet, payload=payload)) is None
    for payload in (b"\x6a", packet.payload[:-1], packet.payload + b"\0", b"\x6a\x80\0\0"):
        with pytest.raises(WireError):
            UDP.read(KEYS, replace(packet, payload=payload))


def test_streams_of_anybody_else() -> None:
    packet = seen("kerberos-tcp", 4)
    for payload in (b"", b"\0\0", b"GET / HTTP/1.0\r\n\r\n", bytes(4)):
        assert TCP.read(KEYS, replace(packet, payload=payload)) is None
    for payload in (packet.payload[:-1], packet.payload + b"\0", b"\0\0\0\x01\x6a"):
        with pytest.raises(WireError):
            TCP.read(KEYS, replace(packet, payload=payload))


def test_padata_that_breaks_off() -> None:
    """Our mark at the very end: there is nothing behind it to read."""
    packet = seen("kerberos-udp", 4)
    with pytest.raises(WireError):
        UDP.read(KEYS, replace(packet, payload=b"\x6a\x06\xa1\x04\x02\x02\xa4\xe3"))
    with pytest.raises(WireError):
        UDP.read(KEYS, replace(packet, payload=b"\x6a\x08\xa1\x04\x02\x02\xa4\xe3\xa2\x10"))


# -- a foreign KDC -------------------------------------------------------------------------------


def krb_error(code: int) -> bytes:
    """As Active Directory answers: no cname, no e-data."""
    return bytes(
        Kerberos(
            root=KRB_ERROR(
                ctime=None,
                cusec=None,
                stime=ASN1_GENERALIZED_TIME("20260101000000Z"),
                susec=ASN1_INTEGER(7),
                errorCode=ASN1_INTEGER(code),
                crealm=None,
                cname=None,
                realm=ASN1_GENERAL_STRING("EXAMPLE.ORG"),
                sname=PrincipalName.fromSPN("krbtgt/EXAMPLE.ORG"),
                eText=None,
                eData=None,
            )
        )
    )


@pytest.mark.parametrize("code", [-1, 0, 6, 25, 52, 68, 127, 128, 300])
def test_the_code_of_an_error(code: int) -> None:
    message = krb_error(code)
    assert parse_error(message) == code
    assert parse_error(len(message).to_bytes(4, "big") + message) == code


def test_our_own_error() -> None:
    for kind in ("kerberos-udp", "kerberos-tcp"):
        assert parse_error(exchange(kind, 4, 1400, 1400).answer) == 25


def test_a_ticket_is_no_error() -> None:
    reply = KRB_AS_REP(
        padata=None,
        crealm=ASN1_GENERAL_STRING("R"),
        cname=PrincipalName.fromUPN("u@R"),
        ticket=KRB_Ticket(encPart=EncryptedData()),
        encPart=EncryptedData(),
    )
    assert parse_error(bytes(Kerberos(root=reply))) == 0


def test_what_is_no_answer() -> None:
    assert parse_error(exchange("kerberos-udp", 4).request) is None
    assert parse_error(b"") is None
    assert parse_error(b"HTTP/1.0 400") is None
    assert parse_error(bytes.fromhex("7e 05 30 03 02 01 05")) is None  # no error-code


def test_an_answer_that_breaks_off() -> None:
    message = krb_error(6)
    for broken in (message[:-1], message + b"\0", b"\x7e\x02\x30\x05"):
        with pytest.raises(WireError):
            parse_error(broken)


def test_the_type_is_private_and_its_encoding_the_mark() -> None:
    """RFC 4120, 5.2.7: negative numbers are for local use."""
    assert kerberos.PADATA_TYPE < 0
    assert (kerberos.PADATA_TYPE).to_bytes(2, "big", signed=True) == bytes.fromhex("a4e3")


def test_an_answer_to_less_than_a_request() -> None:
    with pytest.raises(WireError):
        UDP.answer(KEYS, TAG, path("kerberos-udp", 4), bytes(192))


# -- another client ------------------------------------------------------------------------------

CLIENTS = [
    Client("a", "B"),
    Client("host$", "EXAMPLE.ORG"),
    Client("x" * LONGEST_NAME, "R" * LONGEST_NAME),
    Client("ipsec-probe", "Y" * 40),  # the answer names the realm once more than the request
]
clients = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: str(len(client.realm)))


@clients
@pytest.mark.parametrize("kind", ["kerberos-udp", "kerberos-tcp"])
@pytest.mark.parametrize("size", [None, 900, 1400])
def test_another_client_is_named_throughout(client: Client, kind: str, size: int | None) -> None:
    keys, sender, there = Keys(bytes(range(32)), client), codec(kind), path(kind, 4)
    made = sender.request(keys, TAG, there, size)
    answered = sender.answer(keys, ANSWER_TAG, there.back(), made, size)
    front = 4 if sender.stream else 0
    assert len(answered) <= len(made)
    assert bytes(Kerberos(made[front:])) == made[front:]
    assert bytes(Kerberos(answered[front:])) == answered[front:]
    request, error = Kerberos(made[front:]).root, Kerberos(answered[front:]).root
    assert (name(request.reqBody.cname), text(request.reqBody.realm)) == (
        client.principal,
        client.realm,
    )
    assert name(request.reqBody.sname) == f"krbtgt/{client.realm}"
    assert (name(error.cname), text(error.crealm)) == (client.principal, client.realm)
    assert (text(error.realm), name(error.sname)) == (client.realm, f"krbtgt/{client.realm}")
    for message, tag in ((made, TAG), (answered, ANSWER_TAG)):
        packet = replace(seen(kind, 4), payload=message)
        assert sender.read(keys, packet) == Reading(tag)
        assert sender.read(Keys(bytes(range(32))), packet) == Reading(tag)  # known by its seal


def test_a_size_that_the_client_leaves_no_room_for() -> None:
    keys = Keys(bytes(32), CLIENTS[2])
    with pytest.raises(WireError, match="octets at least, 400 were asked for"):
        UDP.request(keys, TAG, path("kerberos-udp", 4), 400)


@pytest.mark.parametrize(
    ("client", "wrong"),
    [
        (Client(), ""),
        (Client("administrator", "EXAMPLE.ORG"), ""),
        (Client("", "EXAMPLE.ORG"), "principal has 1 to 128"),
        (Client("u", ""), "realm has 1 to 128"),
        (Client("u" * 129), "principal has 1 to 128"),
        (Client("u", "R" * 129), "realm has 1 to 128"),
        (Client("user@REALM"), "@ and / are not"),
        (Client("krbtgt/REALM"), "@ and / are not"),
        (Client("u", "A:B"), "@ and / and : are not"),
        (Client("zwei worte"), "visible ASCII"),
        (Client("m\u00fcller"), "visible ASCII"),
        (Client("u", "R\0"), "visible ASCII"),
    ],
)
def test_names_that_can_be_asked_for(client: Client, wrong: str) -> None:
    assert wrong in fault(client)
    assert bool(wrong) == bool(fault(client))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (68, "KRB-ERROR 68 (wrong realm)"),
        (6, "KRB-ERROR 6 (client unknown)"),
        (25, "KRB-ERROR 25 (preauthentication required)"),
        (52, "KRB-ERROR 52 (response too big for UDP)"),
        (99, "KRB-ERROR 99"),
    ],
)
def test_what_a_kdc_says(code: int, told: str) -> None:
    message = krb_error(code)
    assert UDP.heard(KEYS, TAG, message) == told
    assert TCP.heard(KEYS, TAG, len(message).to_bytes(4, "big") + message) == told
    assert UDP.heard(KEYS, TAG, b"nonsense") == UDP.heard(KEYS, TAG, b"") == ""
    with pytest.raises(WireError):
        UDP.heard(KEYS, TAG, message[:-1])
