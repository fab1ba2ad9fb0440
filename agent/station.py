"""One run at one endpoint: the engine, joined to sockets, clock and ledger.

Both hosts have one and are asked alike, by the messages of :mod:`agent.control`: the far one over
the control connection, the near one directly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from agent import orders
from agent.album import MOST
from agent.control import (
    Answer,
    Answering,
    AnyMessage,
    Await,
    Awaiting,
    Close,
    Closed,
    Collect,
    Collected,
    Fire,
    Firing,
    Message,
    Oops,
    Open,
    Opened,
    Prepare,
    Prepared,
)
from agent.engine import Engine
from agent.errors import AgentError
from agent.events import (
    Action,
    AnswerLate,
    Connect,
    FireVolleys,
    Input,
    Sent,
    Tick,
    Transmit,
    Write,
)
from agent.ledger import TRANSLATED, Ledger, Moment, Tuple5
from agent.limits import Bucket, granted
from agent.linux import conntrack
from agent.linux.host import Host
from agent.linux.outage import Outlook
from agent.model import (
    OVER_RATION,
    Check,
    Event,
    Facts,
    Flow,
    Kept,
    Limits,
    PortUse,
    Prior,
    Side,
    Sighting,
    Tag,
    Volley,
)
from agent.ration import Ration
from agent.wire.base import Codec, Keys

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BATCH_SECONDS = 0.005  # sightings that come this close together travel together


def moment() -> Moment:
    """This very moment by this host's clocks."""
    try:
        boot = BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return Moment(boot, time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


class Station:
    """``report`` is called with each batch of sightings, in the order in which they were made;
    ``show`` with the packets themselves, where the run asks for them.

    ``limits``: how much a run may send from here; None for as much as it orders. ``peer_own``: the
    peer's address as it has it itself, which only near can know (from the agent's greeting).
    ``ration``: what limits IKE where no agent of ours answers; None where one does. ``permits``:
    whether shots from that address may be answered, where the peer says that it is its own too.
    """

    engine: Engine
    _family: int
    _outlook: Outlook

    def __init__(
        self,
        side: Side,
        host: Host,
        ledger: Ledger,
        report: Callable[[list[Sighting]], None],
        show: Callable[[list[Kept]], None] = lambda _packets: None,
        limits: Limits | None = None,
        peer_own: str = "",
        ration: Ration | None = None,
        permits: Callable[[str], bool] = lambda _address: True,
    ) -> None:
        self.side = side
        self._host = host
        self._ledger = ledger
        self._report = report
        self._show = show
        self._limits = limits
        self._peer_own = peer_own
        self._ration = ration
        self._permits = permits
        self._pending: list[Sighting] = []
        self._kept: list[Kept] = []
        self._arrived: dict[int, str] = {}
        self._left: set[int] = set()
        self._remembered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._joined = False
        self._base = (0, 0, 0, 0)
        self._troubles: list[str] = []
        self.strangers = 0  # of the runs that are over

    # -- messages ----------------------------------------------------------------------------

    def handle(self, message: Message) -> AnyMessage:
        """The answer to one question. AgentError when it cannot be answered here."""
        if isinstance(message, Open):
            return self._open(message)
        if not self._joined:
            return Oops("bad", "no run has been opened")
        if isinstance(message, Prepare | Await | Collect):  # before and behind every round
            self._host.give_way()
        match message:
            case Prepare(volleys, ports):
                orders.check_volleys(self.engine.checks, self._originated(), volleys)
                orders.check_ports(self.engine.checks, ports)
                agreed = {Tag(use.check, use.shot): use.port for use in ports}
                return self._prepare(self.engine.fresh_ports_needed(volleys), agreed)
            case Await(ports, addresses):
                orders.check_ports(self.engine.checks, ports)
                orders.check_addresses(self._family, addresses, self.engine.answers.vouched)
                self.engine.answers.vouch(filter(self._permits, addresses))
                for use in ports:
                    self.engine.peer_port(Tag(use.check, use.shot), use.port)
                return Awaiting()
            case Fire(volleys, gap):
                orders.check_volleys(self.engine.checks, self._originated(), volleys)
                orders.check_gap(gap)
                self.engine.check_room(volleys, gap, asyncio.get_running_loop().time())
                self.feed(FireVolleys(volleys, gap))
                return Firing()
            case Answer(late, gap):
                orders.check_late(self.engine.checks, self._originated(), late)
                orders.check_gap(gap)
                volley = Volley(late.check, late.first, late.count)
                self.engine.check_room([volley], gap, asyncio.get_running_loop().time())
                self.feed(AnswerLate(late, gap))
                return Answering()
            case Collect():
                self._host.catch_up()
                self.flush()
                return Collected(self.facts())
            case Close():
                self.close()
                return Closed()
            case _:
                return Oops("bad", f"a {type(message).__name__} is no question")

    def _open(self, message: Open) -> Opened | Oops:
        if self._joined:
            return Oops("bad", "a run is open already")
        orders.check_open(message)
        keys = Keys(message.secret, message.client)
        grant = granted(self._limits, message.asked) if self._limits is not None else None
        self.engine = Engine(
            self.side,
            keys,
            message.checks,
            message.local,
            message.peer,
            Bucket(grant) if grant is not None else None,
            lambda address: self._host.serves(address, but=self),
            self._peer_own,
            keep=message.keep,
        )
        priors = self._priors(message)
        self._family = message.checks[0].family
        self._outlook = Outlook(message.local, message.peer)
        try:
            self._host.join(self)
        except OSError as error:
            self._outlook.close()
            raise AgentError(no_sockets(self.side, error)) from error
        self._joined = True
        self._base = self._counters()
        return Opened(self.facts(), priors, grant)

    def _originated(self) -> list[Check]:
        return [check for check in self.engine.checks.values() if self.engine.originates(check)]

    def _prepare(self, needed: list[tuple[Tag, Codec]], agreed: Mapping[Tag, int]) -> Prepared:
        uses: list[PortUse] = []
        for tag, kind in needed:
            try:
                port = self._host.open_fresh(self, tag, kind, agreed.get(tag, 0))
            except OSError as error:
                self._troubles.append(f"no source port for {tag}: {error.strerror}")
                continue
            self.engine.own_port(tag, port)
            uses.append(PortUse(tag.check, tag.shot, port))
        return Prepared(uses)

    def _counters(self) -> tuple[int, int, int, int]:
        host = self._host
        return *host.captured(), host.overflowed(), host.malformed

    def facts(self) -> Facts:
        captured, missed, overflowed, malformed = self._counters()
        return Facts(
            captured=captured - self._base[0],
            capture_dropped=missed - self._base[1],
            socket_dropped=overflowed - self._base[2],
            held=self._host.held(),
            tracked=conntrack.count(),
            live=tuple(sorted(self.engine.live)),
            carried_out=tuple(sorted(self.engine.crossed.carried[True])),
            carried_in=tuple(sorted(self.engine.crossed.carried[False])),
            nameless=tuple(sorted(self.engine.nameless)),
            strangers=self.engine.strangers + malformed - self._base[3],
            duplicates=self.engine.duplicates,
            interrupted=self._outlook.trouble(),
            troubles=(*self._troubles, *self._left_out(), *self._ledger.troubles),
        )

    def _left_out(self) -> list[str]:
        count = self.engine.album.left_out
        if not count:
            return []
        return [f"the capture file holds the first {MOST >> 20} MiB; {count} packets are left out"]

    # -- engine and clock --------------------------------------------------------------------

    def feed(self, event: Input) -> None:
        now = asyncio.get_running_loop().time()
        self._perform(self.engine.handle(event, now))
        self._set_timer()

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Sighting():
                    self._note(action)
                case Kept():
                    self._kept.append(action)
                    self._flush_soon()
                case Transmit():
                    error = OVER_RATION if self._over(action) else self._host.transmit(action)
                    self._sent(action, error)
                case Write():
                    error = self._host.write(action)
                    self._sent(action, error)
                case Connect():
                    self._sent(action, "")
                    self._host.connect(self, action)

    def _over(self, action: Transmit) -> bool:
        if self._ration is None or not action.codec.rationed:
            return False
        return not self._ration.take(self.engine.peer, moment())

    def _sent(self, action: Transmit | Write | Connect, error: str) -> None:
        event = Sent(action.tag, time.time(), action.path, error, action.data)
        self._perform(self.engine.handle(event, asyncio.get_running_loop().time()))

    def _set_timer(self) -> None:
        deadline = self.engine.deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self.feed, Tick())

    # -- sightings ---------------------------------------------------------------------------

    def _note(self, sighting: Sighting) -> None:
        if sighting.event is Event.UNSENT:  # the engine's clock is not that of the calendar
            sighting = replace(sighting, time=time.time())
        self._pending.append(sighting)
        if sighting.event is Event.ARRIVED:
            self._arrived[sighting.check] = sighting.source
        told = sighting.icmp is not None and sighting.icmp.sender == self.engine.peer
        if sighting.event is Event.REPLIED or told:  # no answer without a request that crossed
            self._arrived.setdefault(sighting.check, self.engine.peer)
        if sighting.event is Event.LEFT:
            self._left.add(sighting.check)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Passes on what waits."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if len(self._arrived) + len(self._left) > self._remembered:
            # At once, not at the end: should this program be killed, the next run must know.
            self._remembered = len(self._arrived) + len(self._left)
            self._remember()
        if self._pending:
            batch, self._pending = self._pending, []
            self._report(batch)
        if self._kept:
            packets, self._kept = self._kept, []
            self._show(packets)

    # -- ledger ------------------------------------------------------------------------------

    def _tuple(self, check: Check, remote: str) -> Tuple5 | None:
        """The tuple of a check when it is the same at every run; None where ports are fresh."""
        kind = self.engine.codecs[check.kind]
        protocol = kind.protocol(check.family)
        local, remote = (address.partition("%")[0] for address in (self.engine.local, remote))
        if kind.port is None:
            if protocol in (1, 58):
                return None  # every echo request has an identifier of its own
            return Tuple5(check.family, protocol, local, 0, remote, 0)
        if check.source_port is None or check.destination_port is None:
            return None
        ports = (check.source_port, check.destination_port)
        here, there = ports if self.engine.originates(check) else ports[::-1]
        return Tuple5(check.family, protocol, local, here, remote, there)

    def _priors(self, message: Open) -> list[Prior]:
        now = moment()
        found: list[Prior] = []
        tracked = self._tracked(message) if conntrack.count() else []
        for check in message.checks:
            flow = self._tuple(check, message.peer) if check.flow is Flow.NEW else None
            if flow is None:
                continue
            what = "a flow that its own connection tracking still holds,"
            held = [entry for entry in tracked if entry.flow == flow]
            found += [Prior(check.number, 0.0, what, entry.crossed) for entry in held]
            for crossed in (True, False):
                known = self._ledger.age(flow, now, crossed=crossed)
                if known is not None and known[0] <= message.state_timeout:
                    found.append(Prior(check.number, known[0], known[1], crossed))
        return found

    def _tracked(self, message: Open) -> list[conntrack.Tracked]:
        try:
            return conntrack.between(message.local, message.peer, self._host.open_tracking)
        except PermissionError:
            self._troubles.append(
                "this host's own connection tracking is for root to read; what it let in before "
                "this program began to look may be called pass"
            )
            return []

    def _remember(self) -> None:
        """What crossed; and what left here, which may have opened whatever it met on its way."""
        flows: list[tuple[Tuple5, str]] = []
        for number in {*self._arrived, *self.engine.live}:
            check = self.engine.checks[number]
            ours = number in self._arrived
            remote = self._arrived.get(number, self.engine.peer)
            flow = self._tuple(check, remote)
            if flow is not None:
                flows.append((flow, "an earlier run" if ours else "traffic that is not ours"))
            if flow is not None and flow.remote != self.engine.remote:
                aimed = replace(flow, remote=self.engine.remote)  # by what this end sends
                flows.append((aimed, TRANSLATED))
        if flows:
            self._ledger.seen(flows, moment())
        gone = [self._tuple(self.engine.checks[n], self.engine.peer) for n in self._left]
        sent = [(flow, "a shot of an earlier run") for flow in gone if flow is not None]
        if sent:
            self._ledger.seen(sent, moment(), crossed=False)

    def close(self) -> None:
        """Stops sending at once, keeps the ledger, gives the sockets back."""
        if not self._joined:
            return
        self._joined = False
        self.strangers += self.engine.strangers + self._host.malformed - self._base[3]
        self.engine.stop()
        self.flush()
        for timer in (self._timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._flush_timer = None
        self._remember()
        self._outlook.close()
        self._host.leave(self)


def no_sockets(side: Side, error: OSError) -> str:
    """Why this host cannot take part, and what to do."""
    if isinstance(error, PermissionError):
        return PRIVILEGE.format(side=side)
    return f"the {side} host cannot open the sockets it needs: {error.strerror or error}"


PRIVILEGE = (
    "the {side} host lets this program open no raw sockets. Run it as root, or grant the "
    "capabilities: setcap cap_net_raw,cap_net_bind_service+ep on a Python of its own, or a systemd "
    "unit with AmbientCapabilities=CAP_NET_RAW CAP_NET_BIND_SERVICE"
)
