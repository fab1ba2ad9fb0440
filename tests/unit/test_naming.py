"""The names that people know agree with what the codecs send."""

from __future__ import annotations

import pytest

from agent.model import Check, Direction, Flow
from agent.wire import KINDS, codec
from probe.naming import carrier, service

PROTOCOLS = {"UDP": 17, "TCP": 6, "ICMP": 1}


def check(kind: str, source: int | None = None, size: int | None = None) -> Check:
    port = codec(kind).port
    return Check(1, kind, Direction.OUTBOUND, Flow.NEW, 4, size, source, port)


@pytest.mark.parametrize("kind", [*KINDS, "udp:1701", "tcp:445"])
def test_number_and_transport_are_the_codecs(kind: str) -> None:
    named, sent = service(kind), codec(kind)
    if sent.port is None:
        number = named.number if named.transport == "IP" else PROTOCOLS[named.transport]
        assert number == sent.protocol(4)
    else:
        assert (PROTOCOLS[named.transport], named.number) == (sent.protocol(4), sent.port)


def test_rules_as_their_authors_write_them() -> None:
    assert service("esp").rule == "IP protocol 50 (ESP)"
    assert service("kerberos-tcp").rule == "TCP port 88 (Kerberos)"
    assert service("esp-in-udp").rule == service("nat-keepalive").rule
    assert service("tcp:445").rule == "TCP port 445"
    assert service("icmp-echo").rule == "ICMP echo"


def test_carriers() -> None:
    assert carrier(check("esp")) == "IP 50"
    assert carrier(check("icmp-echo")) == ""
    assert carrier(check("ike", 500)) == "UDP 500→500"
    assert carrier(check("ike")) == "UDP fresh→500"
    assert carrier(check("kerberos-udp", size=1400)) == "UDP 88, 1400 B"
    assert carrier(check("kerberos-udp", 4000)) == "UDP 4000→88"
