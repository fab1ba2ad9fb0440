"""Far's end of control without a port: packets in, sessions out."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import time
from collections.abc import Callable, Sequence

from agent.inband.box import session_of
from agent.inband.carriers import Ridden
from agent.inband.door import Admitted, Door
from agent.inband.known import Known
from agent.inband.ways import STREAM
from agent.ledger import Ledger
from agent.linux.line import Line
from agent.linux.post import Post
from agent.log import journal
from agent.model import Side

TELL_SECONDS = 60.0  # between two lines of the log about the same

log = logging.getLogger(journal.NAME)


class Doorway:
    """``admit`` gets the line of each peer that has proved to hold one of ``keys``, and which.

    ``listen``: the only address of this host that answers; None: every one.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        ledger: Ledger,
        admit: Callable[[Line, bytes], None],
        listen: str | None = None,
    ) -> None:
        self._door = Door(keys, ledger.fresh, secrets.token_bytes, time.time, self._stale)
        self._told = float("-inf")  # when, of a stale opening
        self._post = Post(self._door.markers, ledger, self._delivered, Side.FAR)
        self._admit = admit
        self._listen = _only(listen)
        self._lines: dict[bytes, Line] = {}  # by session

    @property
    def known(self) -> Known:
        """What the packets of this post are known by."""
        return Known(self._door.markers, self._post.streams.ends)

    def take_keys(self, keys: Sequence[bytes]) -> None:
        """In place of those so far."""
        self._door.take_keys(keys)
        self._post.watch_for(self._door.markers)

    def open(self) -> None:
        """Raises OSError without the privilege for it."""
        self._post.open()

    def vacate(self) -> None:
        """A run is to listen on TCP 88."""
        self._post.streams.vacate()

    def close(self) -> None:
        for line in tuple(self._lines.values()):
            line.end()
        self._post.close()

    def _delivered(self, ridden: Ridden, box: bytes) -> None:
        if self._listen is not None and ridden.path.destination != self._listen:
            return
        line = self._lines.get(session_of(box))
        if line is not None:
            if line.take(box, ridden):
                self._post.took(ridden)
            return
        answer = self._door.receive(box, ridden, asyncio.get_running_loop().time())
        if isinstance(answer, Admitted):
            self._post.took(ridden)
            self._begin(answer, box, ridden)
        elif answer:
            self._post.took(ridden)
            if ridden.kind == STREAM.kind:
                self._post.streams.listen(ridden.path)
            self._post.send(answer)

    def _begin(self, admitted: Admitted, box: bytes, ridden: Ridden) -> None:
        session = admitted.session
        id = session.keys.id
        names = admitted.local, admitted.peer

        def forget() -> None:
            del self._lines[id]
            self._door.forget(id)

        line = Line(session, names, self._post.send, forget)
        self._lines[id] = line
        self._admit(line, admitted.key)
        line.take(box, ridden)

    def _stale(self, peer: str, ahead: float) -> None:
        """Near hears nothing at all, so that somebody here must."""
        now = asyncio.get_running_loop().time()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            log.warning(
                "control messages in packets from %s get no answer: that host's clock is %+.0f s "
                "from this one's, or somebody plays a record of them",
                *(peer, ahead),
            )


def _only(listen: str | None) -> str | None:
    """The address as packets show it; None for "every address", however that is written."""
    if listen is None:
        return None
    address = ipaddress.ip_address(listen.partition("%")[0])
    return None if address.is_unspecified else str(address)
