"""One IP packet → its fragments (RFC 791, 3.2; RFC 8200, 4.5), to be sent in an order of our own.

A kernel sends the first fragment first. Real paths do not keep that order, and what drops a
fragment that comes before the first one breaks IKE with certificates all the same.
"""

from __future__ import annotations

import hashlib

from agent.wire import ip
from agent.wire.base import Path

MOST = 1280  # octets of each fragment: every path carries that much (RFC 8200, 5)
MORE = 1


def split(path: Path, protocol: int, body: bytes, hops: int = 64) -> list[bytes]:
    """The IP packets, headers included, that together carry ``body``, the first part first.

    ``body`` is what follows the IP header. Where it fits in MOST octets it is cut in two all the
    same. WireError when it is too short for that, or longer than IP can carry.
    """
    overhead = 20 if path.family == 4 else 48
    step = (MOST - overhead) // 8 * 8
    if len(body) <= step:
        step = max(8, len(body) // 16 * 8)
    if len(body) <= step:
        raise ip.too_small("a packet in fragments", overhead + len(body), overhead + 16)
    # One name for all the parts, and another for every other packet between the two hosts.
    name = hashlib.blake2s(body, digest_size=4).digest()
    make = _part4 if path.family == 4 else _part6
    return [
        make(path, protocol, name, at, body[at : at + step], at + step < len(body), hops)
        for at in range(0, len(body), step)
    ]


def _part4(
    path: Path, protocol: int, name: bytes, at: int, piece: bytes, more: bool, hops: int
) -> bytes:
    identification = int.from_bytes(name[:2], "big") or 1  # Linux fills in a zero by itself
    whole = ip.ipv4_header(
        path.source, path.destination, protocol, len(piece), identification, hops
    )
    word = (0x2000 if more else 0) | at // 8
    blank = whole[:6] + word.to_bytes(2, "big") + whole[8:10] + b"\0\0" + whole[12:]
    return blank[:10] + ip.checksum(blank).to_bytes(2, "big") + blank[12:] + piece


def _part6(
    path: Path, protocol: int, name: bytes, at: int, piece: bytes, more: bool, hops: int
) -> bytes:
    header = bytes((protocol, 0)) + (at | (MORE if more else 0)).to_bytes(2, "big") + name
    length = len(header) + len(piece)
    return ip.ipv6_header(path.source, path.destination, ip.FRAGMENT, length, hops) + header + piece
