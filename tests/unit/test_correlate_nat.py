"""Where near sits behind a NAT, or may: what can be asked, and what silence then means."""

from __future__ import annotations

from probe.again import more_shots, spared
from probe.result import Outcome
from tests.unit.correlation import (
    IN,
    NEAR,
    ROUTER,
    Story,
    esp_both_ways,
    kerberos,
    pair,
)


def test_a_near_host_behind_nat_cannot_be_asked_from_outside() -> None:
    story = esp_both_ways()
    story.near_seen_as = ROUTER
    story.shots(1, 3)
    told = story.tell()
    assert told[1].outcome is told[2].outcome is Outcome.NOT_APPLICABLE
    assert f"far sees it as {ROUTER}" in told[1].cause
    assert more_shots(story.plan, story.evidence(), IN) == {}


def test_where_near_is_in_fars_eyes_must_be_known_before_silence_is_a_drop() -> None:
    story = esp_both_ways()
    story.near_seen_as = ""
    story.shots(1, 15)
    told = story.tell()
    assert told[1].outcome is Outcome.UNOBSERVED
    assert "by near's own word" in told[1].cause
    story.refuse(1, 1)
    told = story.tell()
    assert told[1].outcome is Outcome.UNOBSERVED
    assert f"{ROUTER} answered" in told[1].cause
    story.near_seen_as = NEAR  # as outbound has shown meanwhile
    assert story.tell()[1].outcome is Outcome.REFUSED


def test_what_comes_to_nears_own_address_shows_that_it_is_right() -> None:
    story = Story(pair(1, "ah", IN), pair(3, "esp", IN))
    story.near_seen_as = ""
    story.shots(1, 3, arrived=3)
    story.shots(3, 15)
    told = story.tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[3].outcome is Outcome.LOST


def test_inbound_was_asked_at_the_wrong_address_where_the_nat_was_known_too_late() -> None:
    story = kerberos(IN)
    story.near_seen_as = ""
    story.shots(1, 15)
    story.near_seen_as = ROUTER
    told = story.tell()
    assert told[1].outcome is Outcome.NOT_APPLICABLE
    assert "tried at near's own address" in told[1].cause


def test_what_the_nat_answers_is_told_and_is_no_refusal_of_the_path() -> None:
    story = kerberos(IN)
    story.near_seen_as = ROUTER
    story.shots(1, 3)
    story.refuse(1, 1)
    told = story.tell()
    assert told[1].outcome is Outcome.NOT_APPLICABLE
    assert "3/13" in told[1].cause


def test_towards_a_nat_nothing_is_fired_that_would_stand_in_nears_own_way() -> None:
    story = esp_both_ways()
    story.near_seen_as = ROUTER
    assert spared(story.plan, story.evidence()) == {1}
    story.shots(3, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is told[2].outcome is Outcome.NOT_APPLICABLE
    assert "stand in the way of near's own" in told[1].cause
    assert told[3].outcome is Outcome.DELIVERED


def test_one_to_one_nat_hides_nobody() -> None:
    """A ping from far reached near: what else is silent is dropped by a filter."""
    story = Story(pair(1, "icmp-echo", IN), pair(3, "kerberos-udp", IN, destination_port=88))
    story.near_seen_as = ROUTER
    story.shots(1, 15, arrived=15)
    story.shots(3, 15)
    assert spared(story.plan, story.evidence()) == set()
    assert story.tell()[3].outcome is Outcome.LOST


def test_a_forwarded_port_lets_a_new_flow_in_through_nat() -> None:
    story = kerberos(IN)
    story.near_seen_as = ROUTER
    story.shots(1, 3, arrived=3)
    assert story.tell()[1].outcome is Outcome.DELIVERED


def test_a_missing_report_is_no_nat() -> None:
    story = kerberos(IN)
    story.near_seen_as = ROUTER
    story.near = None
    story.shots(1, 3)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED
