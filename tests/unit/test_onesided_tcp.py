"""TCP without an agent: handshakes and resets, and in whose name they come."""

from __future__ import annotations

from agent.model import Event
from probe.result import Outcome, Verdict
from tests.unit.onesided_story import (
    ECHO,
    FAR_TTL,
    NEARER,
    PLAIN_TCP,
    TCP,
    OneSided,
)


def test_a_kdc_answers_by_tcp() -> None:
    story = OneSided(TCP)
    story.shake(7)
    story.spoken(7, "KRB-ERROR 25 (preauthentication required)")
    story.reset(7)  # how some end a connection
    told = story.judged()
    assert {told[7].outcome, told[8].outcome} == {Outcome.DELIVERED}
    assert "KRB-ERROR 25" in told[7].cause
    assert told[8].cause == ""


def test_a_handshake_is_enough_for_a_plain_port() -> None:
    story = OneSided(PLAIN_TCP)
    story.shake(11)
    told = story.judged()
    assert {told[11].outcome, told[12].outcome} == {Outcome.DELIVERED}
    assert "far completed the TCP handshake on port 445; nothing else" in told[11].cause
    assert told[12].cause == "the SYN-ACK is all the reply there was"


def test_a_handshake_that_nears_own_firewall_drops() -> None:
    story = OneSided(PLAIN_TCP)
    story.shake(11, connected=False)
    told = story.judged()
    assert (told[11].outcome, told[12].outcome) == (Outcome.DELIVERED, Outcome.HOST_DROPPED)


def test_a_handshake_without_kerberos_behind_it() -> None:
    """As a proxy makes it, and as a service makes it that is no KDC: the distance decides."""
    alone = OneSided(TCP)
    alone.shake(7)
    assert alone.judged()[7].outcome is Outcome.UNOBSERVED
    assert "or a proxy on the way" in alone.judged()[7].cause
    known = OneSided(TCP, ECHO)
    known.echo()
    known.shake(7)
    assert known.judged()[7].outcome is Outcome.DELIVERED
    assert "no answer to the request came" in known.judged()[7].cause


def test_a_handshake_in_its_name_from_nearer() -> None:
    story = OneSided(TCP, PLAIN_TCP, ECHO)
    story.echo()
    for number in (7, 11):
        story.shake(number, ttl=NEARER)
        told = story.judged()
        assert told[number].outcome is Outcome.UNOBSERVED
        assert "something on the way speaks for it" in told[number].cause
        assert told[number + 1].outcome is Outcome.NOT_APPLICABLE
    story.spoken(7, "KRB-ERROR 68 (wrong realm)")  # what it passes on is far's own
    assert story.judged()[7].outcome is Outcome.DELIVERED
    assert "the handshake before it was made by something nearer" in story.judged()[7].cause


def test_a_reset_is_held_against_fars_own_words() -> None:
    same, nearer, alone = OneSided(TCP, ECHO), OneSided(TCP, ECHO), OneSided(TCP, ECHO)
    for story in (same, nearer):
        story.echo()
    same.reset(7)
    nearer.reset(7, ttl=NEARER)
    alone.reset(7)
    assert same.judged()[7].outcome is Outcome.DELIVERED
    assert "nothing listens on port 88" in same.judged()[7].cause
    assert same.judged()[8].outcome is Outcome.NOT_APPLICABLE
    assert nearer.judged()[7].outcome is Outcome.REFUSED
    assert "a TCP RST came in far's name" in nearer.judged()[7].cause
    assert alone.judged()[7].outcome is Outcome.UNOBSERVED
    assert "either it arrived there" in alone.judged()[7].cause


def test_a_reset_from_farther_is_not_a_firewalls() -> None:
    """As where the ping is answered by what stands in front of the host."""
    story = OneSided(TCP, ECHO)
    story.echo(ttl=FAR_TTL)
    story.reset(7, ttl=FAR_TTL - 2)
    assert story.judged()[7].outcome is Outcome.DELIVERED


def test_a_reset_is_held_against_a_handshake_too() -> None:
    story = OneSided(TCP, PLAIN_TCP)
    story.shake(11)
    story.reset(7, ttl=NEARER)
    assert story.judged()[7].outcome is Outcome.REFUSED


def test_a_reset_behind_the_handshake() -> None:
    story = OneSided(TCP, ECHO)
    story.echo()
    story.shake(7)
    story.reset(7, ttl=NEARER)
    assert story.judged()[7].outcome is Outcome.REFUSED
    assert "ends it behind the handshake" in story.judged()[7].cause
    by_far = OneSided(TCP, ECHO)
    by_far.echo()
    by_far.shake(7)
    by_far.reset(7)
    assert by_far.judged()[7].outcome is Outcome.DELIVERED
    assert "the connection was then reset" in by_far.judged()[7].cause


def test_a_reset_of_what_never_left_is_nears_own() -> None:
    """nftables rejects in OUTPUT with a reset in far's name; near's capture sees it."""
    story = OneSided(TCP, ECHO, unsaid=True)
    story.leave(9)
    story.echo()
    story.fire(7, 1)
    story.see(7, 1, Event.SENT, stage="syn")
    story.reset(7)
    told = story.judged()[7]
    assert (told.outcome, told.verdict) == (Outcome.NOT_SENT, Verdict.ERROR)


def test_a_reset_of_anybody_elses_is_nothing() -> None:
    story = OneSided(TCP, ECHO)
    story.echo()
    story.reset(7, source="192.0.2.9")
    assert story.judged()[7].outcome is Outcome.UNOBSERVED
