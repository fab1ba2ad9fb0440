"""An IKE daemon and a KDC as far as a stranger sees them: real messages, none of our own code.

Run as a program in far: ``python -m tests.netns.services ADDRESS``. It holds UDP 500, 4500 and 88
and TCP 88, says "ready", and then one line for each request: its port.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable

from scapy.asn1.asn1 import ASN1_GENERAL_STRING, ASN1_GENERALIZED_TIME, ASN1_INTEGER
from scapy.contrib.ikev2 import IKEv2, IKEv2_Notify
from scapy.layers.isakmp import ISAKMP, ISAKMP_payload_Notify
from scapy.layers.kerberos import KRB_ERROR, Kerberos, PrincipalName

MARKER = bytes(4)  # before IKE on port 4500 (RFC 3948, 2.2)
WRONG_REALM = 68


def refusal(request: bytes) -> bytes:
    """NO_PROPOSAL_CHOSEN, in the version that it was asked in."""
    if request[17] >> 4 == 1:
        cookies = {"init_cookie": request[:8], "resp_cookie": b"\x51" * 8}
        header = ISAKMP(**cookies, next_payload=11, exch_type=5, id=0x01020304)
        return bytes(header / ISAKMP_payload_Notify(doi=1, proto=1, notify_msg_type=14))
    header = IKEv2(init_SPI=request[:8], resp_SPI=b"\x51" * 8, next_payload=41, exch_type=34)
    header.flags = 0x20
    return bytes(header / IKEv2_Notify(next_payload=0, proto=0, type=14, notify=b""))


def wrong_realm(_request: bytes) -> bytes:
    error = KRB_ERROR(
        ctime=None,
        cusec=None,
        stime=ASN1_GENERALIZED_TIME("20260101000000Z"),
        susec=ASN1_INTEGER(7),
        errorCode=ASN1_INTEGER(WRONG_REALM),
        crealm=None,
        cname=None,
        realm=ASN1_GENERAL_STRING("EXAMPLE.ORG"),
        sname=PrincipalName.fromSPN("krbtgt/EXAMPLE.ORG"),
        eText=None,
        eData=None,
    )
    return bytes(Kerberos(root=error))


def behind_marker(request: bytes) -> bytes:
    """On 4500 other things arrive as well; only IKE is answered."""
    return MARKER + refusal(request[4:]) if request.startswith(MARKER) else b""


def note(what: str) -> None:
    """At once and in one piece: the services are asked at the same time."""
    os.write(1, f"{what}\n".encode())


def datagrams(sock: socket.socket, port: int, answer: Callable[[bytes], bytes]) -> None:
    while True:
        request, peer = sock.recvfrom(65_535)
        reply = answer(request)
        if reply:
            note(str(port))
            sock.sendto(reply, peer)


def streams(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        with sock:
            if sock.recv(65_535):
                note("tcp 88")
                reply = wrong_realm(b"")
                sock.sendall(len(reply).to_bytes(4, "big") + reply)


def main(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port, answer in ((500, refusal), (4500, behind_marker), (88, wrong_realm)):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((address, port))
        threading.Thread(target=datagrams, args=(sock, port, answer), daemon=True).start()
    refusal(bytes(16) + b"\x21\x20")  # the first of each takes scapy a while
    wrong_realm(b"")
    listener = socket.create_server((address, 88), family=family)
    print("ready", flush=True)
    streams(listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
