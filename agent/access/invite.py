"""Far's part of a pairing: a code is shown, and whoever knows it gets a key. asyncio.

Nothing else can be reached by who pairs: the connection is closed when the words of
:mod:`agent.access.pairing` are said, and works only while the code may still be used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from agent.access import keyring, tls
from agent.access.keyring import NamedKey
from agent.access.pairing import GOODBYE, LIFETIME, Far, Offer, PairingError, WrongCode, new_code
from agent.errors import KeyFileError
from agent.linux.sockets import address_of

SECONDS = 10.0  # for one exchange, of which no word waits for a human
STRANGER = "operator"  # who has no name that a file can have

log = logging.getLogger("probe-agent")


class Invitation:
    """One code. ``over`` is called once, with the new key, or without one if it came to nothing.

    ``say`` takes what is for whoever started the agent. Nothing of this ever holds the code.
    """

    def __init__(
        self,
        keep: Callable[[str, bytes], NamedKey],
        say: Callable[[str], None],
        over: Callable[[NamedKey | None], None],
        allowed: Callable[[str], bool],
    ) -> None:
        """``keep`` stores a key under a name like the one given, and returns it with its own."""
        self._keep = keep
        self._say = say
        self._over = over
        self._allowed = allowed
        loop = asyncio.get_running_loop()
        self.offer = Offer(new_code(os.urandom), loop.time() + LIFETIME)
        self._expiry = loop.call_later(LIFETIME, self._end, "the pairing code has expired")
        self._ended = False

    def _end(self, why: str, key: NamedKey | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._expiry.cancel()
        again = "" if key else ". For a new one, start the agent with --pair again"
        self._say(why + again)
        self._over(key)

    def close(self) -> None:
        self._ended = True
        self._expiry.cancel()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _open_key: NamedKey
    ) -> None:
        """One client that may know the code. It has proved nothing so far."""
        peer = address_of(writer.get_extra_info("peername"))
        try:
            if self._allowed(peer):
                async with asyncio.timeout(SECONDS):
                    await self._exchange(reader, writer, peer)
        except WrongCode:
            log.warning("%s: a wrong pairing code", peer)
            self._end(f"a wrong pairing code came from {peer}: the code shown is void")
        except PairingError as error:
            log.warning("%s: no pairing: %s", peer, error)
        except KeyFileError as error:
            log.error("%s: no pairing: %s", peer, error)
            self._end(f"the new key cannot be kept: {error}")
        except (OSError, TimeoutError):
            log.warning("%s: no pairing: it broke off", peer)
        except asyncio.CancelledError:
            log.warning("%s: no pairing: the agent was stopped, or has no room for it", peer)
            writer.write(GOODBYE)
            raise
        finally:
            writer.transport.abort()
        if not self._ended and not self.offer.is_open(asyncio.get_running_loop().time()):
            self._end("too many pairings were begun and broken off: the code shown is void")

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> None:
        far = Far(self.offer, tls.binding(writer.get_extra_info("ssl_object")), os.urandom)
        while far.paired is None:
            data = await reader.read(256)
            if not data:
                log.warning("%s: no pairing: it hung up", peer)
                return
            writer.write(far.receive(data, asyncio.get_running_loop().time()))
            await writer.drain()
        key = self._keep(far.paired.name, far.paired.key)
        self._end(f"paired with {key.name} at {peer}", key)
        log.info("%s: paired as %s", peer, key.name)
        writer.write(far.confirm(key.name))
        await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def keep(directory: Path, name: str, key: bytes, *, replace: bool) -> NamedKey:
    """Keeps a key in the directory of keys, under ``name`` or one like it. KeyFileError if not.

    ``replace``: the name is meant, and its old key goes. Else nobody loses a key by this.
    """
    if name == keyring.SHARED or not keyring.NAME.fullmatch(name):
        name = STRANGER
    free, number = name, 1
    while not replace and keyring.is_kept(directory, free):
        number += 1
        free = f"{name[:58]}-{number}"
    keyring.store(directory, free, [key])
    return NamedKey(free, key)
