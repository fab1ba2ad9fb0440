"""The shell of the far end: listens, greets whoever holds the key, and runs one station for each.

A connection that ends, for whatever reason, ends its run: nothing is sent after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from agent import __version__
from agent.access.door import Door
from agent.access.invite import Invitation
from agent.access.keyring import Keyring, NamedKey, identifier
from agent.config import Config
from agent.control import (
    STOPPED,
    Oops,
)
from agent.errors import AgentError, ControlError, in_one_line
from agent.inband.carriers import MOST_MARKERS
from agent.ledger import Ledger
from agent.linux import heap, privileges
from agent.linux.doorway import Doorway
from agent.linux.host import Host
from agent.linux.line import Line
from agent.linux.sockets import address_of
from agent.log import journal, status, tally
from agent.model import Side
from agent.session import AnyWriter, Session
from agent.station import moment, no_sockets
from agent.vigil import Vigil
from agent.wire.base import Packet

HELLO_SECONDS = 5.0
INBAND_HELLO_SECONDS = 20.0  # where a lost packet is sent again and again
CLOSE_SECONDS = 1.0
MOST_KEYS = MOST_MARKERS // 2  # of operators who may call in packets
REST_SECONDS = 1.0  # from the last session's end until its memory is given back
WRITE_SECONDS = 1.0  # flows that are seen this close together are written down together

log = logging.getLogger(journal.NAME)


class Daemon:
    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._host = Host()
        self._sessions: dict[asyncio.Task[None], tuple[NamedKey, tally.Session]] = {}
        self._totals = tally.Totals()
        self._door = Door(config.ring, self._accept)
        self._invitation: Invitation | None = None
        self._vigil = Vigil()
        self._doorway: Doorway | None = None
        self._callers: set[asyncio.Task[None]] = set()  # who came in by the doorway
        self._writing = False
        self._began = asyncio.get_running_loop().time()

    def open(self) -> None:
        """What is better had as root. AgentError without the privilege to work."""
        try:
            self._host.open()
        except OSError as error:
            raise AgentError(no_sockets(Side.FAR, error)) from error

    def read_tracking_by(self, opened: Callable[[], int]) -> None:
        """``opened`` gives a descriptor of the host's connection tracking in our stead."""
        self._host.open_tracking = opened

    async def start(self) -> None:
        """Listens, after :meth:`open`. OSError when the port is taken."""
        asyncio.get_running_loop().set_exception_handler(_note_trouble)
        self._door.open(self._config.listen, self._config.port)
        self._host.keep_vigil(self._glimpsed)
        self._tell_left_out()
        if self._config.inband:
            self._doorway = Doorway(self._keys(), self._ledger, self._admit, self._config.listen)
            self._host.control = self._doorway.known
            self._host.vacate = self._doorway.vacate
            try:
                self._doorway.open()
            except OSError as error:
                raise AgentError(no_sockets(Side.FAR, error)) from error

    def _keys(self) -> list[bytes]:
        return [named.key for named in self._door.ring]

    def _tell_left_out(self) -> None:
        if self._config.inband and len(self.ring) > MOST_KEYS:
            log.warning(
                "packets are looked through for the first %d of %d keys: who holds another needs "
                "the control port",
                *(MOST_KEYS, len(self.ring)),
            )

    def invite(
        self,
        keep: Callable[[str, bytes], NamedKey],
        say: Callable[[str], None],
        over: Callable[[], None],
    ) -> str:
        """Lets one operator pair; returns the code to be shown. See :class:`Invitation`."""

        def end(key: NamedKey | None) -> None:
            self._door.pair = None
            if key is not None:
                kept = [known for known in self._door.ring if known.name != key.name]
                self.take(Keyring((*kept, key)))
            over()

        self._invitation = Invitation(keep, say, end, self._config.permits)
        self._door.pair = self._invitation.serve
        return self._invitation.offer.code

    @property
    def ring(self) -> Keyring:
        """The keys that are taken."""
        return self._door.ring

    def take(self, ring: Keyring) -> None:
        """Other keys from now on. A session whose key is not among them is ended."""
        self._door.take(ring)
        self._tell_left_out()
        if self._doorway is not None:
            self._doorway.take_keys(self._keys())
            self._host.control = self._doorway.known
        for task, (key, _) in self._sessions.items():
            if ring.find(key.id) is None:
                log.warning("the key of %s was revoked: its session is ended", key.name)
                task.cancel(f"the key {key.name} was revoked at the agent")

    def _glimpsed(self, packet: Packet, outgoing: bool) -> None:
        """Live traffic, while nobody tests: the next run must know of it."""
        loop = asyncio.get_running_loop()
        if self._vigil.see(packet, outgoing, loop.time()) and not self._writing:
            self._writing = True
            loop.call_later(WRITE_SECONDS, self._write_down)

    def _write_down(self) -> None:
        self._writing = False
        for crossed, flows in self._vigil.take(asyncio.get_running_loop().time()).items():
            if flows:
                self._ledger.seen(flows, moment(), crossed=crossed)

    def status(self) -> status.Status:
        """For :mod:`agent.log.status`."""
        now = asyncio.get_running_loop().time()
        captured, dropped = self._host.captured()
        place = self._config.listen or "every address"
        return {
            "version": __version__,
            "pid": os.getpid(),
            "user": privileges.own_name(),
            "listens": f"{place}, TCP {self._config.port}",
            "uptime": now - self._began,
            "keys": sorted({key.name for key in self.ring}),
            "limits": {"sessions": self._config.sessions, **asdict(self._config.limits)},
            "sessions": [told.line(now) for _, told in self._sessions.values()],
            "totals": asdict(self._totals),
            "held": self._totals.held,
            "captured": captured,
            "capture_dropped": dropped,
            "memory_kib": status.memory_kib(),
        }

    async def stop(self) -> None:
        """Ends all sessions; their far shots stop at once."""
        if self._invitation is not None:
            self._invitation.close()
        await self._door.close()
        for task in self._callers:
            task.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        if self._doorway is not None:
            self._doorway.close()
        self._host.close()
        self._ledger.close()

    def _admit(self, line: Line, key: bytes) -> None:
        """Somebody who holds the key, and whose words ride in packets."""
        named = self._door.ring.find(identifier(key))
        if named is None:  # revoked a moment ago
            line.end()
            return
        self.admit(line.reader, line.writer, named, INBAND_HELLO_SECONDS)

    def admit(
        self,
        reader: asyncio.StreamReader,
        writer: AnyWriter,
        key: NamedKey,
        patience: float = HELLO_SECONDS,
    ) -> None:
        """Serves somebody who has proved to be who may, and did not come in by the port."""
        task = asyncio.create_task(self._accept(reader, writer, key, patience))
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)

    async def _accept(
        self,
        reader: asyncio.StreamReader,
        writer: AnyWriter,
        key: NamedKey,
        patience: float = HELLO_SECONDS,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = address_of(writer.get_extra_info("peername"))
        refusal: Oops | None = None
        if not self._config.permits(peer):
            refusal = Oops(
                "denied",
                f"the agent does not allow {peer}. On the far host, start it with --allow {peer}, "
                "beside what it allows already",
            )
        elif len(self._sessions) >= self._config.sessions:
            refusal = Oops(
                "busy",
                "the agent has as many sessions as it serves at once (its --max-sessions, "
                f"{self._config.sessions}); try again soon",
            )
        began = asyncio.get_running_loop().time()
        told = tally.Session(peer, began, key.name, writer.get_extra_info("control") or "tcp")
        if refusal is None:
            self._sessions[task] = key, told
        reason: str | None = None
        try:
            streams = reader, writer
            session = Session(self._config, self._host, self._ledger, streams, told, patience)
            await (session.refuse(refusal) if refusal else session.run())
        except ControlError as error:
            told.outcome, reason = "bad", str(error)
            session.say(Oops("bad", reason))
        except TimeoutError:
            told.outcome, reason = "silent", "it said nothing for too long"
        except OSError as error:
            told.outcome, reason = "broken", str(error)
        except asyncio.CancelledError as end:
            told.outcome, reason = "stopped", str(end) or None
            session.say(Oops(STOPPED, reason or "the agent was stopped"))
        except Exception as error:  # noqa: BLE001 - one session's end must not be the others'
            told.outcome, reason = "fault", in_one_line(error)
            session.say(Oops("bad", f"a fault in the agent: {reason}"))
        finally:
            self._sessions.pop(task, None)
            if refusal:
                self._totals.refused += 1
                who = {"peer": peer, "key": key.name, "control": told.control}
                journal.event("refused", logging.WARNING, **who, why=refusal.code)
            else:
                self._note(told, reason)
            await self._end(writer)
            if not self._sessions:
                asyncio.get_running_loop().call_later(REST_SECONDS, self._rest)

    def _rest(self) -> None:
        if not self._sessions:
            heap.give_back()

    def _note(self, told: tally.Session, reason: str | None) -> None:
        """The one line about a session."""
        self._totals.add(told)
        level = logging.INFO if reason is None else logging.WARNING
        line = told.line(asyncio.get_running_loop().time())
        journal.event("session", level, **line, reason=reason)
        for trouble in self._ledger.news():
            log.warning("%s", trouble)

    @staticmethod
    async def _end(writer: AnyWriter) -> None:
        """Closes politely, for as long as the other end plays along."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                writer.close()
                await writer.wait_closed()
        writer.transport.abort()


def _note_trouble(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What goes wrong outside of any session: one line in the log, and the agent serves on."""
    error = context.get("exception")
    what = in_one_line(error) if error is not None else context.get("message", "")
    log.error("a fault in the agent: %s", what)
