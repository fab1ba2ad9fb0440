"""How the far agent is reached: by TCP, by ssh, in packets of the tested kinds, or why not."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from agent.control import (
    Collect,
    Collected,
    Fire,
    Firing,
    Message,
    Open,
    Opened,
    Prepare,
    Prepared,
    Welcome,
)
from agent.ledger import Ledger
from agent.linux.host import Host as Sockets
from agent.model import Direction, Event, Kept, Side, Sighting, Volley
from agent.station import Station
from agent.wire.icmp import describe
from probe import plan as planning
from probe.drive import Settings
from probe.far.dial import LinkError, NoAgent, UnknownKey, Unreachable
from probe.far.link import INBAND_SECONDS, Here, M, There, connect, greet
from scenarios import load

if TYPE_CHECKING:
    from agent.strands import Strand
    from probe.far.inband import Called
    from probe.far.remembered import Remembered
    from probe.far.ssh import Shore, Ssh

PING_SECONDS = 1.0
OLD_KEY = (
    "the far host does not have the newest key yet: copy this host's key file to it, and then take "
    "the old key out on both with `probe keygen --retire`"
)


@dataclass(frozen=True, slots=True)
class Far:
    """``control``: "tcp", "inband", "ssh", or "auto": the second where the first fails.

    ``name``: the far host as it was typed.
    """

    address: str
    port: int
    keys: tuple[bytes, ...]  # the newest first
    control: str = "auto"
    name: str = ""
    ssh: Ssh | None = None


class Reach:
    """``near``: this host's own address. ``saw`` and ``show`` get what far tells unasked."""

    def __init__(
        self,
        far: Far,
        near: str,
        sockets: Sockets,
        ledger: Ledger,
        saw: Callable[[list[Sighting]], None],
        show: Callable[[list[Kept]], None],
        progress: Callable[[str, float], None],
    ) -> None:
        self._far = far
        self._near = near
        self._sockets = sockets
        self._ledger = ledger
        self._saw = saw
        self._show = show
        self._old_key = False
        self._no_tcp = False  # it was tried, and there was no agent
        self._progress = progress
        self._called: Called | None = None
        self._shore: Shore | None = None

    @property
    def control(self) -> str:
        if self._far.control == "ssh":
            return "ssh"
        return "tcp" if self._called is None else "inband"

    def notes(self) -> list[str]:
        """Whose packets carried the control messages; and that the newest key was of no use."""
        told = [OLD_KEY] if self._old_key else []
        if self._shore is not None:
            told.append(self._shore.note())
        if self._called is not None:
            out, back = self._called.ways()
            why = f" (no agent answers on TCP {self._far.port})" if self._no_tcp else ""
            told.append(
                f"there was no control connection{why}: control messages rode in {out} outbound "
                f"and in {back} inbound"
            )
        return told

    async def connect(self, family: int, source: str) -> tuple[There, Welcome]:
        """A greeted agent; ``source``: the address to come from, "": near's own.

        LinkError says what was tried, and what to do.
        """
        far, name = self._far, socket.gethostname()
        if far.control == "ssh":
            return await self._land(name, family, source)
        if far.control == "inband" or self._called is not None:  # once is enough to know
            return await self._call(name, source)
        try:
            return await self._dial(name, source)
        except NoAgent as error:
            words = str(error)
            self._no_tcp = True
            if far.control == "auto":
                from probe.far.inband import Silent

                self._progress(f"{far.address}: no agent answers on TCP {far.port}", 0.0)
                try:
                    return await self._call(name, source)
                except Silent as silent:
                    words = f"{error}. Besides, {silent}"
            if source:
                words += (
                    f". This was asked from {source}: the far host needs a way back to that "
                    "address, so it has to be one of this host's own network"
                )
            if not isinstance(error, Unreachable) or not error.silent or source:
                raise LinkError(words) from error
            raise LinkError(f"{words}. {await self._ping(family)}") from error

    async def _dial(self, name: str, source: str) -> tuple[There, Welcome]:
        """An agent that does not know the newest key yet is shown the one before it."""
        far = self._far
        unknown: UnknownKey | None = None
        for key in far.keys:
            try:
                found = await connect(
                    far.address, far.port, key, name, self._saw, source, self._show
                )
            except UnknownKey as error:
                unknown = unknown or error
                continue
            self._old_key = unknown is not None
            return found
        assert unknown is not None
        raise unknown

    def close(self) -> None:
        """Nobody is connected any more."""
        if self._shore is not None:
            self._shore.close()

    async def _land(self, name: str, family: int, source: str) -> tuple[There, Welcome]:
        """By ssh; the one agent serves every session of this run.

        The greeting's ``seen_as`` is "" where near's address in far's eyes is not known.
        """
        from probe.far.ssh import AGENT, Shore, Ssh

        far, source = self._far, source or self._near
        if self._shore is None:
            self._shore = Shore(far.ssh or Ssh(), self._near, far.address, far.name or far.address)
            await self._shore.start(self._progress)
        shore = self._shore
        if source not in shore.seen:
            shore.seen[source] = await self._scout(shore, name, family, source)
        seen_as = shore.seen[source]
        strand = shore.open(seen_as or source)
        there = _Forgetful(strand, self._ledger, self._saw, self._show)
        welcome = await greet(there, name, AGENT)
        return there, msgspec.structs.replace(welcome, seen_as=seen_as)

    async def _scout(self, shore: Shore, name: str, family: int, source: str) -> str:
        """What ``source``, an address of near's, becomes on its way to far; "" for unknown."""
        from probe.far.scout import Scout, plan
        from probe.far.ssh import AGENT

        self._progress("outbound: where do this host's packets come from, in far's eyes?", 0.0)

        def saw(found: list[Sighting]) -> None:
            scout.saw(found)

        strand = shore.open(source)
        there = There(strand.reader, strand.writer, saw)
        welcome = await greet(there, name, AGENT)
        own = welcome.address
        station = Station(Side.NEAR, self._sockets, self._ledger, saw, peer_own=own)
        addresses = source, self._far.address, own, ""
        scout = Scout(plan(family), Settings(), Here(station), there, addresses)
        there.on_lost = scout.wake
        try:
            await scout.run(secrets.token_bytes(32))
        finally:
            await there.close()
            station.close()
        return scout.found

    async def _call(self, name: str, source: str) -> tuple[There, Welcome]:
        """By packets of the kinds that are tested, without a port of its own."""
        from probe.far import inband

        far, near = self._far, source or self._near
        silent: inband.Silent | None = None
        for key in far.keys:
            try:
                called = await inband.call(far.address, near, key, self._ledger, self._progress)
                break
            except inband.Silent as error:
                silent = silent or error
        else:
            assert silent is not None
            raise silent
        self._called, self._old_key = called, silent is not None
        self._sockets.control = called.known
        line = called.line
        there = There(line.reader, line.writer, self._saw, self._show, INBAND_SECONDS)
        welcome = await greet(there, name, far.address)
        out, back = called.ways()
        self._progress(f"no TCP {far.port}: control in {out} out, {back} in", 0.0)
        return there, welcome

    async def _ping(self, family: int) -> str:
        """Nothing came back by TCP: is it the port, or the whole path?"""
        self._progress("no answer; trying a ping", 0.5)
        scenario = load("kb233256")
        plan = planning.make(scenario, family, (Direction.OUTBOUND,), ("icmp-echo",))
        seen: list[Sighting] = []
        station = Station(Side.NEAR, self._sockets, self._ledger, seen.extend)
        here = Here(station)
        request, reply = plan.checks
        message = Open(
            secrets.token_bytes(32), list(plan.checks), self._near, self._far.address, 0.0
        )
        await here.ask(message, Opened)
        try:
            volleys = [Volley(request.number, 1, 3)]
            await here.ask(Prepare(volleys), Prepared)
            await here.ask(Fire(volleys, PING_SECONDS / 5), Firing)
            await asyncio.sleep(PING_SECONDS)
            await here.ask(Collect(), Collected)
        finally:
            station.close()
        for sighting in seen:
            if sighting.event is Event.ARRIVED and sighting.check == reply.number:
                return (
                    f"{self._far.address} answers ping, so the route is there: allow TCP "
                    f"{self._far.port} towards it, or see whether the agent listens elsewhere"
                )
            if sighting.icmp is not None:
                what = describe(family, sighting.icmp.type, sighting.icmp.code)
                return f"{sighting.icmp.sender} answered a ping to it: {what}"
        forwarding = "net.ipv4.ip_forward" if family == 4 else "net.ipv6.conf.all.forwarding"
        return (
            "Ping brings nothing back either. Where nothing at all crosses, a route or IP "
            "forwarding at the gateway is missing (what KB 233256 names first), or the host is "
            "down: no filter for one protocol does this. Check the routes on both hosts, and on "
            f"the gateway: sysctl {forwarding}"
        )


class _Forgetful(There):
    """An agent that will be gone after the run; what it would remember, near does."""

    def __init__(
        self,
        strand: Strand,
        ledger: Ledger,
        saw: Callable[[list[Sighting]], None],
        show: Callable[[list[Kept]], None],
    ) -> None:
        super().__init__(strand.reader, strand.writer, self._saw, show)
        self._ledger = ledger
        self._tell = saw
        self._remembered: Remembered | None = None

    async def ask(self, message: Message, answer: type[M]) -> M:
        from probe.far.remembered import Remembered

        found = await super().ask(message, answer)
        if isinstance(message, Open) and isinstance(found, Opened):
            about = message.checks, message.local, message.peer
            self._remembered = Remembered(self._ledger, *about)
            found.priors.extend(self._remembered.priors(message.state_timeout))
        return found

    def _saw(self, sightings: list[Sighting]) -> None:
        if self._remembered is not None:
            self._remembered.saw(sightings)
        self._tell(sightings)
