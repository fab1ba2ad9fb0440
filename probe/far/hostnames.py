"""Names of addresses: from the hosts file, and from the resolver only where that is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

HOSTS = Path("/etc/hosts")
SECONDS = 3.0  # for all names together


def listed(text: str) -> dict[str, str]:
    """Address → its first name, of a hosts file (hosts(5))."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) > 1:
            found.setdefault(fields[0], fields[1])
    return found


async def names(addresses: Iterable[str], *, ask: bool) -> dict[str, str]:
    """Of those that have one. ``ask``: put what the hosts file does not know to the resolver."""
    try:
        known = listed(HOSTS.read_text(errors="replace"))
    except OSError:
        known = {}
    wanted = set(addresses)
    found = {address: known[address] for address in wanted & set(known)}
    return found | (await _asked(wanted - set(found)) if ask else {})


async def _asked(addresses: Iterable[str]) -> dict[str, str]:
    """In threads that nobody has to wait for: a name server may be silent."""
    loop = asyncio.get_running_loop()
    found: dict[str, str] = {}
    pending = set(addresses)
    done = asyncio.Event()

    def tell(address: str, name: str) -> None:
        pending.discard(address)
        if name:
            found[address] = name
        if not pending:
            done.set()

    def look_up(address: str) -> None:
        try:
            name = socket.gethostbyaddr(address)[0]
        except OSError:
            name = ""
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, address, name)

    for address in tuple(pending):
        threading.Thread(target=look_up, args=(address,), daemon=True).start()
    with contextlib.suppress(TimeoutError):  # those without a name by then have none
        async with asyncio.timeout(SECONDS if pending else 0):
            await done.wait()
    return dict(found)
