"""A late reply goes where the request came from, and near knows it for what it is."""

from __future__ import annotations

import pytest

from agent.events import AnswerLate
from agent.late import KEPT, LateReplies
from agent.model import Direction, Event, Late, Side, Tag
from agent.wire import codec
from agent.wire.base import Keys, Packet
from probe.plan import Plan, Planned
from probe.state.conduct import ALONE, REPLY, REQUEST, checks
from scenarios import Expect
from tests.pair.fakelink import FAR, NEAR, SECRET, Link, drops

KINDS = ("esp", "ah", "ike", "ike-nat-t", "esp-in-udp", "kerberos-udp", "udp:1701")


def link(kind: str, family: int, **rules: object) -> Link:
    planned = tuple(Planned(check, Expect.ANY) for check in checks(kind, family, 40_000))
    return Link(Plan(planned), **rules)  # type: ignore[arg-type]


def order(link: Link, late: Late) -> None:
    link._tell(Side.FAR, AnswerLate(late, 0.01))
    link._rest()


def seen(link: Link, check: int) -> set[tuple[int, Side, Event]]:
    return {(s.shot, s.at, s.event) for s in link.sightings if s.check == check}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_as_often_as_it_is_ordered(kind: str, family: int) -> None:
    joined = link(kind, family)
    joined.fire(Direction.OUTBOUND, 2)
    for first in (100, 200):
        order(joined, Late(Tag(REQUEST, 2), REPLY, first, 2))
    came = {shot for shot, at, event in seen(joined, REPLY) if event is Event.DELIVERED}
    assert came == {1, 2, 100, 101, 200, 201}
    late = [s for s in joined.sightings if s.check == REPLY and s.shot == 100]
    assert {(s.at, s.event) for s in late} == {
        (Side.FAR, Event.SENT),
        (Side.FAR, Event.LEFT),
        (Side.NEAR, Event.ARRIVED),
        (Side.NEAR, Event.DELIVERED),
    }
    assert {(s.source, s.destination) for s in late} == {(FAR[family], NEAR[family])}
    assert all(s.intact for s in late)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_without_a_partner_is_answered_late_alone(kind: str) -> None:
    joined = link(kind, 4)
    joined.fire(Direction.OUTBOUND, 1)
    assert (1, Side.FAR, Event.DELIVERED) in seen(joined, ALONE)
    order(joined, Late(Tag(ALONE, 1), REPLY, 100, 1))
    assert (100, Side.NEAR, Event.DELIVERED) in seen(joined, REPLY)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_to_nothing_looks_like_one(kind: str, family: int) -> None:
    joined = link(kind, family)
    order(joined, Late(Tag(REQUEST, 1), REPLY, 100, 3, cold=True))
    came = [s for s in joined.sightings if s.event is Event.DELIVERED]
    assert {(s.check, s.shot, s.at) for s in came} == {
        (REPLY, n, Side.NEAR) for n in (100, 101, 102)
    }
    joined.fire(Direction.OUTBOUND, 1)
    (real,) = [
        s
        for s in joined.sightings
        if (s.check, s.shot, s.event) == (REPLY, 1, Event.DELIVERED) and s.at is Side.NEAR
    ]
    place = (real.source, real.destination, real.source_port, real.destination_port)
    assert {(s.source, s.destination, s.source_port, s.destination_port) for s in came} == {place}


def test_what_was_not_delivered_is_not_answered() -> None:
    joined = link("esp", 4, outbound=drops)
    joined.fire(Direction.OUTBOUND, 1)
    order(joined, Late(Tag(REQUEST, 1), REPLY, 100, 1))
    assert seen(joined, REPLY) == {(100, Side.FAR, Event.UNSENT)}


def test_the_memory_for_requests_is_bounded() -> None:
    replies = LateReplies(Keys(SECRET), {}, {"esp": codec("esp")}, (NEAR[4], FAR[4]))
    packet = Packet(4, 50, NEAR[4], FAR[4], b"")
    for shot in range(1, 3 * KEPT):
        replies.keep(Tag(REQUEST, shot), packet)
    replies.order(Late(Tag(REQUEST, 1), REPLY, 100, 1))
    replies.order(Late(Tag(REQUEST, 3 * KEPT - 1), REPLY, 101, 1))
    assert replies.request(Tag(REPLY, 100)) is None
    assert replies.request(Tag(REPLY, 101)) is packet
    assert replies.request(Tag(REPLY, 101)) is None  # ordered once, sent once
