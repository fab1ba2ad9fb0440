"""A clean tuple on request: an address that no firewall has seen yet.

ESP and AH have no ports, so only another address makes another flow of them. The address is added
to the interface towards the peer for the time of the run. Its lifetime in the kernel is bounded, so
it goes away by itself should this program be ended before it can remove it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import secrets
import socket
from collections.abc import AsyncIterator

from probe.far.dial import LinkError

LIFETIME = 900  # seconds, after which the kernel removes it whatever becomes of us
PROBE_SECONDS = 0.6  # how long a host that has the address may take to answer ARP (RFC 5227)
READY_SECONDS = 5.0  # duplicate address detection in IPv6 (RFC 4862) takes about one


def draw(near: str) -> str:
    """A random address out of the /64 of ``near`` (an IPv6 address). LinkError when it has none."""
    address = ipaddress.IPv6Address(near.partition("%")[0])
    if address.is_link_local or address.is_loopback:
        raise LinkError(
            f"--fresh address: {near} is no address that others could be drawn beside. Give the "
            "peer's global address"
        )
    prefix = int(address) >> 64 << 64
    return str(ipaddress.IPv6Address(prefix | secrets.randbits(63) | 1))


@contextlib.asynccontextmanager
async def borrowed(address: str, family: int, peer: str) -> AsyncIterator[str]:
    """``address`` on the interface towards ``peer`` while the block runs; then it is removed.

    An address that this host has already is used as it is, and left. LinkError when it cannot be
    added, or another host on the link has it.
    """
    if _is_ours(address, family):
        yield address
        return
    # pyroute2 brings an event loop of its own, which wants a thread of its own beside ours.
    interface = await asyncio.to_thread(_interface, peer)
    if family == 4:
        await _nobody_has(address, interface)
    await asyncio.to_thread(_change, "add", address, family, interface)
    try:
        if family == 6:
            await _ready(address)
        yield address
    finally:
        with contextlib.suppress(LinkError):  # gone with its interface, or by its lifetime
            await asyncio.to_thread(_change, "del", address, family, interface)


def _is_ours(address: str, family: int) -> bool:
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
        return True


def _interface(peer: str) -> str:
    """The name of the interface towards ``peer``."""
    from pyroute2 import IPRoute

    with IPRoute() as routes:
        for route in routes.route("get", dst=peer.partition("%")[0]):
            index = route.get("oif")
            if index:
                return socket.if_indextoname(int(index))
    raise LinkError(f"this host has no route to {peer}")


def _change(verb: str, address: str, family: int, interface: str) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    lifetime = {"preferred": 0, "valid": LIFETIME} if verb == "add" else {}
    try:
        with IPRoute() as routes:
            routes.addr(
                verb,
                index=socket.if_nametoindex(interface),
                address=address,
                prefixlen=128 if family == 6 else 32,
                **lifetime,  # preferred 0: never chosen as a source by itself
            )
    except (NetlinkError, OSError) as error:
        raise _refused(address, error) from error


def _refused(address: str, error: Exception) -> LinkError:
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if code == errno.EPERM:
        return LinkError(
            f"adding {address} for the time of the run takes root or CAP_NET_ADMIN; or add it "
            "yourself and name it with --alias"
        )
    return LinkError(f"{address} cannot be added to this host: {error}")


async def _nobody_has(address: str, interface: str) -> None:
    """Asks the link by ARP (RFC 5227, 2.1.1). LinkError when somebody answers."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as sock:
        sock.setblocking(False)
        try:
            sock.bind((interface, 0x0806))
        except OSError:
            return
        hardware = sock.getsockname()[4]
        if len(hardware) != 6 or not any(hardware):
            return  # no Ethernet: nobody to ask
        wanted = socket.inet_aton(address)
        question = b"\0\1\x08\0\6\4\0\1" + hardware + bytes(4) + bytes(6) + wanted
        sock.send(b"\xff" * 6 + hardware + b"\x08\x06" + question)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_SECONDS):
                while True:
                    frame = await loop.sock_recv(sock, 2048)
                    if len(frame) >= 42 and frame[20:22] == b"\0\2" and frame[28:32] == wanted:
                        owner = ":".join(f"{octet:02x}" for octet in frame[22:28])
                        raise LinkError(
                            f"--alias {address}: another host on the link has it ({owner}). "
                            "Choose an address that is free"
                        )


async def _ready(address: str) -> None:
    """Waits for the kernel to find that no other host has it: until then it cannot be bound."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not _is_ours(address, 6):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise LinkError(
            f"{address} did not become usable in {READY_SECONDS:.0f} s: another host on the link "
            "may have it. Run it again"
        ) from None
