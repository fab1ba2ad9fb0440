"""TCP 88 as a carrier: a real connection, in which boxes are real Kerberos messages.

The idle agent does not listen on TCP 88: the port belongs to whoever wants to serve there. So near
knocks, by a SYN whose payload is an opening (:mod:`agent.inband.carriers`), and connects; and far,
where the port is free, listens for as long as it takes that one peer to come in.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine

from agent.inband import carriers
from agent.inband.carriers import PORTS, Ridden
from agent.linux import sockets
from agent.wire.base import Path

PORT = PORTS["kerberos-tcp"]
AFTER_KNOCK = 0.05  # seconds until far listens
CONNECT_SECONDS = 3.0
LISTEN_SECONDS = 10.0
IDLE_SECONDS = 30.0  # a session says something more often
MOST_UNREAD = 1 << 16  # octets without a whole message
MOST_UNSENT = 1 << 16  # beyond, boxes are dropped as by a path that is too slow
UNANSWERED = 3  # messages to who may be a real KDC


class Streams:
    """``deliver`` gets what rode in a message.

    ``ends``: near's (address, port) of each that is open, as this host sees it.
    """

    def __init__(self, deliver: Callable[[Ridden, bytes], None]) -> None:
        self.ends: set[tuple[str, int | None]] = set()
        self._deliver = deliver
        self._open: dict[str, asyncio.StreamWriter] = {}  # by the other's address
        self._answered: set[str] = set()
        self._sent: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: set[socket.socket] = set()

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        for writer in self._open.values():
            writer.transport.abort()

    def vacate(self) -> None:
        """Waits for no peer any more: somebody of this program wants the port."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # over already
                listener.shutdown(socket.SHUT_RDWR)  # which lets go of the port at once

    def send(self, ridden: Ridden, box: bytes) -> bool:
        """Writes to the connection with that host; False where there is none."""
        host = ridden.path.destination
        writer = self._open.get(host)
        if writer is None:
            return False
        wait = False
        if not ridden.reply:  # near, who knows a host or two; far may meet very many
            self._sent[host] = self._sent.get(host, 0) + 1
            wait = host not in self._answered and self._sent[host] > UNANSWERED
        if not wait and writer.transport.get_write_buffer_size() < MOST_UNSENT:
            writer.write(carriers.message(box, ridden.reply))
        return True

    # -- near ----------------------------------------------------------------------------------

    def connect(self, path: Path) -> None:
        """After a knock: in a moment, and once at a time."""
        self._begin(path.destination, self._connect(path))

    def settle(self, host: str) -> None:
        """Another way carries: what has not been connected by now need not be.

        A run's own listener there would take it for a stranger's.
        """
        if host in self._tasks and host not in self._open:
            self._tasks[host].cancel()

    async def _connect(self, path: Path) -> None:
        await asyncio.sleep(AFTER_KNOCK)
        where = {"host": path.destination, "port": PORT, "local_addr": (path.source, 0)}
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(**where)  # type: ignore[arg-type]
        own = int(writer.get_extra_info("sockname")[1])
        back = Path(path.family, path.destination, path.source, PORT, own)
        end = path.source, own
        await self._read(reader, writer, end, Ridden("kerberos-tcp", True, back))

    # -- far -----------------------------------------------------------------------------------

    def listen(self, path: Path) -> None:
        """For the peer that knocked by ``path``; not where another program has the port."""
        self._begin(path.source, self._listen(path))

    async def _listen(self, path: Path) -> None:
        loop = asyncio.get_running_loop()
        with sockets.tcp(path.family, path.destination, PORT) as listener:
            listener.listen(1)
            self._listeners.add(listener)
            try:
                async with asyncio.timeout(LISTEN_SECONDS):
                    while True:
                        sock, peer = await loop.sock_accept(listener)
                        if str(peer[0]) == path.source:
                            break
                        sock.close()
            finally:
                self._listeners.discard(listener)
        reader, writer = await asyncio.open_connection(sock=sock)
        there = Path(path.family, path.source, path.destination, peer[1], PORT)
        end = path.source, int(peer[1])
        await self._read(reader, writer, end, Ridden("kerberos-tcp", False, there))

    # -- both ----------------------------------------------------------------------------------

    def _begin(self, host: str, work: Coroutine[None, None, None]) -> None:
        if host in self._tasks:
            work.close()
            return
        task = self._tasks[host] = asyncio.create_task(self._tried(work))

        def over(_: asyncio.Task[None]) -> None:
            del self._tasks[host]
            work.close()  # where it was settled before it began

        task.add_done_callback(over)

    @staticmethod
    async def _tried(work: Coroutine[None, None, None]) -> None:
        with contextlib.suppress(OSError, TimeoutError):  # that way is closed; others may be open
            await work

    async def _read(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        end: tuple[str, int],
        ridden: Ridden,
    ) -> None:
        """``ridden``: how what comes is told."""
        host = ridden.path.source
        self.ends.add(end)
        self._open[host] = writer
        try:
            stream = b""
            while len(stream) < MOST_UNREAD:
                async with asyncio.timeout(IDLE_SECONDS):
                    data = await reader.read(1 << 14)
                if not data:
                    return
                stream += data
                while (length := carriers.message_length(stream)) is not None:
                    box = carriers.unwrap_message(stream[:length])
                    stream = stream[length:]
                    if box is not None:
                        if ridden.reply:
                            self._answered.add(host)
                        self._deliver(ridden, box)
        finally:
            self._open.pop(host, None)
            self.ends.discard(end)
            writer.transport.abort()
