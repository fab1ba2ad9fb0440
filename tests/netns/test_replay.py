"""Recorded shots on a real wire: one answer to the host of the run, and none to anybody else."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest

from agent.model import Tag
from agent.wire import codec
from agent.wire.base import Keys, Path
from probe.lab import Lab, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, inside, wait_until
from tests.netns.test_bad_luck_agent import FAR, HELLO, NEAR, OPEN, SECRET, Session, changed

pytestmark = pytest.mark.netns

ESP = 50
PAIR: list[Json] = [
    {
        "number": 1,
        "kind": "esp",
        "direction": "outbound",
        "flow": "new",
        "family": 4,
        "partner": 2,
    },
    {
        "number": 2,
        "kind": "esp",
        "direction": "inbound",
        "flow": "reply",
        "family": 4,
        "partner": 1,
    },
]
ANSWERS = """
table inet answers {
    counter sent { }
    chain everything {
        type filter hook prerouting priority -300;
        iifname "far0" ip protocol 50 counter name sent
    }
}
"""


def shot(number: int, secret: bytes = base64.b64decode(SECRET)) -> bytes:
    return codec("esp").request(Keys(secret), Tag(1, number), Path(4, NEAR, FAR), None)


def answers(lab: Lab) -> int:
    """ESP packets that left far, whoever they went to."""
    said = lab.run("fw", ["nft", "-j", "list", "counter", "inet", "answers", "sent"]).stdout
    return next(
        int(e["counter"]["packets"]) for e in json.loads(said)["nftables"] if "counter" in e
    )


def delivered(session: Session) -> int:
    """How many shots the agent says it got, by its own count of everything that came."""
    session.say({"type": "collect"})
    count = 0
    while line := session._lines.readline():
        found = json.loads(line)
        if found["type"] == "collected":
            return count
        count += sum(s["event"] == "delivered" for s in found.get("sightings", ()))
    raise AssertionError("it hung up")


def test_who_plays_a_shot_again_gets_nothing(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start_agent(lab, key)
    lab.load("fw", ANSWERS)
    raw = partial(socket.socket, socket.AF_INET, socket.SOCK_RAW, ESP)
    with closing(inside(lab, "near", raw)) as near, closing(inside(lab, "fw", raw)) as third:
        with Session(lab, key) as session:
            session.ask(HELLO)
            assert session.ask(changed(OPEN, checks=PAIR))["type"] == "opened"
            near.sendto(shot(1), (FAR, 0))
            wait_until(lambda: answers(lab) == 1, "the one answer")
            for play in (
                lambda: near.sendto(shot(1), (FAR, 0)),  # once more, by itself
                lambda: third.sendto(shot(1), (FAR, 0)),  # by somebody who saw it go by
                lambda: third.sendto(shot(2), (FAR, 0)),  # who kept it from arriving first
                lambda: near.sendto(shot(3, b"x" * 32), (FAR, 0)),  # by another run's secret
                lambda: near.sendto(shot(4)[:-9] + b"123456789", (FAR, 0)),  # damaged
            ):
                send: Callable[[], int] = play
                for _ in range(20):
                    send()
            near.sendto(shot(9), (FAR, 0))  # behind all of these
            wait_until(lambda: answers(lab) >= 2, "the answer to the last one")
            assert answers(lab) == 2
            assert delivered(session) >= 3, "they did arrive"
        with Session(lab, key) as session:
            session.ask(HELLO)
            other = changed(OPEN, checks=PAIR, secret=base64.b64encode(b"y" * 32).decode())
            assert session.ask(other)["type"] == "opened"
            for number in range(1, 10):  # of the run that is over
                near.sendto(shot(number), (FAR, 0))
            near.sendto(shot(1, b"y" * 32), (FAR, 0))
            wait_until(lambda: answers(lab) >= 3, "the answer to this run's own")
            assert answers(lab) == 3
