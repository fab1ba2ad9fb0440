"""TCP segments from ports that nobody announced: a NAT may have given a shot of ours such a port.

They are held until a request names its shot; until then, and for good where none does, they count
as strangers. Sans-IO.
"""

from __future__ import annotations

from agent.events import Captured

MOST = 4000  # segments: some kB each


class Unclaimed:
    def __init__(self) -> None:
        self._held: dict[tuple[str, int | None], list[Captured]] = {}
        self._room = MOST
        self.count = 0  # all of them, also those there was no room for

    def hold(self, event: Captured) -> None:
        if self._room:
            self._room -= 1
            source = event.packet.source, event.packet.source_port
            self._held.setdefault(source, []).append(event)
        self.count += 1

    def claim(self, source: str, port: int) -> list[Captured]:
        """The segments that came from there so far."""
        found = self._held.pop((source, port), [])
        self.count -= len(found)
        self._room += len(found)
        return found
