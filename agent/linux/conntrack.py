"""What this host's own connection tracking knows: traffic from before we began to look.

Read from /proc where the kernel offers it; on a host that tracks nothing there is nothing to read.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.ledger import Tuple5

COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
TABLE = Path("/proc/net/nf_conntrack")
LONGEST = 200_000  # lines; a busy gateway has as many, and reading them takes a second


@dataclass(frozen=True, slots=True)
class Tracked:
    """One entry, as seen from this host. ``crossed``: something of it came here from afar."""

    flow: Tuple5
    crossed: bool


def count() -> int:
    """Entries in this network namespace's connection tracking; 0 where none is at work."""
    try:
        return int(COUNT.read_text())
    except (OSError, ValueError):
        return 0


def open_table() -> int:
    """A descriptor to read it by. PermissionError for all but root, OSError where there is none."""
    return os.open(TABLE, os.O_RDONLY)


def between(local: str, remote: str, opened: Callable[[], int] = open_table) -> list[Tracked]:
    """The entries of flows between two addresses, whoever opened them.

    Empty where the kernel offers no table. PermissionError where it is not for us to read.
    """
    try:
        with open(opened(), encoding="ascii", errors="replace") as lines:
            return list(parse(lines, local, remote))
    except PermissionError:
        raise
    except OSError:
        return []


def parse(lines: Iterable[str], local: str, remote: str) -> Iterator[Tracked]:
    """``lines`` as in /proc/net/nf_conntrack: "ipv4 2 udp 17 29 src=… dst=… sport=… dport=… …"."""
    ends = {_same(local), _same(remote)}
    for number, line in enumerate(lines):
        if number >= LONGEST:
            return
        words = line.split()
        if len(words) < 7 or not words[3].isdecimal():
            continue
        first: dict[str, str] = {}  # the original direction; the reply's keys come again later
        for word in words[4:]:
            key, equals, value = word.partition("=")
            if equals:
                first.setdefault(key, value)
        if {_same(first.get("src", "")), _same(first.get("dst", ""))} != ends:
            continue
        outgoing = _same(first["src"]) == _same(local)
        ports = (_port(first.get("sport")), _port(first.get("dport")))
        here, there = ports if outgoing else ports[::-1]
        family = 6 if ":" in first["src"] else 4
        flow = Tuple5(family, int(words[3]), local, here, remote, there)
        yield Tracked(flow, not outgoing or "[UNREPLIED]" not in words)


def _same(address: str) -> str:
    """One spelling for an address: the table writes IPv6 in full."""
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return address


def _port(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
