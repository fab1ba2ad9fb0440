"""What shows where near's packets come from, and what must not be sent for it."""

from __future__ import annotations

import pytest

from agent.model import Direction, Event, Side
from probe.far.scout import plan
from probe.judge.evidence import came_from
from probe.judge.opening import tuple_of
from tests.unit.correlation import FAR, NEAR, OUT, ROUTER, Story, pair


@pytest.mark.parametrize("family", [4, 6])
def test_no_shot_of_it_opens_the_way_for_a_check(family: int) -> None:
    requests = plan(family).requests(Direction.OUTBOUND)
    assert {request.kind for request in requests} == {
        "icmp-echo",
        "ike",
        "kerberos-udp",
        "kerberos-tcp",
    }
    assert not any(map(tuple_of, requests))
    assert not plan(family).requests(Direction.INBOUND)


def outbound() -> Story:
    story = Story(pair(1, "esp", OUT), pair(3, "kerberos-udp", OUT, destination_port=88))
    story.shots(1, 1)
    return story


def shown(story: Story) -> str:
    return came_from(story.plan.checks, story.sightings, f"{NEAR}%eth0")


def test_only_what_reached_far_shows_it() -> None:
    story = outbound()
    story.see(2, 1, Event.ARRIVED, Side.NEAR, source=FAR)
    assert shown(story) == ""
    story.see(1, 1, Event.ARRIVED)
    assert shown(story) == NEAR


def test_where_as_many_are_translated_as_not_there_is_a_nat() -> None:
    story = outbound()
    story.see(1, 1, Event.ARRIVED)
    story.see(3, 1, Event.ARRIVED, source=ROUTER)
    assert shown(story) == ROUTER


def test_one_that_was_played_from_elsewhere_moves_near_nowhere() -> None:
    story = outbound()
    story.see(1, 1, Event.ARRIVED)
    for stage in ("syn", "request"):
        story.see(3, 1, Event.ARRIVED, source="192.0.2.66", stage=stage)
    story.see(1, 2, Event.ARRIVED)
    assert shown(story) == NEAR
