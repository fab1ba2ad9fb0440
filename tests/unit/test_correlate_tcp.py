"""TCP is judged by its stages: SYN, connection, request, answer."""

from __future__ import annotations

import pytest

from agent.model import Event, Facts, Icmp, Side
from probe.result import Outcome
from tests.unit.correlation import (
    FAR,
    NEAR,
    OUT,
    ROUTER,
    Story,
    pair,
    tcp,
)

# -- TCP -----------------------------------------------------------------------------------------


def handshake(story: Story, shot: int, upto: str) -> None:
    """One connection of check 1, near → far, that gets as far as ``upto`` and no further."""
    steps = (
        ("syn left", 1, Event.SENT, None, "syn"),
        ("syn left", 1, Event.LEFT, None, "syn"),
        ("syn arrived", 1, Event.ARRIVED, None, "syn"),
        ("syn-ack left", 2, Event.LEFT, None, "syn-ack"),
        ("connected", 2, Event.ARRIVED, None, "syn-ack"),
        ("connected", 2, Event.DELIVERED, None, "syn-ack"),
        ("request left", 1, Event.LEFT, None, "request"),
        ("request arrived", 1, Event.ARRIVED, None, "request"),
        ("request delivered", 1, Event.DELIVERED, None, "request"),
        ("answer left", 2, Event.SENT, None, "answer"),
        ("answer left", 2, Event.LEFT, None, "answer"),
        ("answer arrived", 2, Event.ARRIVED, None, "answer"),
        ("answered", 2, Event.DELIVERED, None, "answer"),
    )
    names = [name for name, *_ in steps]
    last = len(names) - 1 - names[::-1].index(upto)
    for _, number, event, at, stage in steps[: last + 1]:
        story.see(number, shot, event, at, stage=stage)


@pytest.mark.parametrize(
    ("upto", "request_", "reply"),
    [
        ("syn left", Outcome.LOST, Outcome.NOT_APPLICABLE),
        ("syn arrived", Outcome.HOST_DROPPED, Outcome.NOT_APPLICABLE),
        ("syn-ack left", Outcome.DELIVERED, Outcome.LOST),
        ("request left", Outcome.LOST, Outcome.DELIVERED),
        ("request arrived", Outcome.HOST_DROPPED, Outcome.DELIVERED),
        ("answer left", Outcome.DELIVERED, Outcome.LOST),
        ("answer arrived", Outcome.DELIVERED, Outcome.HOST_DROPPED),
        ("answered", Outcome.DELIVERED, Outcome.DELIVERED),
    ],
)
def test_tcp_is_judged_by_how_far_it_got(upto: str, request_: Outcome, reply: Outcome) -> None:
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        handshake(story, shot, upto)
    told = story.tell()
    assert told[1].outcome is request_
    if upto not in {"request left", "request arrived"}:
        assert told[2].outcome is reply


def test_a_middlebox_that_shakes_hands_in_fars_name_is_not_far() -> None:
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        story.see(1, shot, Event.SENT, stage="syn")
        story.see(1, shot, Event.LEFT, stage="syn")
        story.see(2, shot, Event.ARRIVED, stage="syn-ack")
        story.see(2, shot, Event.DELIVERED, stage="syn-ack")
        story.see(1, shot, Event.LEFT, stage="request")
    told = story.tell()
    assert told[1].outcome is Outcome.LOST
    assert "in far's name" in told[1].cause


def test_a_reset_from_far_itself_is_told_from_one_in_its_name() -> None:
    story = tcp()
    story.fire(1, 1)
    handshake(story, 1, "syn left")
    story.see(1, 1, Event.REFUSED, stage="rst", source=FAR, destination=NEAR)
    told = story.tell()
    assert told[1].outcome is Outcome.REFUSED
    assert "in far's name" in told[1].cause
    handshake(story, 1, "syn arrived")
    story.see(1, 1, Event.REFUSED, Side.FAR, stage="rst", source=FAR, destination=NEAR)
    assert story.tell()[1].outcome is Outcome.REFUSED


def test_a_refused_syn_ack_is_no_silence_and_the_syn_was_delivered() -> None:
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        handshake(story, shot, "syn-ack left")
    story.refuse(2, 3)
    told = story.tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[2].outcome is Outcome.REFUSED
    assert ROUTER in told[2].cause


def test_what_is_refused_behind_the_handshake_is_refused() -> None:
    """The bare ACK is answered by an error before anybody calls the connection made."""
    story = tcp()
    story.fire(1, 1)
    handshake(story, 1, "syn-ack left")
    story.see(2, 1, Event.ARRIVED, stage="syn-ack")
    story.refuse(1, 1)
    told = story.tell()
    assert told[1].outcome is Outcome.REFUSED
    assert told[2].outcome is Outcome.NOT_APPLICABLE


def test_a_reset_at_the_first_octets_is_somebody_elses() -> None:
    """Where far itself resets, far saw itself do it."""
    story = tcp()
    story.fire(1, 1)
    handshake(story, 1, "request left")
    story.see(1, 1, Event.REFUSED, stage="rst", source=FAR, destination=NEAR)
    told = story.tell()[1]
    assert told.outcome is Outcome.REFUSED
    assert "something in between reset it at the request's first octets" in told.cause
    story.see(1, 1, Event.REFUSED, Side.FAR, stage="rst", source=FAR, destination=NEAR)
    assert story.tell()[1].cause.startswith("far itself reset the connection")


def test_a_request_that_never_left_is_its_own_hosts_doing() -> None:
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        handshake(story, shot, "connected")
    told = story.tell()
    assert told[1].outcome is Outcome.NOT_SENT
    assert "near's own firewall" in told[1].cause


@pytest.mark.parametrize("kind", ["nat-keepalive", "kerberos-tcp"])
def test_what_only_its_port_names_is_not_lost_where_a_nat_may_have_changed_that(kind: str) -> None:
    story = Story(pair(1, kind, OUT, destination_port=4500))
    story.shots(1, 15)
    for shot in range(1, 16):
        story.see(1, shot, Event.LEFT, stage="syn")
    assert story.tell()[1].outcome is Outcome.LOST
    story.far = Facts(nameless=(1,))
    told = story.tell()
    assert told[1].outcome is Outcome.UNOBSERVED
    assert "rewrites the ports" in told[1].cause
    assert told[2].outcome is Outcome.UNOBSERVED


def test_a_syn_sent_again_and_refused_says_nothing_of_one_that_a_nat_renamed() -> None:
    """A firewall that lets new flows in and nothing else: the first SYN got through, nameless."""
    story = tcp()
    story.shots(1, 3)
    for shot in (1, 2, 3):
        story.see(1, shot, Event.LEFT, stage="syn")
        story.see(1, shot, Event.REFUSED, icmp=Icmp(3, 13, ROUTER))
    assert story.tell()[1].outcome is Outcome.REFUSED
    story.far = Facts(nameless=(1,))
    assert story.tell()[1].outcome is Outcome.UNOBSERVED


def test_lost_syns_beside_a_request_that_never_left_do_not_hide_it() -> None:
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 12):
        handshake(story, shot, "syn left")
    for shot in range(12, 16):
        handshake(story, shot, "connected")
    assert story.tell()[1].outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("event", [Event.UNSENT, Event.SENT])
def test_an_answer_of_ours_that_was_cut_off_is_not_made_up_for_by_the_syn_ack(
    event: Event,
) -> None:
    """Something resets the connection at the request's first octets, which did arrive."""
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        handshake(story, shot, "request delivered")
        story.see(2, shot, Event.REFUSED, Side.FAR, stage="rst")
        story.see(2, shot, event, Side.FAR, stage="answer")
    told = story.tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[2].outcome is Outcome.REFUSED


def test_a_daemon_that_does_not_answer_has_replied_by_its_syn_ack() -> None:
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        handshake(story, shot, "request delivered")
    assert story.tell()[2].outcome is Outcome.DELIVERED


def test_an_answer_that_was_held_back_did_not_get_lost() -> None:
    """The handshake is the kernel's, whoever asks; the answer goes to nobody but the peer."""
    story = tcp()
    story.fire(1, 15)
    for shot in range(1, 16):
        handshake(story, shot, "request delivered")
        story.see(2, shot, Event.UNSENT, stage="", note="this run answers another alone")
    told = story.tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[2].outcome is Outcome.NOT_SENT
    assert "this run answers another alone" in told[2].cause
