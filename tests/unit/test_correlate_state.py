"""delivered or state-possible: may earlier traffic have opened the way?"""

from __future__ import annotations

import pytest

from agent.ledger import CONTROL
from agent.model import Event, Facts, Prior, Side
from probe.result import Outcome, Verdict
from tests.unit.correlation import (
    IN,
    OUT,
    Story,
    esp_both_ways,
    kerberos,
    pair,
)

# -- delivered, and what is not quite that -------------------------------------------------------


def test_what_arrives_on_a_fresh_port_is_delivered() -> None:
    story = kerberos()
    story.shots(1, 3, arrived=3)
    story.shots(2, 3, arrived=3)
    told = story.tell()
    assert [told[n].outcome for n in (1, 2)] == [Outcome.DELIVERED, Outcome.DELIVERED]
    assert [told[n].verdict for n in (1, 2)] == [Verdict.PASS, Verdict.PASS]
    assert (told[1].shots, told[1].arrived, told[1].delivered) == (3, 3, 3)


def test_esp_out_after_esp_in_has_passed_proves_nothing() -> None:
    story = esp_both_ways()
    story.shots(1, 3, arrived=3)
    story.shots(2, 3, arrived=3)
    story.shots(3, 3, arrived=3)
    story.shots(4, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[3].outcome is Outcome.STATE_POSSIBLE
    assert "inbound ESP" in told[3].cause
    assert told[3].verdict is Verdict.PASS
    assert story.tell(strict=True)[3].verdict is Verdict.FAIL
    assert told[4].outcome is Outcome.DELIVERED  # a reply may ride on state: that is its question


def test_esp_in_that_was_dropped_leaves_the_other_direction_clean() -> None:
    story = esp_both_ways()
    story.shots(1, 15)
    story.shots(3, 3, arrived=3)
    story.shots(4, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is Outcome.LOST
    assert told[3].outcome is Outcome.DELIVERED


def test_the_wrong_order_is_caught() -> None:
    """Outbound first: an inbound shot that then arrives may be nothing but its reply."""
    story = esp_both_ways()
    story.shots(3, 3, arrived=3)
    story.shots(4, 3, arrived=3)
    story.shots(1, 3, arrived=3)
    told = story.tell()
    assert told[3].outcome is Outcome.DELIVERED
    assert told[1].outcome is Outcome.STATE_POSSIBLE


def test_a_shot_that_reached_the_interface_alone_has_opened_the_network_too() -> None:
    story = esp_both_ways()
    story.shots(1, 3, arrived=3, delivered=0)
    story.shots(3, 3, arrived=3)
    assert story.tell()[3].outcome is Outcome.STATE_POSSIBLE


def test_the_targets_own_tracking_spoils_delivery_not_arrival() -> None:
    story = esp_both_ways()
    story.far = Facts(tracked=4)
    story.shots(1, 15)  # far sent them, the network dropped them
    story.shots(3, 3, arrived=3)
    told = story.tell()
    assert told[3].outcome is Outcome.STATE_POSSIBLE
    assert "far's own stateful firewall" in told[3].cause


def test_the_targets_tracking_is_no_excuse_where_it_sent_nothing() -> None:
    story = esp_both_ways()
    story.far = Facts(tracked=4)
    story.fire(1, 1)
    story.see(1, 1, Event.UNSENT, note="EPERM")
    story.shots(3, 3, arrived=3)
    assert story.tell()[3].outcome is Outcome.DELIVERED


@pytest.mark.parametrize("side", list(Side))
def test_the_ledger_of_either_end_spoils_a_new_flow(side: Side) -> None:
    story = esp_both_ways()
    story.priors = {side: [Prior(1, 42.4, "an earlier run")]}
    story.shots(1, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is Outcome.STATE_POSSIBLE
    assert "42 seconds ago" in told[1].cause


def test_lost_on_a_tuple_in_the_ledger_is_a_clean_lost() -> None:
    story = esp_both_ways()
    story.priors = {Side.NEAR: [Prior(1, 42.4, "an earlier run")]}
    story.shots(1, 15)
    assert story.tell()[1].outcome is Outcome.LOST


@pytest.mark.parametrize("side", list(Side))
def test_live_traffic_on_the_tuple_spoils_a_new_flow(side: Side) -> None:
    story = esp_both_ways()
    facts = Facts(live=(1,))
    story.near, story.far = (facts, Facts()) if side is Side.NEAR else (Facts(), facts)
    story.shots(1, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is Outcome.STATE_POSSIBLE
    assert "not ours" in told[1].cause


def test_ike_from_500_shares_its_tuple_and_ike_from_a_fresh_port_does_not() -> None:
    story = Story(
        pair(1, "ike", IN, source_port=500, destination_port=500),
        pair(3, "ike", OUT, source_port=500, destination_port=500),
        pair(5, "ike", OUT, destination_port=500),
    )
    for number in (1, 2, 3, 4, 5, 6):
        story.shots(number, 3, arrived=3)
    told = story.tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[3].outcome is Outcome.STATE_POSSIBLE
    assert told[5].outcome is Outcome.DELIVERED


def test_echo_requests_are_flows_of_their_own() -> None:
    story = Story(pair(1, "icmp-echo", IN), pair(3, "icmp-echo", OUT))
    for number in (1, 2, 3, 4):
        story.shots(number, 3, arrived=3)
    assert story.tell()[3].outcome is Outcome.DELIVERED


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


# -- control messages that ride in what is tested ------------------------------------------------


def test_what_nears_own_control_messages_may_have_opened_cannot_be_told() -> None:
    """With a control connection it would have been asked first; here that was not to be had."""
    story = esp_both_ways()
    for number in (1, 2, 3, 4):
        story.shots(number, 3, arrived=3)
    story.near = Facts(carried_out=(1, 2, 3, 4))
    told = story.tell()
    assert told[1].outcome is Outcome.UNOBSERVED
    assert "control messages had gone out in ESP packets" in told[1].cause
    assert told[2].outcome is Outcome.NOT_APPLICABLE
    assert told[3].outcome is Outcome.STATE_POSSIBLE  # as it would be: inbound had passed before
    assert told[4].outcome is Outcome.DELIVERED


def test_what_control_messages_did_not_open_is_lost_all_the_same() -> None:
    story = esp_both_ways()
    story.shots(1, 15)
    story.shots(3, 15)
    story.near = Facts(carried_out=(1, 3))
    told = story.tell()
    assert told[1].outcome is Outcome.LOST
    assert told[3].outcome is Outcome.LOST


@pytest.mark.parametrize("side", [Side.NEAR, Side.FAR])
def test_control_messages_from_far_alone_leave_a_mark(side: Side) -> None:
    story = esp_both_ways()
    for number in (1, 2, 3, 4):
        story.shots(number, 3, arrived=3)
    facts = Facts(carried_in=(1, 3)) if side is Side.NEAR else Facts(carried_out=(1, 3))
    setattr(story, side, facts)
    told = story.tell()
    assert told[1].outcome is Outcome.STATE_POSSIBLE
    assert "control messages rode in ESP" in told[1].cause
    assert told[3].outcome is Outcome.STATE_POSSIBLE


@pytest.mark.parametrize(
    ("side", "crossed", "seconds", "outcome"),
    [
        (Side.FAR, True, 3.0, Outcome.UNOBSERVED),  # far saw what near sent before the run
        (Side.NEAR, True, 3.0, Outcome.STATE_POSSIBLE),  # near saw what far sent
        (Side.FAR, True, 300.0, Outcome.STATE_POSSIBLE),  # an earlier run's
    ],
)
def test_control_messages_before_the_run_count(
    side: Side, crossed: bool, seconds: float, outcome: Outcome
) -> None:
    story = esp_both_ways()
    story.shots(1, 3, arrived=3)
    story.shots(2, 3, arrived=3)
    story.priors = {side: [Prior(1, seconds, CONTROL, crossed)]}
    assert story.tell()[1].outcome is outcome
