"""Cleans up behind a lab, whatever becomes of the process that built it.

It runs as a process of its own and reads, one a line, what it will have to clear away: ``pid N``,
``netns NAME``, ``dir PATH``. When the pipe closes, be it on purpose or because the builder was
killed, it does so and ends. The normal way out is the same: what is used every time works on the
day it is needed. An exit handler or a signal handler would not survive ``kill -9``.

Started by its file name with ``-I -S``: it imports nothing but the standard library, and ctypes
only when the lab is over.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

NETNS_DIRECTORY = "/var/run/netns"
SCRATCH = "probe-lab-"  # what a directory's name must begin with to be removed
MNT_DETACH = 2
GRACE = 2.0  # seconds between SIGTERM and SIGKILL


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes: dict[int, int] = {}  # pid -> pidfd
    namespaces: list[str] = []
    directories: list[str] = []
    for line in sys.stdin:
        word, _, value = line.rstrip("\n").partition(" ")
        if word == "pid":
            _watch(processes, int(value))
        elif word == "netns":
            namespaces.append(value)
        elif word == "dir":
            directories.append(value)
    _end(processes.values())
    troubles = [trouble for name in namespaces if (trouble := remove_namespace(name))]
    for directory in directories:
        if Path(directory).name.startswith(SCRATCH):
            shutil.rmtree(directory, ignore_errors=True)
    for trouble in troubles:
        print(f"probe lab: {trouble}", file=sys.stderr)
    return 1 if troubles else 0


def remove_namespace(name: str) -> str:
    """Takes the name away; the kernel frees the namespace with its last process.

    Returns what went wrong, or nothing. A name that is gone already is as it should be.
    """
    import ctypes

    path = f"{NETNS_DIRECTORY}/{name}"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.umount2(path.encode(), MNT_DETACH)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"could not remove the network namespace {name}: {error.strerror}"
    return ""


def _watch(processes: dict[int, int], pid: int) -> None:
    """A pidfd stays with its process: a number used anew later cannot be hit by mistake."""
    for old in [old for old, pidfd in processes.items() if _ended([pidfd], 0)]:
        os.close(processes.pop(old))
    try:
        processes[pid] = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # over already


def _end(pidfds: Iterable[int]) -> None:
    waiting = list(pidfds)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pidfd in waiting:
            try:
                signal.pidfd_send_signal(pidfd, number)
            except ProcessLookupError:
                continue  # ended on its own
        deadline = time.monotonic() + GRACE
        while waiting and (left := deadline - time.monotonic()) > 0:
            done = _ended(waiting, left)
            waiting = [pidfd for pidfd in waiting if pidfd not in done]
        if not waiting:
            return


def _ended(pidfds: list[int], timeout: float) -> set[int]:
    """Those whose process is over: a pidfd becomes readable then."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return {pidfd for pidfd, _ in poll.poll(timeout * 1000)}


if __name__ == "__main__":
    raise SystemExit(main())
