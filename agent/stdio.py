"""``probe-agent --stdio``: for one operator who has come by ssh, and for as long as he stays.

Whoever could start it could do anything here, so there is neither a key nor a port. It ends when
its standard input does, or when nothing has come for two minutes (the connection may be gone
without a word). It writes no file.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
from pathlib import Path

from agent.access.keyring import NamedKey
from agent.config import Config
from agent.daemon import Daemon
from agent.errors import AgentError
from agent.ledger import Ledger, state_directory
from agent.linux import privileges
from agent.linux.keeper import Hands
from agent.linux.privileges import User
from agent.linux.sockets import address_of
from agent.log import journal
from agent.serve import have_all_at_hand, open_tracking
from agent.session import IDLE_SECONDS
from agent.strands import Bundle, Strand, StrandError

READY = b"ipsec-probe ready\n"
_SSH = NamedKey("ssh", b"")  # ssh has asked for another proof


def serve(config: Config, to: User | None, hands: Hands, seconds: float = IDLE_SECONDS) -> int:
    """Serves standard input and output; returns the exit code. AgentError: it cannot work here."""
    return asyncio.run(_serve(config, to, hands, seconds))


async def _serve(config: Config, to: User | None, hands: Hands, seconds: float) -> int:
    directory = state_directory(os.environ)
    # Where an agent lives its memory is shared; elsewhere nothing is to be left.
    ledger = Ledger(directory / "flows.sqlite" if directory.is_dir() else Path(":memory:"))
    daemon = Daemon(config, ledger)
    daemon.open()
    if to is not None:
        have_all_at_hand(pairing=False)
        privileges.drop(to)
        daemon.read_tracking_by(lambda: open_tracking(hands))
    reader, writer = await _streams()

    def accept(strand: Strand) -> None:
        daemon.admit(strand.reader, strand.writer, _SSH)

    bundle = Bundle(reader, writer, accept, own_address)
    writer.write(READY)
    journal.event("started", by="ssh", user=privileges.own_name())
    try:
        await bundle.read(seconds)
    except TimeoutError:
        raise AgentError(f"nothing has come by ssh for {seconds:g} s") from None
    except StrandError as error:
        raise AgentError(f"standard input: {error}") from None
    finally:
        bundle.end()
        await daemon.stop()
        writer.transport.abort()
    return 0


async def _streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Standard input and output; what else is printed goes to standard error."""
    loop = asyncio.get_running_loop()
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    reader = asyncio.StreamReader(limit=1 << 16)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, output)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


def own_address(far: str, near: str) -> str:
    """``far`` where that is this host's own address, else the one that it reaches ``near`` from."""
    far = address_of((far,))
    address = ipaddress.ip_address(far.partition("%")[0])
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(OSError):
            sock.bind(socket.getaddrinfo(far, 0, flags=socket.AI_NUMERICHOST)[0][4])
            return far
        sock.connect(socket.getaddrinfo(near, 9, flags=socket.AI_NUMERICHOST)[0][4])
        return address_of(sock.getsockname())
