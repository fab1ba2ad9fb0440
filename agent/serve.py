"""The life of an agent: what it does as root, whom it becomes, the signals, and its end.

``SIGTERM`` and ``SIGINT`` end it, and every session hears of it; ``SIGHUP`` has it read its keys
again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module

from agent import __version__
from agent.access.keyring import KeyFiles, Keyring, NamedKey
from agent.config import Config
from agent.daemon import Daemon
from agent.errors import AgentError, in_one_line
from agent.ledger import Ledger, state_directory
from agent.linux import privileges
from agent.linux.keeper import KEEP, KEYS, TRACKING, Hands
from agent.linux.privileges import User, own_name
from agent.log import journal, status
from agent.wire import KINDS, codec
from agent.wire.templates import templates

# Imported late elsewhere, because `probe` starts quicker without; see have_all_at_hand.
LATE = (
    "agent.wire.port",
    "concurrent.futures.thread",
    "cryptography.exceptions",
    "cryptography.hazmat.primitives.asymmetric.x25519",
    "cryptography.hazmat.primitives.ciphers.aead",
    "encodings.ascii",
    "encodings.idna",
)

PAIRING = ("spake2", "spake2.ed25519_basic")
USELESS = 3  # the exit code of an agent that stops because it cannot work

log = logging.getLogger(journal.NAME)


def serve(
    config: Config,
    to: User | None,
    hands: Hands,
    files: KeyFiles,
    pairing: bool,
    say: Callable[[str], None],
) -> int:
    """Serves until it is told to stop; returns the exit code.

    ``to``: whom to become once the sockets are open; ``hands`` then do what root may do.
    ``pairing``: one operator may come in by a code. ``say`` takes what is for whoever started it.
    AgentError when it cannot work here.
    """
    return asyncio.run(_Agent(config, to, hands, files, pairing, say).run())


class _Agent:
    def __init__(
        self,
        config: Config,
        to: User | None,
        hands: Hands,
        files: KeyFiles,
        pairing: bool,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._to = to
        self._hands = hands
        self._files = files
        self._pairing = pairing
        self._say = say
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        config = self._config
        directory = state_directory(os.environ)
        ledger = Ledger(directory / "flows.sqlite")
        for trouble in ledger.news():
            log.warning("%s", trouble)
        self._daemon = daemon = Daemon(config, ledger)
        daemon.open()
        desk = status.Desk(status.place(directory, config.port))
        self._step_down()
        try:
            await daemon.start()
        except OSError as error:
            desk.close()
            raise AgentError(_no_listening(config, error)) from error
        await desk.open(daemon.status)
        sys.unraisablehook = _in_one_line
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_keys_again)
        journal.event("started", version=__version__, listens=_place(config), user=own_name())
        self._say(f"{__version__} listens on {_place(config)}")
        if self._pairing:
            self._invite()
        await self._stopping.wait()
        desk.close()
        await daemon.stop()
        journal.event("stopped")
        return self._code

    def _step_down(self) -> None:
        if self._to is None:
            return
        have_all_at_hand(self._pairing)
        privileges.drop(self._to)
        self._daemon.read_tracking_by(lambda: open_tracking(self._hands))

    def _read_keys_again(self) -> None:
        """What cannot be used leaves the old keys in force: a slip shall lock nobody out."""
        try:
            ring = self._hands.ask(KEYS)
            assert isinstance(ring, Keyring)
            self._daemon.take(ring)
        except AgentError as error:
            log.error("the keys stay as they were: %s", error)
        else:
            journal.event("keys-read-again", keys=len(ring))
            self._say(f"read the keys again: {len(ring)}")

    # -- one more operator -------------------------------------------------------------------

    def _invite(self) -> None:
        from agent.access.pairing import LIFETIME

        config = self._config
        code = self._daemon.invite(self._keep, self._say, self._over)
        port = f" --port {config.port}" if config.port != 5088 else ""
        host = config.listen or os.uname().nodename
        self._say(
            f"pairing code: {code} (for one use, within {LIFETIME / 60:g} minutes)\n"
            f"  On the near host:\n"
            f"    probe run --peer {host}{port} --code {code}"
        )

    def _keep(self, theirs: str, key: bytes) -> NamedKey:
        kept = self._hands.ask(KEEP, key + theirs.encode())
        assert isinstance(kept, NamedKey)
        self._say(f"the key of {kept.name} is {self._files.directory / kept.name}")
        return kept

    def _over(self) -> None:
        if not len(self._daemon.ring):  # nobody could ever come in
            self._code = USELESS
            self._stopping.set()


def open_tracking(hands: Hands) -> int:
    """The host's connection tracking, by ``hands``. PermissionError when they cannot."""
    try:
        found = hands.ask(TRACKING)
    except AgentError as error:
        raise PermissionError(errno.EACCES, str(error)) from error
    assert isinstance(found, int)
    return found


def have_all_at_hand(pairing: bool) -> None:
    """What a run needs, while this program's own files can be read: they may be in root's home."""
    for kind in KINDS:
        codec(kind)
    templates()
    for name in (*LATE, *(PAIRING if pairing else ())):
        import_module(name)


def _place(config: Config) -> str:
    return f"{config.listen or 'every address'}, TCP {config.port}"


def _no_listening(config: Config, error: OSError) -> str:
    """Why not, and what to do."""
    # asyncio wraps the system's own words in a sentence of its own
    why = os.strerror(error.errno) if error.errno else str(error)
    advice = {
        errno.EADDRINUSE: "Is an agent running already? Else choose another --port (and the same "
        "for `probe run`)",
        errno.EADDRNOTAVAIL: "No interface of this host has that address: look at `ip address`, "
        "or leave --listen out",
        errno.EACCES: "A port below 1024 takes root or CAP_NET_BIND_SERVICE: choose another --port",
    }.get(error.errno or 0, "Look at --listen and --port")
    return f"cannot listen on {_place(config)}: {why}. {advice}"


def _in_one_line(failure: sys.UnraisableHookArgs) -> None:
    """What Python can tell nobody, as a TLS greeting that names a host in no ASCII."""
    if failure.exc_value is not None:
        log.warning("passed over: %s", in_one_line(failure.exc_value))
