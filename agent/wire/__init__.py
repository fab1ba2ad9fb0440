"""Bytes to records and back: one module for each kind, behind the interface in ``base``.

A kind's module is imported when its codec is first asked for. None of them imports scapy: what
scapy built once lies in ``templates.json``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

from agent.wire.base import Codec, UnknownKind

__all__ = ["KINDS", "Codec", "UnknownKind", "codec", "is_kind"]

_CODECS = {  # kind: (module, class)
    "esp": ("esp", "Esp"),
    "ah": ("ah", "Ah"),
    "ike": ("ike", "Ike"),
    "ike-v1": ("ike1", "Ike1"),
    "ike-nat-t": ("natt", "IkeNatT"),
    "esp-in-udp": ("natt", "EspInUdp"),
    "nat-keepalive": ("natt", "NatKeepalive"),
    "kerberos-udp": ("kerberos", "KerberosUdp"),
    "kerberos-tcp": ("kerberos", "KerberosTcp"),
    "icmp-echo": ("icmp", "IcmpEcho"),
    "ike-noise": ("noise", "IkeNoise"),
    "kerberos-udp-noise": ("noise", "KerberosUdpNoise"),
    "kerberos-tcp-noise": ("noise", "KerberosTcpNoise"),
}

KINDS: tuple[str, ...] = tuple(_CODECS)  # ``udp:PORT`` and ``tcp:PORT`` are kinds as well

_PORT_KIND = re.compile(r"(udp|tcp):([1-9][0-9]{0,4})")


def is_kind(name: str) -> bool:
    """Whether it has a codec."""
    port = _PORT_KIND.fullmatch(name)
    return name in _CODECS or (port is not None and int(port[2]) <= 65535)


@cache
def codec(name: str) -> Codec:
    """The codec of a kind, the same object every time. UnknownKind for any other name."""
    if name in _CODECS:
        module, kind = _CODECS[name]
        made = getattr(import_module(f"agent.wire.{module}"), kind)()
        assert isinstance(made, Codec)
        return made
    if not is_kind(name):
        raise UnknownKind(_unknown(name))
    from agent.wire.port import PortCodec

    transport, _, port = name.partition(":")
    return PortCodec(transport, int(port))


def _unknown(name: str) -> str:
    import difflib  # only on the way to an error, and never while an agent serves

    near = difflib.get_close_matches(name.lower(), KINDS, n=1)
    if near:
        return f"there is no kind {name!r}; did you mean {near[0]!r}?"
    if name.lower().startswith(("udp", "tcp")):
        return f"there is no kind {name!r}; a port is given as udp:1701 or tcp:445 (1 to 65535)"
    return f"there is no kind {name!r}; known are {', '.join(KINDS)}, udp:PORT and tcp:PORT"
