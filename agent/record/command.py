"""``probe-agent --record``: far's half of a run in which the two ends have no contact."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import stat
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from ipaddress import ip_address
from pathlib import Path

from agent.access.keyring import Keyring, find_files
from agent.errors import AgentError
from agent.ledger import Ledger, state_directory
from agent.linux.keeper import Hands
from agent.linux.privileges import User, drop
from agent.linux.sockets import FAMILY, address_of, endpoint
from agent.model import Side
from agent.record.asked import KB, read, write
from agent.record.file import encode
from agent.record.recorder import Recorder
from agent.record.schedule import RUN, Schedule, moment, written
from agent.serve import have_all_at_hand, open_tracking

MOST_SHOTS, MOST_SLACK = 50, 600


@dataclass(frozen=True, slots=True)
class Recording:
    """``peer``: near's address, as this host reaches it; ``file``: where the record goes."""

    file: Path
    peer: str
    at: float
    asked: str
    shots: int
    slack: float
    run: str
    key: bytes

    @property
    def schedule(self) -> Schedule:
        family = 6 if ":" in self.peer else 4
        return Schedule(self.at, self.asked, family, self.shots, self.slack, self.run)


def wanted(options: Namespace) -> Recording:
    """What the command line asks for. ValueError and AgentError say what is wrong with it."""
    if options.at is None or options.peer is None or options.run is None:
        raise ValueError("--record goes with --at, --peer and --run: `probe record` says which")
    if not RUN.fullmatch(options.run):
        raise ValueError(f"--run {options.run}: eight digits from 0 to f, as `probe record` says")
    try:
        peer = str(ip_address(options.peer))
    except ValueError:
        raise ValueError(f"--peer {options.peer}: not an IP address") from None
    if not 1 <= options.shots <= MOST_SHOTS:
        raise ValueError(f"--shots {options.shots}: a number from 1 to {MOST_SHOTS}")
    if not 0.1 <= options.slack <= MOST_SLACK:
        raise ValueError(f"--slack {options.slack:g}: a number of seconds from 0.1 to {MOST_SLACK}")
    asked = write(read(options.ask or KB))
    file = Path(options.record)
    if not file.absolute().parent.is_dir():
        raise ValueError(f"--record {file}: there is no directory {file.absolute().parent}")
    files = find_files(options.key, options.keys, os.environ)
    key = _chosen(files.load(), options.key_id)
    at = moment(options.at, time.time())
    return Recording(file, peer, at, asked, options.shots, options.slack, options.run, key)


def _chosen(ring: Keyring, id: str | None) -> bytes:
    if id is not None:
        found = {key.key for key in ring if key.id.startswith(id)}  # one may have two names
        if len(found) != 1:
            raise ValueError(f"--key-id {id}: this host has no such key, or several")
        return found.pop()
    if not len(ring):
        raise ValueError("this host has no key; copy near's key file here, or name it with --key")
    return next(iter(ring)).key


def local_address(peer: str) -> str:
    """The address that this host sends from towards ``peer``. AgentError without a route."""
    family = FAMILY[6 if ":" in peer else 4]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(endpoint(peer, 9))
            return address_of(sock.getsockname())
    except OSError as error:
        raise AgentError(f"this host has no route to {peer}: {error.strerror or error}") from error


async def record(
    wanted: Recording, to: User | None, hands: Hands, say: Callable[[str], None]
) -> bool:
    """Writes far's record; True when it is complete. AgentError when it could not begin.

    ``to``: whom to become once sockets and file are open; ``hands`` then do what root may do.
    """
    schedule = wanted.schedule
    here = local_address(wanted.peer)
    ledger = Ledger(state_directory(os.environ) / "flows.sqlite")
    recorder = Recorder(Side.FAR, wanted.key, schedule, (here, wanted.peer), ledger)
    recorder.open()
    place = _open(wanted.file)
    if to is not None:
        have_all_at_hand(pairing=False)
        drop(to)
        recorder.read_tracking_by(lambda: open_tracking(hands))
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    say(
        f"records from {written(schedule.at)} on, for {schedule.ends - schedule.at:.0f} s, what "
        f"passes between {here} and {wanted.peer}"
    )
    try:
        await recorder.run()
    except asyncio.CancelledError:
        say("stopped before the end; the record says so")
    finally:
        ledger.close()
    made = recorder.record()
    with place:
        _write(place, encode(made, wanted.key), wanted.file)
    say(f"wrote {wanted.file}: {len(made.sightings)} sightings. Bring it to where near's record is")
    return made.complete


def _open(path: Path) -> FileIO:
    """The caller's own, for nobody else to read; what is in it stays until the record is there.

    It is opened as who the caller is, because who we become may write nowhere.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # no link, and no pipe
    try:
        file = FileIO(os.open(path, flags, 0o600), "wb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file")
        os.fchmod(file.fileno(), 0o600)
    except OSError as error:
        raise _no_room(path, error) from error
    return file


def _write(file: FileIO, data: bytes, path: Path) -> None:
    """All of it or nothing; what a kill cuts off is known by the signature that it then lacks."""
    try:
        file.truncate(0)
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            file.truncate(0)
        raise _no_room(path, error) from error


def _no_room(path: Path, error: OSError) -> AgentError:
    return AgentError(f"cannot write {path}: {error.strerror or error}")
