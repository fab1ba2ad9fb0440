"""The correlator beside other people's daemons: whose answer counts, and what they may hide."""

from __future__ import annotations

from agent.model import TAKEN, Event, Facts, PortHeld, Side
from probe.again import more_shots
from probe.result import Outcome
from tests.unit.correlation import FAR, IN, OUT, Story, kerberos, pair

REQUEST, REPLY = 1, 2
KDC = PortHeld(17, 88)


def asked(shots: int = 15) -> Story:
    story = kerberos()
    story.far = Facts(held=(KDC,))
    story.shots(REQUEST, shots, arrived=shots)
    return story


def daemon(story: Story, shots: int, *, came: bool, digest: str = "d", source: str = FAR) -> None:
    """The KDC answers each, and near's socket has it where it ``came``."""
    for shot in range(1, shots + 1):
        story.see(REPLY, shot, Event.REPLIED, Side.FAR, digest="d", source=source)
        if came:
            story.see(REPLY, shot, Event.REPLIED, Side.NEAR, digest=digest, source=source)
            story.see(REPLY, shot, Event.REPLIED, Side.NEAR, stage=TAKEN, source=source)


def test_the_daemons_answer_is_a_reply_where_ours_is_lost() -> None:
    story = asked()
    story.shots(REPLY, 15)
    daemon(story, 15, came=True)
    told = story.tell()
    assert told[REPLY].outcome is Outcome.DELIVERED
    assert told[REPLY].delivered == 15
    assert told[REPLY].cause == "answered by the far host's own Kerberos service"


def test_where_no_answer_comes_the_reply_is_lost_whoever_sent_it() -> None:
    story = asked()
    story.shots(REPLY, 15)
    daemon(story, 15, came=False)
    assert story.tell()[REPLY].outcome is Outcome.LOST


def test_a_host_firewall_that_drops_the_daemons_answer_is_named() -> None:
    story = asked(1)
    story.see(REPLY, 1, Event.REPLIED, Side.FAR, digest="d")
    story.see(REPLY, 1, Event.REPLIED, Side.NEAR, digest="d")
    assert story.tell()[REPLY].outcome is Outcome.HOST_DROPPED


def test_an_answer_that_is_not_what_was_sent_was_changed_on_the_way() -> None:
    story = asked()
    story.shots(REPLY, 15)
    daemon(story, 15, came=True, digest="another")
    assert story.tell()[REPLY].outcome is Outcome.ALTERED
    story = asked()
    story.shots(REPLY, 15, arrived=15)  # ours came as it had left
    daemon(story, 15, came=True, digest="another")
    assert story.tell()[REPLY].outcome is Outcome.DELIVERED


def test_an_answer_from_another_address_is_told_and_does_not_stand_for_a_reply() -> None:
    story = asked()
    story.shots(REPLY, 15, arrived=15)
    daemon(story, 15, came=True, source="10.2.0.9")
    told = story.tell()[REPLY]
    assert told.outcome is Outcome.DELIVERED
    assert "from 10.2.0.9, which had not been asked" in told.cause
    story = asked()
    story.shots(REPLY, 15)
    daemon(story, 15, came=True, source="10.2.0.9")
    assert story.tell()[REPLY].outcome is Outcome.LOST


def test_what_came_while_a_daemon_took_the_port_is_not_the_host_firewalls_doing() -> None:
    story = kerberos()
    story.far = Facts(held=(PortHeld(17, 88, lately=True),))
    story.shots(REQUEST, 3, arrived=3, delivered=0)
    found = story.tell()[REQUEST]
    assert found.outcome is Outcome.UNOBSERVED
    assert "another program came to port 88" in found.cause
    assert more_shots(story.plan, story.evidence(), OUT) == {REQUEST: 3}
    for shot in (4, 5, 6):
        for event in (Event.SENT, Event.LEFT, Event.ARRIVED, Event.DELIVERED):
            story.see(REQUEST, shot, event)
    assert story.tell()[REQUEST].outcome is Outcome.DELIVERED
    story.far = Facts(held=(KDC,))
    assert story.tell()[REQUEST].outcome is Outcome.LOSSY  # with a daemon there from the first


def test_a_service_that_is_not_ours_is_not_what_the_paths_loss_is_measured_with() -> None:
    story = Story(
        pair(1, "kerberos-udp", OUT, destination_port=88), pair(3, "esp", OUT), pair(5, "ah", OUT)
    )
    story.shots(1, 3, arrived=3)
    story.shots(3, 3, arrived=3)
    story.shots(5, 3)
    story.shots(2, 3, arrived=3)
    story.shots(4, 3, arrived=3)
    assert set(more_shots(story.plan, story.evidence(), OUT)) == {1, 5}
    story.far = Facts(held=(KDC,))
    assert set(more_shots(story.plan, story.evidence(), OUT)) == {3, 5}


def test_which_checks_a_service_at_the_target_gets_as_well() -> None:
    story = Story(
        pair(1, "kerberos-udp", OUT, destination_port=88),
        pair(3, "kerberos-tcp", OUT, destination_port=88),
        pair(5, "kerberos-udp", IN, destination_port=88),
    )
    story.far = Facts(held=(KDC,))
    story.near = Facts(held=(PortHeld(17, 88, taken=False),))
    evidence = story.evidence()
    assert [n for n in (1, 3, 5) if evidence.serves_others(story.checks[n])] == [1]
