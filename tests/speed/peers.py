"""Other tools, for orientation: how long they take, and what they say when the far end is mute.

They see one side and one direction, so this is the picture forward only. nping's echo mode has a
peer at the far end that captures, as we have; it carries no protocol 50 or 51.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probe.lab import Lab

KINDS = ("esp", "ah", "ike", "kerberos-udp", "kerberos-tcp")  # what PEERS are made to send
ECHO_PORT = 9929
_STARTS = 5.0  # seconds until the echo server listens


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    program: str
    arguments: tuple[tuple[str, ...], ...]  # of one call each; the far address comes last
    answer: Callable[[str], str]


def _nmap(text: str) -> str:
    return ", ".join(
        f"{port} {state}" for port, state in re.findall(r"^(\d\S*)\s+(\S+) ", text, re.MULTILINE)
    )


def _hping3(text: str) -> str:
    answers = re.findall(r"(ICMP [\w ]+?) from|flags=(\w+)", text)
    silent = len(re.findall(r"\b0 packets received", text))
    told = Counter(icmp or f"TCP {flags}" for icmp, flags in answers)
    return ", ".join(
        [*(f"{count} {what}" for what, count in told.items())] + [f"{silent} silent"] * (silent > 0)
    )


def _nping(text: str) -> str:
    sent = sum(map(int, re.findall(r"packets sent: (\d+)", text)))
    echoed = sum(map(int, re.findall(r"Echoed: (\d+)", text)))
    return f"{echoed} of {sent} captured by the far end"


_ECHO = ("--echo-client", "bench", "--no-crypto", "-c", "1")
PEERS = (
    Peer("nmap -sO", "nmap", (("-n", "-Pn", "-sO", "-p", "50,51"),), _nmap),
    Peer("nmap -sU -sS", "nmap", (("-n", "-Pn", "-sU", "-sS", "-p", "U:88,500,T:88"),), _nmap),
    Peer(
        "hping3",
        "hping3",
        tuple(
            ("-n", "-c", "1", *kind)
            for kind in (
                ("-0", "-H", "50"),
                ("-0", "-H", "51"),
                ("-2", "-p", "500"),
                ("-2", "-p", "88"),
                ("-S", "-p", "88"),
            )
        ),
        _hping3,
    ),
    Peer(
        "nping echo mode",
        "nping",
        ((*_ECHO, "--udp", "-p", "500,88"), (*_ECHO, "--tcp", "-p", "88")),
        _nping,
    ),
)


def program(name: str) -> str | None:
    """Its path; a plain ``su`` leaves the system's directories out."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def ask(lab: Lab, peer: Peer, path: str) -> tuple[float, str]:
    """(seconds, what it says)."""
    text = ""
    began = time.perf_counter()
    for arguments in peer.arguments:
        done = lab.run("near", [path, *arguments, lab.far_address()], timeout=30.0)
        text += done.stdout + done.stderr
    return time.perf_counter() - began, peer.answer(text) or "nothing that we can read"


@contextlib.contextmanager
def echo_server(lab: Lab) -> Iterator[None]:
    """nping's other end, where nping is installed."""
    path = program("nping")
    if path is None:
        yield
        return
    quiet = subprocess.DEVNULL
    argv = [path, "--echo-server", "bench", "--no-crypto", "-e", "eth0"]
    server = lab.spawn("far", argv, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        end = time.monotonic() + _STARTS
        table = Path(f"/proc/{server.pid}/net/tcp")
        while f":{ECHO_PORT:04X} 00000000:0000 0A" not in table.read_text():
            if time.monotonic() > end or server.poll() is not None:
                break
            time.sleep(0.02)
        yield
    finally:
        server.kill()
        server.wait()
