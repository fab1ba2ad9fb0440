"""What people call the kinds: for the table, and for the rules that the advice asks for."""

from __future__ import annotations

from typing import NamedTuple

from agent.model import Check, Fragmenting


class Service(NamedTuple):
    title: str
    transport: str  # "IP", "UDP", "TCP" or "ICMP"
    number: int | None  # of the protocol, or of the destination port
    both_ports: bool = False  # the source port is worth telling: real traffic has a usual one

    @property
    def rule(self) -> str:
        """As a rule's author would write it: "IP protocol 50 (ESP)", "UDP port 88 (Kerberos)"."""
        if self.transport == "ICMP":
            return self.title
        what = "protocol" if self.transport == "IP" else "port"
        name = _RULE_NAMES.get((self.transport, self.number))
        return f"{self.transport} {what} {self.number}" + (f" ({name})" if name else "")


_SERVICES = {
    "icmp-echo": Service("ICMP echo", "ICMP", None),
    "esp": Service("ESP", "IP", 50),
    "ah": Service("AH", "IP", 51),
    "ike": Service("IKE", "UDP", 500, both_ports=True),
    "ike-v1": Service("IKEv1", "UDP", 500, both_ports=True),
    "ike-nat-t": Service("IKE NAT-T", "UDP", 4500, both_ports=True),
    "esp-in-udp": Service("ESP in UDP", "UDP", 4500, both_ports=True),
    "nat-keepalive": Service("NAT keepalive", "UDP", 4500, both_ports=True),
    "kerberos-udp": Service("Kerberos", "UDP", 88),
    "kerberos-tcp": Service("Kerberos", "TCP", 88),
    "ike-noise": Service("noise, not IKE", "UDP", 500, both_ports=True),
    "kerberos-udp-noise": Service("noise, not Krb", "UDP", 88),
    "kerberos-tcp-noise": Service("noise, not Krb", "TCP", 88),
}
_RULE_NAMES: dict[tuple[str, int | None], str] = {
    ("IP", 50): "ESP",
    ("IP", 51): "AH",
    ("UDP", 500): "IKE",
    ("UDP", 4500): "IPsec NAT traversal",
    ("UDP", 88): "Kerberos",
    ("TCP", 88): "Kerberos",
    ("UDP", 1701): "L2TP",
}


def service(kind: str) -> Service:
    """The service behind a kind, ``udp:PORT`` and ``tcp:PORT`` included."""
    if kind in _SERVICES:
        return _SERVICES[kind]
    transport, _, port = kind.partition(":")
    if transport in ("udp", "tcp") and port.isdecimal():
        return Service(f"{transport.upper()} {port}", transport.upper(), int(port))
    return Service(kind, "IP", None)


def carrier(check: Check) -> str:
    """What carries the packets of a ``new`` check: "IP 50", "UDP 500→500", "TCP 88, 1400 B"."""
    known = service(check.kind)
    port = known.number if check.destination_port is None else check.destination_port
    if known.transport == "ICMP" or port is None:
        text = ""
    elif known.both_ports or (check.source_port is not None and known.transport != "IP"):
        text = f"{known.transport} {check.source_port or 'fresh'}→{port}"
    else:
        text = f"{known.transport} {port}"
    return ", ".join(filter(None, (text, size(check))))


def size(check: Check) -> str:
    """ "2000 B reversed"; "" for a check of natural size."""
    text = "" if check.size is None else f"{check.size} B"
    return f"{text} reversed" if check.fragmenting is Fragmenting.LAST_FIRST else text
