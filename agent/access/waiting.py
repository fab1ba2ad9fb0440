"""Who stands at the door and has proved nothing yet: few at once, and nobody in another's way.

Whoever can reach the port can fill it with connections that say nothing. So there is room for a
bounded number, in all and from each address, and the oldest makes room for the newest: a client
that holds a key proves it within a round trip, long before its turn to go comes. Where the whole
room is taken it is the address with the most connections that gives one up. Sans-IO.
"""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

ROOM = 96
ROOM_EACH = 32  # connections of one address

C = TypeVar("C")


class Waiting(Generic[C]):
    def __init__(self, room: int = ROOM, each: int = ROOM_EACH) -> None:
        self._room = room
        self._each = each
        self._of: dict[str, dict[C, None]] = {}  # by where they come from, the oldest first
        self._from: dict[C, str] = {}

    def come(self, connection: C, address: str) -> C | None:
        """One more; returns the one that has to go for it."""
        whence = _network(address)
        theirs = self._of.get(whence, {})
        leaving = None
        if len(theirs) >= self._each:
            leaving = next(iter(theirs))
        elif len(self._from) >= self._room:
            fullest = max(self._of, key=lambda place: len(self._of[place]))
            leaving = next(iter(self._of[fullest]))
        if leaving is not None:
            self.go(leaving)
        self._from[connection] = whence
        self._of.setdefault(whence, {})[connection] = None
        return leaving

    def go(self, connection: C) -> None:
        """It has been let in, or is gone. May be told twice."""
        whence = self._from.pop(connection, None)
        if whence is None:
            return
        del self._of[whence][connection]
        if not self._of[whence]:
            del self._of[whence]

    def __len__(self) -> int:
        return len(self._from)


def _network(address: str) -> str:
    """In IPv6 one host has a whole /64 to come from."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
