"""When is silence a drop? Not by chance, and not where we were blind ourselves."""

from __future__ import annotations

import pytest

from agent.model import Event, Facts, Icmp, Side
from probe.again import more_shots
from probe.correlate import MAX_SHOTS
from probe.result import Outcome, Verdict
from tests.unit.correlation import (
    IN,
    NEAR,
    OUT,
    ROUTER,
    Story,
    esp_both_ways,
    kerberos,
    pair,
)


def test_silence_is_lost_when_chance_cannot_explain_it() -> None:
    story = kerberos()
    story.shots(1, 15)
    told = story.tell()
    assert told[1].outcome is Outcome.LOST
    assert told[1].verdict is Verdict.FAIL
    assert told[2].outcome is Outcome.NOT_APPLICABLE  # nothing to answer: not a second failure
    assert told[2].verdict is Verdict.SKIP


def test_three_silent_shots_are_too_few() -> None:
    story = kerberos()
    story.shots(1, 3)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED
    assert more_shots(story.plan, story.evidence(), OUT)[1] >= 9


@pytest.mark.parametrize("side", Side)
def test_a_host_that_was_deaf_for_a_while_blames_nobody(side: Side) -> None:
    story = esp_both_ways()
    gone = Facts(interrupted="lost its address 10.1.0.2")
    story.near, story.far = (gone, Facts()) if side is Side.NEAR else (Facts(), gone)
    story.shots(1, 15)
    story.shots(3, 15, arrived=6)
    told = story.tell()
    for number in (1, 3):
        assert told[number].outcome is Outcome.UNOBSERVED
        assert told[number].verdict is Verdict.ERROR
        assert f"{side} lost its address 10.1.0.2 during the run" in told[number].cause


def test_what_arrived_in_spite_of_it_and_what_was_forbidden_stays_so() -> None:
    story = esp_both_ways()
    story.far = Facts(interrupted="lost its link")
    story.shots(1, 15)
    story.refuse(1, 1)  # administratively prohibited: no link that is down says that
    story.shots(3, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is Outcome.REFUSED
    assert told[3].outcome is Outcome.DELIVERED


def test_what_a_deaf_host_did_not_see_may_have_opened_the_way() -> None:
    story = esp_both_ways()
    story.near = Facts(interrupted="lost its link")
    story.shots(1, 15)
    story.shots(3, 3, arrived=3)
    told = story.tell()
    assert told[3].outcome is Outcome.STATE_POSSIBLE
    assert "while near could not see it" in told[3].cause


def test_a_host_that_nobody_found_while_its_link_was_down_is_no_refusal() -> None:
    story = kerberos()
    story.far = Facts(interrupted="lost its link")
    story.shots(1, 15)
    story.see(1, 1, Event.REFUSED, icmp=Icmp(3, 1, ROUTER))
    assert story.tell()[1].outcome is Outcome.UNOBSERVED


def test_a_lossy_path_needs_more_silence() -> None:
    story = Story(pair(1, "kerberos-udp", OUT, destination_port=88), pair(3, "icmp-echo", OUT))
    story.shots(1, 15)
    story.shots(3, 20, arrived=10)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED
    assert more_shots(story.plan, story.evidence(), OUT)[1] > 10


def test_on_a_lossy_path_a_lost_check_is_given_shots_to_spare() -> None:
    """Or one more lost reply, in the other direction's turn, would make it unobserved again."""
    story = Story(pair(1, "kerberos-udp", OUT, destination_port=88), pair(3, "icmp-echo", OUT))
    story.shots(3, 60, arrived=42)
    story.shots(1, 18)
    assert story.tell()[1].outcome is Outcome.LOST
    assert 0 < more_shots(story.plan, story.evidence(), OUT)[1] < 10
    story.shots(1, 27)
    assert 1 not in more_shots(story.plan, story.evidence(), OUT)


def test_what_gets_through_is_shot_again_to_measure_the_loss() -> None:
    story = Story(pair(1, "kerberos-udp", OUT, destination_port=88), pair(3, "icmp-echo", OUT))
    story.shots(1, 3)
    story.shots(3, 3, arrived=3)
    story.shots(4, 3, arrived=3)
    wanted = more_shots(story.plan, story.evidence(), OUT)
    assert wanted[3] == wanted[1] > 0


def test_a_path_that_loses_nearly_all_is_never_called_lost() -> None:
    story = Story(pair(1, "kerberos-udp", OUT, destination_port=88), pair(3, "icmp-echo", OUT))
    story.shots(1, MAX_SHOTS)
    story.shots(3, MAX_SHOTS, arrived=1)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED
    assert more_shots(story.plan, story.evidence(), OUT) == {}  # the bound


def test_what_is_settled_is_not_asked_again() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3)
    story.shots(2, 3, arrived=3)
    assert more_shots(story.plan, story.evidence(), OUT) == {}


def test_a_lost_reply_is_asked_for_again_through_its_request() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3)
    story.shots(2, 3)
    assert more_shots(story.plan, story.evidence(), OUT)[1] > 0


def test_some_of_many_is_lossy() -> None:
    story = kerberos()
    story.shots(1, 12, arrived=7)
    told = story.tell()
    assert told[1].outcome is Outcome.LOSSY
    assert told[1].verdict is Verdict.WARN
    assert "7 of 12" in told[1].cause


def test_a_missing_reply_never_implies_a_lost_request() -> None:
    story = kerberos()
    story.shots(1, 15, arrived=15)
    story.shots(2, 15)
    told = story.tell()
    assert (told[1].outcome, told[2].outcome) == (Outcome.DELIVERED, Outcome.LOST)


def test_a_target_whose_capture_dropped_packets_proves_no_loss() -> None:
    story = kerberos()
    story.far = Facts(capture_dropped=7)
    story.shots(1, 15)
    told = story.tell()
    assert told[1].outcome is Outcome.UNOBSERVED
    assert told[1].verdict is Verdict.ERROR


def test_a_missing_report_is_not_the_firewalls_doing() -> None:
    story = kerberos()
    story.far = None
    story.shots(1, 15)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED


def test_what_was_told_before_the_far_end_died_still_counts() -> None:
    story = kerberos()
    story.far = None
    story.shots(1, 3, arrived=3)
    assert story.tell()[1].outcome is Outcome.DELIVERED


def test_what_was_never_fired_is_unobserved() -> None:
    told = esp_both_ways().tell()
    assert {told[n].outcome for n in told} == {Outcome.UNOBSERVED}


def test_an_overflowing_socket_is_not_the_hosts_firewall() -> None:
    story = kerberos()
    story.far = Facts(socket_dropped=5)
    story.shots(1, 3, arrived=3, delivered=0)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED


@pytest.mark.parametrize(
    ("arrived", "facts", "outcome"),
    [
        (12, Facts(socket_dropped=5), Outcome.UNOBSERVED),
        (12, Facts(), Outcome.LOSSY),
        (5, Facts(socket_dropped=5), Outcome.LOSSY),  # the path had its part in it
        (5, Facts(socket_dropped=5, capture_dropped=1), Outcome.UNOBSERVED),
        (5, Facts(capture_dropped=1), Outcome.LOSSY),  # the sockets missed none
    ],
)
def test_what_our_own_sockets_had_no_room_for_is_not_the_paths_loss(
    arrived: int, facts: Facts, outcome: Outcome
) -> None:
    story = kerberos()
    story.far = facts
    story.shots(1, 12, arrived=arrived, delivered=4)
    assert story.tell()[1].outcome is outcome


@pytest.mark.parametrize(("code", "outcome"), [(2, "unobserved"), (13, "refused")])
def test_a_kernel_that_refuses_for_want_of_room_in_our_socket(code: int, outcome: str) -> None:
    """Linux says "protocol unreachable" of a raw socket that is full; a firewall says it is one."""
    for dropped in (0, 5):
        story = esp_both_ways()
        story.near = Facts(socket_dropped=dropped)
        story.shots(1, 3, arrived=3, delivered=0)
        for shot in (1, 2, 3):
            story.see(1, shot, Event.REFUSED, Side.NEAR, icmp=Icmp(3, code, NEAR))
        assert story.tell()[1].outcome == (outcome if dropped else "refused")


def test_a_far_origin_whose_report_is_missing_is_not_called_unable_to_send() -> None:
    story = kerberos(IN)
    story.far = None
    story.fire(1, 3)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED
