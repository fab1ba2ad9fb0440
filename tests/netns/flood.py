"""A third party that means harm: malformed IKE, Kerberos, ESP, AH and ICMP, as fast as it can.

Run as a program in a lab: ``python -m tests.netns.flood TARGET [PORT]``. It prints "ready" when it
is under way, then goes on until it is ended, for a minute at most. PORT: the source of its UDP; 0,
or none, leaves it to the kernel.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator

from tests.fuzz.hostile import MESSAGES, PACKETS, SEEDS

SECONDS = 60.0
PAUSE = 0.002  # after each batch of BATCH: some thousands a second
BATCH = 10
CONNECTIONS = 300  # more than the agent serves at once
PORTS = (500, 4500, 88)
RAW = (6, 17, 50, 51)  # UDP and TCP as well: their headers are mangled too
LENGTHS = (b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x01", b"\x7f\xff\xff\xff\x6a", b"\x6a\x84")


def mangled(seeds: list[bytes], chance: random.Random) -> bytes:
    """One of ``seeds`` with a few octets changed, or cut."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(4)):
        if data:
            data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
    return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)


def packets(chance: random.Random, family: int) -> Iterator[tuple[int, int, bytes]]:
    """(protocol, UDP port, contents), without end."""
    icmp = 1 if family == 4 else 58
    bodies = [packet[20 if packet[0] >> 4 == 4 else 40 :] for packet in PACKETS]
    for message in MESSAGES:
        yield from ((17, port, message) for port in PORTS)
    while True:
        yield 17, chance.choice(PORTS), mangled(SEEDS, chance)
        yield chance.choice(RAW), 0, mangled(bodies, chance)
        error = bytes((chance.choice([3, 11] if family == 4 else [1, 2, 3]), 3, 0, 0)) + bytes(4)
        yield icmp, 0, error + mangled(PACKETS, chance)


def connect(target: str) -> None:
    """Connections to the Kerberos port: silent ones, and ones that promise what never comes and
    then drip. As soon as somebody listens, and again when they are closed.
    """
    made: list[socket.socket] = []
    for number in itertools.count():
        try:
            sock = socket.create_connection((target, 88), timeout=1.0)
            sock.setblocking(False)
            if number % 6 < len(LENGTHS):
                sock.send(LENGTHS[number % 6])
            made.append(sock)
        except OSError:  # nobody listens yet
            time.sleep(PAUSE)
        for sock in made[-CONNECTIONS::7]:
            with contextlib.suppress(OSError):
                sock.send(b"\0")
        for sock in made[:-CONNECTIONS]:
            sock.close()
        made = made[-CONNECTIONS:]


def main(target: str, port: int) -> None:
    family = 6 if ":" in target else 4
    af = socket.AF_INET6 if family == 6 else socket.AF_INET
    chance = random.Random(1)
    icmp = 1 if family == 4 else 58
    raw = {p: socket.socket(af, socket.SOCK_RAW, p) for p in (*RAW, icmp)}
    udp = socket.socket(af, socket.SOCK_DGRAM)
    udp.bind(("", port))
    end = time.monotonic() + SECONDS
    threading.Thread(target=connect, args=[target], daemon=True).start()
    for number, (protocol, to, body) in enumerate(packets(chance, family)):
        with contextlib.suppress(OSError):  # an ICMP error that came back; a full queue
            if protocol == 17:
                udp.sendto(body, (target, to))
            else:
                raw[protocol].sendto(body, (target, 0))
        if number == 500:
            print("ready", flush=True)
        if number % BATCH == 0:
            time.sleep(PAUSE)
        if time.monotonic() > end:
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
