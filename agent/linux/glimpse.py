"""The capture between two runs: a look now and then, which costs a busy gateway nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.linux.capture import BATCH, Capture
from agent.vigil import PORTS, PROTOCOLS
from agent.wire.base import Packet

BLIND_SECONDS = 1.0  # after a batch of packets


class Glimpses:
    """``see`` gets at most a batch of IPsec packets each second, and whether they go out."""

    def __init__(self, capture: Capture, see: Callable[[Packet, bool], None]) -> None:
        self._capture = capture
        self._see = see
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, after: float) -> None:
        """Blind for ``after`` seconds, then watchful until :meth:`stop`."""
        self.stop()
        self._capture.watch(set(), set())
        self._timer = asyncio.get_running_loop().call_later(after, self._wake)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._seen = 0
        self._capture.watch(set(PROTOCOLS), set(PORTS))

    def take(self, packet: Packet, outgoing: bool) -> None:
        self._seen += 1
        if self._seen == BATCH:
            self.begin(BLIND_SECONDS)
        if self._seen <= BATCH:
            self._see(packet, outgoing)
