"""The endpoint's own speed: ``python -m tests.speed.endpoint PEER KEY``, in near.

Fires volleys without a gap at a real agent and lets both ends tell what they saw of them; then
throws strangers at an engine, without sockets. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
import time
from itertools import chain, repeat
from pathlib import Path

from agent.access import keys
from agent.control import (
    Await,
    Awaiting,
    Close,
    Closed,
    Collect,
    Collected,
    Fire,
    Firing,
    Open,
    Opened,
)
from agent.engine import Engine
from agent.events import Captured
from agent.ledger import Ledger
from agent.linux.host import Host
from agent.model import Check, Direction, Event, Flow, Side, Sighting, Volley
from agent.station import Station
from agent.wire.base import Keys, Packet
from probe.far.link import Here, connect

# One kind by a raw socket, one by a UDP socket; without a partner neither is answered.
CHECKS = [
    Check(1, "esp", Direction.OUTBOUND, Flow.NEW, 4),
    Check(2, "ike", Direction.OUTBOUND, Flow.NEW, 4, source_port=500, destination_port=500),
]
VOLLEYS = (250, 1000, 4000)  # shots of each kind at once
PATIENCE = 10.0
STRANGERS = 4000


async def volley(peer: str, key: bytes, directory: Path, count: int) -> dict[str, float]:
    """``count`` shots of each kind, as fast as it goes: what was sent and what was seen."""
    seen: list[Sighting] = []
    sockets, ledger = Host(), Ledger(directory / "flows.sqlite")
    station = Station(Side.NEAR, sockets, ledger, seen.extend)
    near = Here(station)
    there, welcome = await connect(peer, 5088, key, "bench", seen.extend)
    try:
        secret = secrets.token_bytes(32)
        await there.ask(Open(secret, CHECKS, welcome.address, welcome.seen_as, 600.0), Opened)
        await near.ask(Open(secret, CHECKS, welcome.seen_as, peer, 600.0), Opened)
        await there.ask(Await([]), Awaiting)
        shots = [Volley(check.number, 1, count) for check in CHECKS]
        await near.ask(Fire(shots, 0.0), Firing)
        end = time.monotonic() + PATIENCE
        whole = count * len(CHECKS)
        while time.monotonic() < end and _count(seen, Event.DELIVERED) < whole:
            await asyncio.sleep(0.02)
        facts = (await there.ask(Collect(), Collected)).facts
        for asked in (near, there):
            await asked.ask(Close(), Closed)
    finally:
        await there.close()
        station.close()
        sockets.close()
        ledger.close()
    sent = [sighting.time for sighting in seen if sighting.event is Event.SENT]
    arrived = [sighting.time for sighting in seen if sighting.event is Event.ARRIVED]
    delivered = [sighting.time for sighting in seen if sighting.event is Event.DELIVERED]
    return {
        "shots": whole,
        "sent": len(sent),
        "arrived": len(arrived),
        "delivered": len(delivered),
        "dropped": facts.capture_dropped + facts.socket_dropped,
        "sending": max(sent) - min(sent),
        "receiving": max(chain(delivered, arrived)) - min(arrived),
    }


def _count(seen: list[Sighting], event: Event) -> int:
    return sum(sighting.event is event for sighting in seen)


def strangers() -> float:
    """Packets a second that an engine can look at and find to be nobody's."""
    chance = random.Random(1)
    engine = Engine(Side.FAR, Keys(bytes(32)), CHECKS, "10.0.0.2", "10.0.0.1")
    ends = (4, 50, "10.0.0.1", "10.0.0.2")  # as from the peer: these are looked at closest
    esp = Packet(*ends, payload=b"\1" + chance.randbytes(119))
    ike = Packet(4, 17, *ends[2:], chance.randbytes(244), source_port=500, destination_port=500)
    event = [Captured(packet, False, 0.0) for packet in (esp, ike)]
    engine.handle(event[0], 0.0)  # imports the cipher
    start = time.perf_counter()
    for each in chain.from_iterable(repeat(event, STRANGERS)):
        engine.handle(each, 0.0)
    return len(event) * STRANGERS / (time.perf_counter() - start)


async def main(peer: str, key: bytes, directory: Path) -> None:
    volleys = [await volley(peer, key, directory, count) for count in VOLLEYS]
    print(json.dumps({"volleys": volleys, "strangers": strangers()}))


if __name__ == "__main__":
    place = Path(sys.argv[2])
    asyncio.run(main(sys.argv[1], keys.load(place), place.parent))
