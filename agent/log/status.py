"""``probe-agent --status``: a running agent answers at a unix socket in its state directory.

One JSON object for whoever connects, which by the socket's mode only the agent's own user can, and
root. Nothing that is sent to it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.errors import AgentError
from agent.log import journal

PATIENCE = 5.0  # seconds
LARGEST = 1 << 20  # octets
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

Status = dict[str, Any]


class NotRunning(AgentError):
    """Nobody answers there."""


def place(directory: Path, port: int) -> Path:
    """The socket of the agent whose control port that is."""
    return directory / f"agent-{port}.sock"


class Desk:
    """Made with the rights of the start, opened when the agent serves."""

    def __init__(self, path: Path) -> None:
        """Never fails: where there can be no socket, the log says so and the agent serves on."""
        self._path = path
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if _answers(path):
                raise OSError(0, "another agent answers there")
            path.unlink(missing_ok=True)  # of one that was killed
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = os.umask(0o177)
            try:
                with _short(path) as name:
                    sock.bind(name)
            finally:
                os.umask(mask)
            sock.listen(4)
        except OSError as error:
            sock.close()
            log = logging.getLogger(journal.NAME)
            log.warning("--status will not be answered: %s: %s", path, error.strerror)
            return
        self._socket = sock

    async def open(self, snapshot: Callable[[], Status]) -> None:
        if self._socket is None:
            return

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    writer.write(json.dumps(snapshot()).encode() + b"\n")
                    await writer.drain()
            writer.close()

        self._server = await asyncio.start_unix_server(answer, sock=self._socket)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # root's directory, and we are not root any more
                self._path.unlink()


def ask(path: Path) -> Status:
    """What the agent says. NotRunning; AgentError when it may not be asked."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            with _short(path) as name:
                sock.connect(name)
            text = b""
            while (more := sock.recv(65_536)) and len(text) < LARGEST:
                text += more
        found = json.loads(text)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(
            f"no agent answers at {path}: none runs, or on another --port, or as another user"
        ) from None
    except PermissionError:
        raise AgentError(
            f"{path} is for root and the agent's own user: ask as one of them"
        ) from None
    except (OSError, ValueError) as error:
        raise AgentError(f"the agent at {path} does not answer as one does: {error}") from error
    if not isinstance(found, dict):
        raise AgentError(f"what answers at {path} is no agent")
    return found


def render(status: Status) -> str:
    """For people: one thing a line."""
    totals = status["totals"]
    limits = ", ".join(f"{name} {value:,.0f}" for name, value in status["limits"].items())
    lines = [
        f"probe-agent {status['version']} runs, process {status['pid']}, as {status['user']}",
        f"listens   {status['listens']}, for {_duration(status['uptime'])}",
        f"keys      {', '.join(status['keys']) or 'none'}",
        f"limits    {limits}",
        f"sessions  {len(status['sessions'])} now, {totals['sessions']} before, "
        f"{totals['refused']} refused",
        *(
            f"          {told['peer']} ({told['host'] or 'not greeted yet'}"
            f"{', key ' + told['key'] if told['key'] else ''}, {told['control']}), "
            f"for {_duration(told['seconds'])}"
            for told in status["sessions"]
        ),
        f"shots     {totals['sent']} sent, {totals['received']} received, {totals['answered']} "
        f"answered, {totals['strangers']} strangers, in sessions that are over",
        f"capture   {status['captured']} packets, {status['capture_dropped']} dropped",
        f"held      {', '.join(status['held']) or 'no port is held by another program'}"
        + (" (by other programs, at the last run)" if status["held"] else ""),
        f"memory    {status['memory_kib'] / 1024:.1f} MiB",
    ]
    return "\n".join(lines)


def memory_kib() -> int:
    """What this process has in memory; 0 where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _duration(seconds: float) -> str:
    """ "3 h 20 min": the two largest units."""
    parts: list[str] = []
    rest = int(seconds)
    for size, name in UNITS:
        count, rest = divmod(rest, size)
        if count or (parts and len(parts) < 2) or (name == "s" and not parts):
            parts.append(f"{count} {name}")
        if len(parts) == 2:
            break
    return " ".join(parts)


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, _short(path) as name:
            sock.settimeout(PATIENCE)
            sock.connect(name)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return False
    return True


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits in a socket address, which has room for 107 octets."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
