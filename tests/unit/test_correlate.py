"""Every outcome but TCP's and state's, and the ways in which a wrong one could be reached."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agent.model import Event, Facts, Fragmenting, Icmp, Prior, Side
from probe.again import more_shots, silent_beside_refused, spared
from probe.correlate import MAX_SHOTS, verdict
from probe.result import Expect, Outcome, Verdict
from tests.unit.correlation import (
    FAR,
    IN,
    NEAR,
    OUT,
    ROUTER,
    Story,
    esp_both_ways,
    kerberos,
    pair,
)

# -- silence -------------------------------------------------------------------------------------


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


# -- our own blindness ---------------------------------------------------------------------------


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


# -- the hosts themselves ------------------------------------------------------------------------


def test_arrived_and_not_delivered_is_the_hosts_own_firewall() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3, delivered=0)
    told = story.tell()
    assert told[1].outcome is Outcome.HOST_DROPPED
    assert "far's own firewall" in told[1].cause
    assert told[2].outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("errno", "word"), [("EPERM", "OUTPUT"), ("ENETUNREACH", "route"), ("EMSGSIZE", "MTU")]
)
def test_a_refused_send_says_why(errno: str, word: str) -> None:
    story = kerberos()
    story.fire(1, 1)
    story.see(1, 1, Event.UNSENT, note=errno)
    told = story.tell()
    assert told[1].outcome is Outcome.NOT_SENT
    assert word in told[1].cause
    assert told[1].verdict is Verdict.ERROR


def test_what_was_sent_and_never_left_is_not_the_networks_doing() -> None:
    story = kerberos()
    story.fire(1, 3)
    for shot in (1, 2, 3):
        story.see(1, shot, Event.SENT)
    assert story.tell()[1].outcome is Outcome.NOT_SENT


def test_a_blind_origin_does_not_know_whether_it_left() -> None:
    story = kerberos()
    story.near = Facts(capture_dropped=1)
    story.fire(1, 3)
    story.see(1, 1, Event.SENT)
    assert story.tell()[1].outcome is Outcome.UNOBSERVED


def test_a_kernel_that_answers_no_echo_is_named() -> None:
    story = Story(pair(1, "icmp-echo", OUT))
    story.shots(1, 3, arrived=3)
    told = story.tell()
    assert told[2].outcome is Outcome.NOT_SENT
    assert "echo" in told[2].cause


# -- refusals ------------------------------------------------------------------------------------


def test_a_router_that_refuses_is_named_with_its_reason() -> None:
    story = kerberos()
    story.shots(1, 3)
    story.refuse(1, 1)
    told = story.tell()
    assert told[1].outcome is Outcome.REFUSED
    assert ROUTER in told[1].cause
    assert "3/13" in told[1].cause


def test_a_refusal_does_not_outweigh_arrival() -> None:
    """Somebody refused one shot, the others arrived: that is no closed door."""
    story = kerberos()
    story.shots(1, 4, arrived=3)
    story.refuse(1, 4)
    assert story.tell()[1].outcome is Outcome.DELIVERED


def test_the_target_that_rejects_is_told_from_the_network() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3, delivered=0)
    story.refuse(1, 1, sender=FAR)
    told = story.tell()
    assert told[1].outcome is Outcome.REFUSED
    assert "the far host itself" in told[1].cause


def test_a_targets_rejection_counts_when_only_the_target_saw_it_leave() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3, delivered=0)
    story.refuse(1, 1, sender=FAR, at=Side.FAR)
    assert story.tell()[1].outcome is Outcome.REFUSED


def test_silence_beside_refusals_is_asked_again_politely() -> None:
    story = Story(
        pair(1, "kerberos-udp", OUT, destination_port=88),
        pair(3, "ike", OUT, destination_port=500),
    )
    story.shots(1, 15)
    story.refuse(1, 1)
    story.shots(3, 15)
    assert silent_beside_refused(story.plan, story.evidence(), OUT) == [3]
    assert "limit" in story.tell()[3].cause


# -- alteration ----------------------------------------------------------------------------------


def test_ah_through_nat_is_altered() -> None:
    story = Story(pair(1, "ah", OUT))
    story.fire(1, 1)
    story.see(1, 1, Event.SENT)
    story.see(1, 1, Event.LEFT)
    story.see(1, 1, Event.ARRIVED, source=ROUTER, intact=False, note="its ICV does not fit")
    story.see(1, 1, Event.DELIVERED, source=ROUTER, intact=False)
    told = story.tell()
    assert told[1].outcome is Outcome.ALTERED
    assert "AH cannot cross NAT" in told[1].cause


def test_a_rewritten_ike_port_is_altered() -> None:
    story = Story(pair(1, "ike", OUT, source_port=500, destination_port=500))
    story.fire(1, 1)
    story.see(1, 1, Event.LEFT)
    story.see(1, 1, Event.ARRIVED, source=ROUTER, source_port=1027)
    story.see(1, 1, Event.DELIVERED, source=ROUTER, source_port=1027)
    told = story.tell()
    assert told[1].outcome is Outcome.ALTERED
    assert "500 was rewritten to 1027" in told[1].cause


def test_a_translated_address_alone_breaks_no_esp() -> None:
    story = Story(pair(1, "esp", OUT))
    story.fire(1, 1)
    story.see(1, 1, Event.LEFT)
    story.see(1, 1, Event.ARRIVED, source=ROUTER)
    story.see(1, 1, Event.DELIVERED, source=ROUTER)
    assert story.tell()[1].outcome is Outcome.DELIVERED


def test_a_changed_payload_is_altered() -> None:
    story = kerberos()
    story.fire(1, 1)
    story.see(1, 1, Event.LEFT, digest="aa")
    story.see(1, 1, Event.ARRIVED, digest="bb")
    story.see(1, 1, Event.DELIVERED, digest="bb")
    assert story.tell()[1].outcome is Outcome.ALTERED


# -- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "on_pass", "on_block", "on_any"),
    [
        (Outcome.DELIVERED, "pass", "fail", "pass"),
        (Outcome.STATE_POSSIBLE, "pass", "warn", "pass"),
        (Outcome.LOSSY, "warn", "fail", "skip"),
        (Outcome.ALTERED, "fail", "fail", "skip"),
        (Outcome.REFUSED, "fail", "pass", "skip"),
        (Outcome.LOST, "fail", "pass", "skip"),
        (Outcome.HOST_DROPPED, "fail", "pass", "skip"),
        (Outcome.NOT_SENT, "error", "error", "skip"),
        (Outcome.UNOBSERVED, "error", "error", "skip"),
        (Outcome.NOT_APPLICABLE, "skip", "skip", "skip"),
    ],
)
def test_verdicts(outcome: Outcome, on_pass: str, on_block: str, on_any: str) -> None:
    assert verdict(outcome, Expect.PASS) == on_pass
    assert verdict(outcome, Expect.BLOCK) == on_block
    assert verdict(outcome, Expect.ANY) == on_any


def test_every_conclusion_but_a_plain_delivered_has_a_cause() -> None:
    story = esp_both_ways()
    story.shots(1, 15)
    story.shots(3, 3, arrived=3)
    for conclusion in story.tell().values():
        assert bool(conclusion.cause) == (conclusion.outcome is not Outcome.DELIVERED)


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


def test_two_firewalls_in_a_row_may_have_been_opened_by_what_was_lost() -> None:
    story = esp_both_ways()
    story.shots(1, 15)
    story.shots(3, 3, arrived=3, hops=2)
    told = story.tell()
    assert told[3].outcome is Outcome.STATE_POSSIBLE
    assert "several routers" in told[3].cause


@pytest.mark.parametrize(("hops", "wanted"), [(1, "delivered"), (2, "state-possible")])
def test_a_lost_shot_of_an_earlier_run_opens_what_stands_before_the_drop(
    hops: int, wanted: str
) -> None:
    story = esp_both_ways()
    story.priors = {Side.NEAR: [Prior(1, 42.4, "a shot of an earlier run", crossed=False)]}
    story.shots(1, 3, arrived=3, hops=hops)
    assert story.tell()[1].outcome == wanted


def test_a_lost_shot_of_an_earlier_run_opens_its_own_host() -> None:
    story = esp_both_ways()
    story.near = Facts(tracked=3)
    story.priors = {Side.NEAR: [Prior(1, 42.4, "a shot of an earlier run", crossed=False)]}
    story.shots(1, 3, arrived=3)
    assert story.tell()[1].outcome is Outcome.STATE_POSSIBLE


def test_a_reply_from_elsewhere_is_no_reply() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3)
    for shot in (1, 2, 3):
        story.see(2, shot, Event.LEFT)
        story.see(2, shot, Event.ARRIVED, source="10.9.9.9")
        story.see(2, shot, Event.DELIVERED, source="10.9.9.9")
    told = story.tell()
    assert told[2].outcome is Outcome.ALTERED
    assert "10.9.9.9" in told[2].cause


def test_a_rewritten_destination_port_is_altered() -> None:
    story = kerberos()
    story.fire(1, 1)
    story.see(1, 1, Event.LEFT)
    story.see(1, 1, Event.ARRIVED, destination_port=4500)
    story.see(1, 1, Event.DELIVERED, destination_port=4500)
    assert story.tell()[1].outcome is Outcome.ALTERED


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


def test_the_order_in_which_sightings_come_does_not_matter() -> None:
    story = esp_both_ways()
    story.shots(1, 3, arrived=3)
    story.shots(2, 3, arrived=2)
    story.shots(3, 15, arrived=9)
    story.refuse(3, 12)
    first = {n: (c.outcome, c.cause) for n, c in story.tell().items()}
    for seed in range(20):
        random.Random(seed).shuffle(story.sightings)
        assert {n: (c.outcome, c.cause) for n, c in story.tell().items()} == first


def test_an_error_in_the_targets_name_is_the_targets_only_if_it_saw_the_shot() -> None:
    story = kerberos()
    story.shots(1, 3)
    story.see(1, 1, Event.REFUSED, icmp=Icmp(3, 3, FAR))
    told = story.tell()
    assert told[1].outcome is Outcome.REFUSED
    assert "in far's name" in told[1].cause
    assert "the far host itself" not in told[1].cause


def test_an_answer_that_far_never_sent_is_somebody_elses() -> None:
    story = Story(pair(1, "ike", OUT, source_port=500, destination_port=500))
    story.shots(1, 15)
    for shot in range(1, 16):
        story.see(2, shot, Event.REPLIED, Side.NEAR)
    told = story.tell()
    assert told[1].outcome is Outcome.LOST
    assert "answered in far's name" in told[1].cause
    assert told[2].outcome is Outcome.NOT_APPLICABLE
    story.far = Facts(capture_dropped=1)  # then far may have sent it all the same
    assert "in far's name" not in story.tell()[1].cause


def test_a_reply_whose_octets_were_changed_is_altered_not_lost() -> None:
    story = Story(pair(1, "ike", OUT, source_port=500, destination_port=500))
    story.shots(1, 3, arrived=3)
    for shot in range(1, 4):
        story.see(2, shot, Event.LEFT)
        story.see(2, shot, Event.REPLIED, Side.NEAR)
    assert story.tell()[2].outcome is Outcome.ALTERED


@pytest.mark.parametrize(("seen", "outcome"), [(True, "lost"), (False, "not-applicable")])
def test_fragments_that_were_put_in_order_before_they_left_are_no_verdict(
    seen: bool, outcome: str
) -> None:
    request, reply = pair(1, "ike", OUT, source_port=500, destination_port=500)
    last_first = Fragmenting.LAST_FIRST
    checks = [
        replace(p, check=replace(p.check, size=2000, fragmenting=last_first))
        for p in (request, reply)
    ]
    story = Story((checks[0], checks[1]))
    story.shots(1, 60)
    story.sightings = [replace(s, backwards=seen) for s in story.sightings]
    assert story.tell()[1].outcome == outcome


def test_what_did_not_leave_is_tried_once_more_and_then_believed() -> None:
    story = kerberos()
    story.fire(1, 3)
    for shot in (1, 2, 3):
        story.see(1, shot, Event.UNSENT, note="ENOBUFS")
    assert story.tell()[1].outcome is Outcome.NOT_SENT
    assert more_shots(story.plan, story.evidence(), OUT) == {1: 3}
    story.fire(1, 3)
    assert more_shots(story.plan, story.evidence(), OUT) == {}
