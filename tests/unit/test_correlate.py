"""The hosts themselves, refusals, alteration and verdicts; what else there is, stands beside it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agent.model import Event, Facts, Fragmenting, Icmp, Side
from probe.again import more_shots, silent_beside_refused
from probe.correlate import verdict
from probe.result import Expect, Outcome, Verdict
from tests.unit.correlation import (
    FAR,
    OUT,
    ROUTER,
    Story,
    esp_both_ways,
    kerberos,
    pair,
)

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
