"""This machine's sockets. Several runs share them: each is told everything and knows its own.

A port that another program holds is never taken from it: what reaches it is watched through a raw
socket, and what should leave from it is sent raw.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
import time
from collections.abc import Callable
from typing import Protocol

from agent.engine import Engine
from agent.errors import WireError
from agent.events import (
    Answered,
    Captured,
    Connect,
    Connected,
    Control,
    Input,
    Received,
    Requested,
    Transmit,
    Write,
)
from agent.inband.known import Known
from agent.linux import conntrack, sockets
from agent.linux.capture import Capture, wanted
from agent.linux.glimpse import Glimpses
from agent.linux.sockets import TCP, UDP
from agent.model import Flow, Fragmenting, PortHeld, Tag
from agent.pieces import Pieces
from agent.vigil import FRESH_ENOUGH
from agent.wire import ip
from agent.wire.base import Codec, Packet, Path
from agent.wire.fragment import split

LARGEST_REQUEST = 65_536
CONNECTION_SECONDS = 30.0  # a connection to one of our listeners lives no longer
MAX_CONNECTIONS = 512
MAX_STRANGERS = 256  # who is no run's other host leaves room for those who are
CATCH_UP = 200  # times a batch of frames: some 50,000, more than the capture's buffer holds
LIMITED_SECONDS = 0.9  # for a connection with a TTL: Linux sends its second SYN after 1 s


class Run(Protocol):
    """One run at this endpoint."""

    engine: Engine

    def feed(self, event: Input) -> None: ...


class Host:
    """Opens nothing before the first run joins; PermissionError without CAP_NET_RAW."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._capture: Capture | None = None
        self._raw: dict[tuple[int, int], socket.socket] = {}
        self._services: dict[tuple[int, int, str, int], socket.socket] = {}
        self._fresh: dict[tuple[int, str, int], tuple[Run, socket.socket]] = {}
        self._fresh_of: dict[tuple[int, Tag], socket.socket] = {}
        self._held: dict[tuple[int, int, str, int], PortHeld] = {}
        # Each with its socket, and the run it belongs to; None: to all of them.
        self._tasks: dict[asyncio.Task[None], tuple[socket.socket, Run | None]] = {}
        self._connections: dict[int, socket.socket] = {}
        self._numbers = itertools.count(1)
        self._overflowed = 0
        self.malformed = 0  # packets that came in and are none
        self._glimpses: Glimpses | None = None
        self.control = Known()
        self.vacate: Callable[[], None] = lambda: None  # of what else here listens by TCP
        self._pieces = Pieces()
        self.open_tracking = conntrack.open_table  # another where this process is not the one to

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    # -- runs come and go --------------------------------------------------------------------

    def open(self) -> None:
        """Opens the capture, which sees nothing as long as there is no run."""
        if self._capture is None:
            self._capture = Capture()
            self._loop.add_reader(self._capture, self._on_frames)

    def join(self, run: Run) -> None:
        """Opens what the run's checks need. OSError, and all as before, when it cannot be had."""
        self.open()
        self._runs.append(run)
        try:
            self._open_all(run.engine)
        except OSError:
            self.leave(run)
            raise
        self._watch()

    def _open_all(self, engine: Engine) -> None:
        for check in engine.checks.values():
            kind = engine.codecs[check.kind]
            protocol = kind.protocol(check.family)
            if kind.port is None:
                self._open_raw(check.family, protocol)
            elif not engine.originates(check):
                if check.flow is Flow.NEW:
                    self._open_service(check.family, kind, engine.local, kind.port)
            elif check.flow is Flow.NEW and check.source_port is not None:
                self._open_service(check.family, kind, engine.local, check.source_port)

    def leave(self, run: Run) -> None:
        """Closes what no other run needs; the capture stays, blind."""
        self._runs.remove(run)
        busy = set()  # to be closed when the event loop has let go of them
        for task, (sock, owner) in self._tasks.items():
            busy.add(sock)
            if owner is run or not self._runs:
                task.cancel()
        for key in [key for key, (owner, _) in self._fresh.items() if owner is run]:
            sock = self._fresh.pop(key)[1]
            if sock not in busy:
                self._discard(sock)
        for mine in [mine for mine in self._fresh_of if mine[0] == id(run)]:
            del self._fresh_of[mine]
        if self._runs:
            self._watch()
            return
        for sock in (*self._raw.values(), *self._services.values()):
            self._discard(sock)
        for table in (self._raw, self._services, self._held):
            table.clear()
        self._watch()

    def close(self) -> None:
        """Closes everything. No run may be left."""
        if self._glimpses is not None:
            self._glimpses.stop()
        if self._capture is not None:
            self._loop.remove_reader(self._capture)
            self._capture.close()
            self._capture = None

    def keep_vigil(self, see: Callable[[Packet, bool], None]) -> None:
        """While there is no run, ``see`` gets some of the IPsec packets that come and go."""
        self.open()
        assert self._capture is not None
        self._glimpses = Glimpses(self._capture, see)
        self._glimpses.begin(0.0)

    def serves(self, address: str, but: Run | None = None) -> bool:
        """Whether a run, other than ``but``, is with the host of that address."""
        with_it = (run for run in self._runs if run.engine.peer.partition("%")[0] == address)
        return any(run is not but for run in with_it)

    def _watch(self) -> None:
        if self._glimpses is not None:
            self._glimpses.stop()
            if not self._runs:  # what is still on its way was the run's own
                self._glimpses.begin(FRESH_ENOUGH)
                return
        if self._capture is not None:
            if any(run.engine.album.asked for run in self._runs):
                self._capture.tell_checksums()
            engines = [run.engine for run in self._runs]
            asked = [(c.family, e.codecs[c.kind]) for e in engines for c in e.checks.values()]
            self._capture.watch(*wanted(asked))

    def _discard(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        with contextlib.suppress(OSError):
            self._overflowed += sockets.dropped(sock)
        sock.close()

    # -- what this host knows of itself ------------------------------------------------------

    def held(self) -> tuple[PortHeld, ...]:
        return tuple(sorted(set(self._held.values()), key=lambda held: (held.protocol, held.port)))

    def captured(self) -> tuple[int, int]:
        """(packets captured, packets that the capture had no room for)."""
        return self._capture.counts() if self._capture is not None else (0, 0)

    def overflowed(self) -> int:
        """Packets that one of our sockets had no room for."""
        open_now = [*self._raw.values(), *self._services.values()]
        open_now += [sock for _, sock in self._fresh.values()]
        return self._overflowed + sum(sockets.dropped(sock) for sock in open_now)

    # -- opening -----------------------------------------------------------------------------

    def _open_raw(self, family: int, protocol: int) -> None:
        if (family, protocol) not in self._raw:
            sock = sockets.raw(family, protocol)
            self._raw[family, protocol] = sock
            self._loop.add_reader(sock, self._on_raw, sock, family, protocol)

    def _open_raw_ports(self, family: int, protocol: int) -> None:
        """Watches the ports that others hold; opened anew as they become more."""
        ports = {key[3] for key in self._held if key[:2] == (family, protocol)}
        if (family, protocol) in self._raw:
            self._discard(self._raw.pop((family, protocol)))
        sock = sockets.raw_ports(family, protocol, ports)
        self._raw[family, protocol] = sock
        self._loop.add_reader(sock, self._on_raw, sock, family, protocol)

    def _open_service(self, family: int, kind: Codec, address: str, port: int) -> None:
        protocol = TCP if kind.stream else UDP
        key = (family, protocol, address, port)
        if key in self._services or key in self._held:
            return
        try:
            if kind.stream:
                self.vacate()
                sock = sockets.tcp(family, address, port)
                sockets.listen(sock)
                self._loop.add_reader(sock, self._on_connection, sock, family)
            else:
                sock = sockets.udp(family, address, port)
                self._loop.add_reader(sock, self._on_udp, sock, family)
            self._services[key] = sock
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            # Taken by another program, or a low port without the privilege for it.
            self._held[key] = PortHeld(protocol, port, taken=error.errno == errno.EADDRINUSE)
            self._open_raw_ports(family, protocol)

    def give_way(self) -> None:
        """Leaves ports of ours to programs that have come to them, and may have got what came."""
        places = {family: sockets.udp_places(family) for family in {k[0] for k in self._services}}
        for key, sock in tuple(self._services.items()):
            family, protocol, _, port = key
            if protocol == UDP and sockets.shared(sock, places[family]):
                self._on_udp(sock, family)
                self._held[key] = PortHeld(UDP, port, lately=True)
                self._open_raw_ports(family, UDP)
                self._discard(self._services.pop(key))

    def open_fresh(self, run: Run, tag: Tag, kind: Codec, port: int = 0) -> int:
        """A free source port for one shot, or this one. OSError when it cannot be had."""
        family = run.engine.checks[tag.check].family
        opener = sockets.tcp if kind.stream else sockets.udp
        sock = opener(family, run.engine.local, port)
        port = int(sock.getsockname()[1])
        protocol = TCP if kind.stream else UDP
        self._fresh[protocol, run.engine.local, port] = (run, sock)
        self._fresh_of[id(run), tag] = sock
        if not kind.stream:
            self._loop.add_reader(sock, self._on_udp, sock, family)
        return port

    # -- sending -----------------------------------------------------------------------------

    def transmit(self, action: Transmit) -> str:
        """Sends one datagram; "" or the name of the errno with which the kernel refused."""
        path = action.path
        protocol = action.codec.protocol(path.family)
        try:
            if action.fragmenting is Fragmenting.LAST_FIRST:
                body = ip.udp(path, action.data) if protocol == UDP else action.data
                self._transmit_backwards(path, protocol, body, action.ttl)
            elif protocol == UDP:
                whole = action.fragmenting is Fragmenting.NEVER
                self._transmit_udp(path, action.data, action.ttl, whole)
            elif action.codec.whole_packet(path.family):
                sockets.send_whole(self._raw_whole(4), path, action.data, action.ttl)
            else:
                raw = self._raw[path.family, protocol]
                sockets.send_raw(raw, path, action.data, action.ttl)
        except OSError as error:
            return sockets.reason(error)
        return ""

    def _transmit_backwards(self, path: Path, protocol: int, body: bytes, ttl: int | None) -> None:
        raw = self._raw_whole(path.family)
        for part in reversed(split(path, protocol, body, ttl or sockets.DEFAULT_HOPS)):
            sockets.send_whole(raw, path, part)

    def _transmit_udp(self, path: Path, data: bytes, ttl: int | None, whole: bool) -> None:
        assert path.source_port is not None
        key = (path.family, UDP, path.source, path.source_port)
        fresh = self._fresh.get((UDP, path.source, path.source_port))
        sock = fresh[1] if fresh else self._services.get(key)
        if sock is not None:
            send, body = sockets.send_udp, data
        elif (path.family, UDP) in self._raw:  # another program holds the port
            send, sock, body = sockets.send_raw, self._raw[path.family, UDP], ip.udp(path, data)
        else:
            raise OSError(errno.EADDRNOTAVAIL, "no run has opened that address and port")
        if whole:
            with sockets.unfragmented(sock, path.family):
                send(sock, path, body, ttl)
        else:
            send(sock, path, body, ttl)

    def _raw_whole(self, family: int) -> socket.socket:
        """For packets whose IP header is ours. It receives nothing."""
        key = (family, socket.IPPROTO_RAW)
        if key not in self._raw:
            self._raw[key] = sockets.raw_whole(family)
        return self._raw[key]

    def connect(self, run: Run, action: Connect) -> None:
        """Starts a TCP connection; the engine hears Connected and then Answered."""
        sock = self._fresh_of[id(run), action.tag]
        if sock.fileno() < 0 or any(sock is other for other, _ in self._tasks.values()):
            return  # ordered a second time
        self._start(self._connection(run, action, sock), sock, run)

    async def _connection(self, run: Run, action: Connect, sock: socket.socket) -> None:
        path = action.path
        assert path.destination_port is not None
        try:
            if action.ttl is not None:
                sockets.limit_hops(sock, path.family, action.ttl)
            # Where the SYN dies on its way, a second one would only spend a router's ICMP errors.
            async with asyncio.timeout(None if action.ttl is None else LIMITED_SECONDS):
                await self._loop.sock_connect(
                    sock, sockets.endpoint(path.destination, path.destination_port)
                )
            run.feed(Connected(action.tag, time.time()))
            await self._loop.sock_sendall(sock, action.data)
            stream = b""
            while len(stream) < LARGEST_REQUEST:
                more = await self._loop.sock_recv(sock, LARGEST_REQUEST)
                if not more:
                    break
                stream += more
                run.feed(Answered(action.tag, stream, time.time()))
        except OSError as error:
            run.feed(Connected(action.tag, time.time(), sockets.reason(error)))
        finally:
            self._fresh.pop((TCP, path.source, path.source_port or 0), None)

    def write(self, action: Write) -> str:
        """Answers on a connection that the other end made; "" or the errno's name."""
        sock = self._connections.get(action.connection)
        if sock is None:
            return "ENOTCONN"
        try:
            sock.send(action.data)
        except OSError as error:
            return sockets.reason(error)
        return ""

    # -- receiving ---------------------------------------------------------------------------

    def _feed(self, event: Input) -> None:
        for run in tuple(self._runs):
            run.feed(event)

    def catch_up(self) -> None:
        """Reads what has been captured so far: on a busy host the loop may lag behind its eyes."""
        for _ in range(CATCH_UP):
            if self._capture is None or not self._on_frames():
                return

    def _on_frames(self) -> int:
        """How many there were."""
        assert self._capture is not None
        count = 0
        for frame in self._capture.read():
            count += 1
            try:
                packet = ip.parse(frame.data)
                if self.control.has(packet, frame.data):
                    self._feed(Control(packet, frame.outgoing))
                elif not self._runs and self._glimpses is not None:
                    self._glimpses.take(packet, frame.outgoing)
                elif ip.is_fragment(packet):
                    for event in self._pieces.take(packet, frame):
                        self._feed(event)
                else:
                    self._feed(Captured(packet, frame.outgoing, frame.time, frame=frame))
            except WireError:
                self.malformed += not frame.outgoing
        return count

    def _on_raw(self, sock: socket.socket, family: int, protocol: int) -> None:
        self._drain(lambda: sockets.read_raw(sock, family, protocol))

    def _on_udp(self, sock: socket.socket, family: int) -> None:
        self._drain(lambda: sockets.read_udp(sock, family))

    def _drain(self, read: Callable[[], object]) -> None:
        for _ in range(64):
            try:
                packet = read()
            except WireError:
                continue
            except OSError:  # BlockingIOError: empty; else an error that a sent packet brought back
                return
            self._feed(Received(packet, time.time()))  # type: ignore[arg-type]

    def _on_connection(self, listener: socket.socket, family: int) -> None:
        try:
            sock, peer = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        here = sock.getsockname()
        path = Path(
            family, str(peer[0]).partition("%")[0], str(here[0]).partition("%")[0], peer[1], here[1]
        )
        if not self.serves(path.source) and len(self._connections) >= MAX_STRANGERS:
            sock.close()
            return
        if len(self._connections) >= MAX_CONNECTIONS:  # the oldest ends: ours speak at once
            with contextlib.suppress(OSError):
                self._connections.pop(next(iter(self._connections))).shutdown(socket.SHUT_RDWR)
        self._start(self._serve(next(self._numbers), sock, path), sock, None)

    async def _serve(self, number: int, sock: socket.socket, path: Path) -> None:
        self._connections[number] = sock
        try:
            async with asyncio.timeout(CONNECTION_SECONDS):
                stream = b""
                while len(stream) < LARGEST_REQUEST:
                    more = await self._loop.sock_recv(sock, LARGEST_REQUEST)
                    if not more:
                        return
                    stream += more
                    self._feed(Requested(number, path, stream, time.time()))
        except (OSError, TimeoutError):
            return  # the other end broke off; the engine has what came
        finally:
            self._connections.pop(number, None)

    def _start(
        self, work: asyncio._CoroutineLike[None], sock: socket.socket, run: Run | None
    ) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = (sock, run)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Also where the task was cancelled before it could begin."""
        self._tasks.pop(task)[0].close()
