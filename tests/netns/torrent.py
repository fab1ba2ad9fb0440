"""20,000 packets a second that are nobody's: ``python -m tests.netns.torrent TARGET SECONDS``.

A third argument is another rate.
On the agent's own ports and protocols, all with a payload of noise, from an address of this host.
Prints "flooding" when it is at work, and at the end how many it sent, in how many seconds.
"""

from __future__ import annotations

import random
import socket
import sys
import time

RATE = 20_000
BATCH = 100
PORTS = (500, 4500, 88)


def main(target: str, seconds: float, rate: int) -> None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    chance = random.Random(1)
    udp = socket.socket(family, socket.SOCK_DGRAM)
    esp = socket.socket(family, socket.SOCK_RAW, 50)
    noise = [chance.randbytes(120) for _ in range(50)]
    begun = time.monotonic()
    sent = failed = 0
    print("flooding", flush=True)
    while (now := time.monotonic()) < begun + seconds:
        due = int((now - begun) * rate)
        if sent + BATCH > due:
            time.sleep(0.001)
            continue
        for number in range(BATCH):
            try:
                if number % 4:
                    udp.sendto(noise[number % 50], (target, PORTS[number % 4 - 1]))
                else:  # looks like ESP of a tunnel
                    esp.sendto(b"\0\0\x10\1" + noise[number % 50], (target, 0))
            except OSError:  # ECONNREFUSED, or the link is full: still a packet's worth of work
                failed += 1
        sent += BATCH
    print(sent, failed, time.monotonic() - begun, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else RATE)
