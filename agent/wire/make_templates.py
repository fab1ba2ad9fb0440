"""Builds ``templates.json`` with scapy: ``python -m agent.wire.make_templates``.

For development: nothing imports this at run time. Place holders are 32 (16, 8, 4) octets that
occur once in their packet, so their offsets are found and not counted.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from scapy.asn1.asn1 import ASN1_GENERAL_STRING, ASN1_GENERALIZED_TIME, ASN1_INTEGER, ASN1_STRING
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
from scapy.layers.isakmp import (
    ISAKMP,
    ISAKMP_payload_Notify,
    ISAKMP_payload_Proposal,
    ISAKMP_payload_SA,
    ISAKMP_payload_Transform,
    ISAKMP_payload_VendorID,
)
from scapy.layers.kerberos import (
    KRB_AS_REQ,
    KRB_ERROR,
    KRB_KDC_REQ_BODY,
    PADATA,
    Kerberos,
    MethodData,
    PrincipalName,
)

from agent.wire import ike, ike1, kerberos
from agent.wire.templates import FILE

KEY_TEXT = b"ipsec-probe: an X25519 key that everybody knows"


def holder(name: str, length: int) -> bytes:
    """A place holder; its first bit is clear, its second set: an AS-REQ's nonce wants that."""
    octets = hashlib.sha256(b"place holder: " + name.encode()).digest()[:length]
    return bytes(((octets[0] & 0x3F) | 0x40,)) + octets[1:]


def public_value() -> bytes:
    """A real X25519 public value; no secret is ever derived from it."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.from_private_bytes(hashlib.sha256(KEY_TEXT).digest())
    return private.public_key().public_bytes_raw()


def _chain(layers: list[Any]) -> Any:
    packet = layers[0]
    for layer in layers[1:]:
        packet /= layer
    return packet


def _transforms() -> Any:
    wanted: list[dict[str, int]] = [
        {"transform_type": 1, "transform_id": 12, "length": 12, "key_length": 256},  # AES-CBC
        {"transform_type": 2, "transform_id": ike.PRF_HMAC_TIGER},  # nobody has it
        {"transform_type": 3, "transform_id": 12},  # AUTH_HMAC_SHA2_256_128
        *({"transform_type": 4, "transform_id": group} for group in ike.GROUPS),
    ]
    last = len(wanted) - 1
    return _chain(
        [
            IKEv2_Transform(next_payload=0 if place == last else 3, **transform)
            for place, transform in enumerate(wanted)
        ]
    )


def ike_request() -> Any:
    proposal = IKEv2_Proposal(
        next_payload=0, proposal=1, proto=1, trans_nb=3 + len(ike.GROUPS), trans=_transforms()
    )
    return _chain(
        [
            IKEv2(
                init_SPI=holder("initiator_spi", 8),
                resp_SPI=bytes(8),
                next_payload=33,
                exch_type=34,
                flags=0x08,
                id=0,
            ),
            IKEv2_SA(next_payload=34, prop=proposal),
            IKEv2_KE(next_payload=40, group=ike.GROUPS[0], ke=public_value()),
            IKEv2_Nonce(next_payload=41, nonce=holder("nonce", 32)),
            IKEv2_Notify(next_payload=41, proto=0, type=16388, notify=holder("natd_source", 20)),
            IKEv2_Notify(
                next_payload=43, proto=0, type=16389, notify=holder("natd_destination", 20)
            ),
            IKEv2_VendorID(next_payload=0, vendorID=ike.VENDOR_ID + holder("seal", 16)),
        ]
    )


def ike_response() -> Any:
    return _chain(
        [
            IKEv2(
                init_SPI=holder("initiator_spi", 8),
                resp_SPI=bytes(8),
                next_payload=41,
                exch_type=34,
                flags=0x20,
                id=0,
            ),
            IKEv2_Notify(next_payload=43, proto=0, type=ike.NO_PROPOSAL_CHOSEN, notify=b""),
            IKEv2_VendorID(next_payload=0, vendorID=ike.VENDOR_ID + holder("seal", 16)),
        ]
    )


OFFERS_V1 = (  # encryption, key length, group: today's, and those of the KB's own time
    ("AES-CBC", 256, "2048MODPgr"),
    ("AES-CBC", 128, "1536MODPgr"),
    ("3DES-CBC", 0, "1024MODPgr"),
)


def _transforms_v1() -> Any:
    transforms = []
    for number, (cipher, key_length, group) in enumerate(OFFERS_V1, 1):
        attributes: list[tuple[str, str | int]] = [
            ("Encryption", cipher),
            *([("KeyLength", key_length)] if key_length else []),
            ("Hash", "Tiger"),
            ("Authentication", "PSK"),
            ("GroupDesc", group),
            ("LifeType", "Seconds"),
            ("LifeDuration", 28_800),
        ]
        following = 0 if number == len(OFFERS_V1) else 3
        transforms.append(
            ISAKMP_payload_Transform(
                next_payload=following, transform_count=number, transforms=attributes
            )
        )
    return _chain(transforms)


def ike_v1_request() -> Any:
    proposal = ISAKMP_payload_Proposal(
        next_payload=0, proposal=1, proto=1, trans_nb=len(OFFERS_V1), trans=_transforms_v1()
    )
    return _chain(
        [
            ISAKMP(
                init_cookie=holder("initiator_cookie", 8),
                resp_cookie=bytes(8),
                next_payload=1,
                exch_type=ike1.MAIN_MODE,
            ),
            ISAKMP_payload_SA(next_payload=13, doi=1, situation=1, prop=proposal),
            ISAKMP_payload_VendorID(next_payload=0, VendorID=ike.VENDOR_ID + holder("seal", 16)),
        ]
    )


def ike_v1_response() -> Any:
    return _chain(
        [
            ISAKMP(
                init_cookie=holder("initiator_cookie", 8),
                resp_cookie=bytes(8),
                next_payload=11,
                exch_type=ike1.INFORMATIONAL,
                id=int.from_bytes(holder("message_id", 4), "big"),
            ),
            ISAKMP_payload_Notify(
                next_payload=13, doi=1, proto=1, notify_msg_type=ike1.NO_PROPOSAL_CHOSEN
            ),
            ISAKMP_payload_VendorID(next_payload=0, VendorID=ike.VENDOR_ID + holder("seal", 16)),
        ]
    )


def _name(type: int, *parts: str) -> Any:
    return PrincipalName(
        nameType=ASN1_INTEGER(type), nameString=[ASN1_GENERAL_STRING(part) for part in parts]
    )


def _padata() -> Any:
    return PADATA(
        padataType=ASN1_INTEGER(kerberos.PADATA_TYPE),
        padataValue=ASN1_STRING(holder("seal", 16)),
    )


def as_req() -> Any:
    body = KRB_KDC_REQ_BODY(
        kdcOptions=kerberos.KDC_OPTIONS,
        cname=_name(1, kerberos.PRINCIPAL),
        realm=ASN1_GENERAL_STRING(kerberos.REALM),
        sname=_name(2, "krbtgt", kerberos.REALM),
        from_=None,
        till=ASN1_GENERALIZED_TIME(kerberos.TILL),
        rtime=None,
        nonce=ASN1_INTEGER(int.from_bytes(holder("nonce", 4), "big")),
        etype=[ASN1_INTEGER(number) for number in kerberos.ETYPES],
        addresses=None,
        encAuthorizationData=None,
        additionalTickets=None,
    )
    return Kerberos(root=KRB_AS_REQ(padata=[_padata()], reqBody=body))


def krb_error() -> Any:
    return Kerberos(
        root=KRB_ERROR(
            ctime=None,
            cusec=None,
            stime=ASN1_GENERALIZED_TIME(kerberos.STIME),
            susec=ASN1_INTEGER(0),
            errorCode=ASN1_INTEGER(kerberos.PREAUTH_REQUIRED),
            crealm=ASN1_GENERAL_STRING(kerberos.REALM),
            cname=_name(1, kerberos.PRINCIPAL),
            realm=ASN1_GENERAL_STRING(kerberos.REALM),
            sname=_name(2, "krbtgt", kerberos.REALM),
            eText=None,
            eData=MethodData(seq=[_padata()]),
        )
    )


PACKETS = {  # name: (build, {field: length})
    "ike-request": (
        ike_request,
        {"initiator_spi": 8, "nonce": 32, "natd_source": 20, "natd_destination": 20, "seal": 16},
    ),
    "ike-response": (ike_response, {"initiator_spi": 8, "seal": 16}),
    "ike-v1-request": (ike_v1_request, {"initiator_cookie": 8, "seal": 16}),
    "ike-v1-response": (ike_v1_response, {"initiator_cookie": 8, "message_id": 4, "seal": 16}),
    "as-req": (as_req, {"nonce": 4, "seal": 16}),
    "krb-error": (krb_error, {"seal": 16}),
}


def build() -> dict[str, Any]:
    """What ``templates.json`` holds."""
    made = {}
    for name, (packet, fields) in PACKETS.items():
        data = bytes(packet())
        for field, length in fields.items():
            if data.count(holder(field, length)) != 1:
                raise ValueError(f"{name}: the place of {field} is not unique")
        text = data.hex()
        made[name] = {
            "hex": [text[at : at + 80] for at in range(0, len(text), 80)],
            "fields": {field: data.index(holder(field, n)) for field, n in fields.items()},
        }
    return made


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1) + "\n", "ascii")
