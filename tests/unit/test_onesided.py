"""What one end alone may conclude: an answer proves, silence does not, and who spoke is weighed."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from agent.model import OVER_RATION, Event, Facts, Prior, Side, Volley
from probe.judge import onesided
from probe.judge.evidence import Evidence
from probe.judge.hearsay import routers
from probe.plan import Planned
from probe.result import Expect, Outcome, Verdict
from tests.unit.correlation import IN, NEAR, pair
from tests.unit.onesided_story import (
    ADMIN,
    ECHO,
    ESP,
    FAR,
    IKE,
    KERBEROS,
    NEARER,
    NO_HOST,
    NO_PORT,
    NO_PROTOCOL,
    PLAIN_TCP,
    PLAIN_UDP,
    ROUTER,
    TCP,
    OneSided,
)

EVERYTHING = (ESP, IKE, KERBEROS, TCP, ECHO, PLAIN_TCP, PLAIN_UDP)
NUMBERS = [request.check.number for request, _ in EVERYTHING]


# -- silence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [Expect.PASS, Expect.BLOCK])
@pytest.mark.parametrize("shots", [1, 50])
def test_silence_is_no_failure_and_no_success(expected: Expect, shots: int) -> None:
    pairs = [
        (replace(request, expected=expected), replace(reply, expected=expected))
        for request, reply in EVERYTHING
    ]
    story = OneSided(*pairs, unsaid=True)
    for number in NUMBERS:
        story.leave(number, shots)
    told = story.judged()
    for number in NUMBERS:
        assert told[number].outcome is Outcome.UNOBSERVED
        assert told[number].verdict is Verdict.ERROR
        assert told[number].cause == "no answer: cannot tell filtered from ignored"
        assert told[number + 1].verdict is Verdict.SKIP


def test_where_nothing_came_back_at_all_it_is_said() -> None:
    (note,) = onesided.notes(OneSided(*EVERYTHING).plan, OneSided(*EVERYTHING).evidence())
    assert "nothing at all came back" in note
    assert onesided.notes(OneSided(ESP).plan, Evidence()) == ()


def test_silence_of_a_run_that_broke_off_or_saw_badly() -> None:
    story = OneSided(ESP)
    broken = replace(story.evidence(), unsettled=ESP[0].check.direction)
    assert "before its silence could count" in onesided.conclude(story.plan, broken)[0].cause
    story.near = Facts(capture_dropped=7)
    assert "capture dropped 7 packets" in story.judged()[1].cause
    assert onesided.conclude(story.plan, Evidence())[0].cause.startswith("the run ended before")


# -- what cannot be asked --------------------------------------------------------------------------


def test_what_only_far_could_send_cannot_be_asked() -> None:
    told = OneSided(pair(21, "esp", IN), unsaid=True).judged()
    for number in (21, 22):
        assert told[number].outcome is Outcome.NOT_APPLICABLE
        assert told[number].verdict is Verdict.SKIP
        assert "without an agent there" in told[number].cause


# -- far's own words -------------------------------------------------------------------------------


def test_an_ike_or_a_kerberos_answer_proves_both_ways() -> None:
    story = OneSided(IKE, KERBEROS)
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN")
    story.answer(5, "KRB-ERROR 68 (wrong realm)")
    told = story.judged()
    assert {told[n].outcome for n in (3, 4, 5, 6)} == {Outcome.DELIVERED}
    assert told[3].cause == "far's own service answered: IKE notify NO_PROPOSAL_CHOSEN"
    assert told[5].cause == "far's own service answered: KRB-ERROR 68 (wrong realm)"
    assert (told[3].arrived, told[4].arrived, told[4].delivered) == (1, 1, 1)


def test_an_echo_reply_needs_no_words() -> None:
    story = OneSided(ECHO)
    story.echo()
    told = story.judged()
    assert [(told[n].outcome, told[n].cause) for n in (9, 10)] == [(Outcome.DELIVERED, "")] * 2


def test_an_answer_that_nears_own_firewall_drops() -> None:
    story = OneSided(IKE)
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN", taken=False)
    told = story.judged()
    assert told[3].outcome is Outcome.DELIVERED
    assert told[4].outcome is Outcome.HOST_DROPPED
    story.near = Facts(socket_dropped=1)
    assert story.judged()[4].outcome is Outcome.UNOBSERVED


def test_garbage_in_its_name_proves_nothing() -> None:
    story = OneSided(IKE, KERBEROS, ECHO)
    story.echo()
    story.answer(3, "")
    story.answer(5, "")
    told = story.judged()
    for number in (3, 5):
        assert told[number].outcome is Outcome.UNOBSERVED
        assert "no answer in" in told[number].cause
        assert told[number + 1].outcome is Outcome.NOT_APPLICABLE
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN")
    assert story.judged()[3].outcome is Outcome.DELIVERED


def test_an_answer_from_elsewhere_proves_nothing() -> None:
    story = OneSided(IKE)
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN", source="192.0.2.9")
    told = story.judged()
    assert told[3].outcome is Outcome.UNOBSERVED
    assert "192.0.2.9" in told[3].cause
    assert told[4].outcome is Outcome.NOT_APPLICABLE


def test_a_service_that_is_nearer_than_the_host_is_not_the_hosts() -> None:
    """As where a firewall redirects the port to a daemon of its own."""
    story = OneSided(IKE, KERBEROS, TCP, ECHO)
    story.echo()
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN", ttl=NEARER)
    story.answer(5, "KRB-ERROR 68 (wrong realm)", ttl=NEARER)
    story.shake(7, ttl=NEARER)
    story.spoken(7, "KRB-ERROR 68 (wrong realm)", ttl=NEARER)
    told = story.judged()
    for number in (3, 5, 7):
        assert told[number].outcome is Outcome.UNOBSERVED, number
        assert "from 2 routers nearer than another answer of far's" in told[number].cause
        assert told[number + 1].outcome is Outcome.NOT_APPLICABLE
    assert told[9].outcome is Outcome.DELIVERED
    assert any("far is 3 routers away" in n for n in onesided.notes(story.plan, story.evidence()))


def test_what_is_as_near_as_such_a_service_is_not_the_hosts_either() -> None:
    story = OneSided(ESP, IKE, TCP, PLAIN_TCP, ECHO)
    story.echo()
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN", ttl=NEARER)
    story.error(1, NO_PROTOCOL, ttl=NEARER)
    story.reset(7, ttl=NEARER)
    story.shake(11, ttl=NEARER)
    told = story.judged()
    assert {told[n].outcome for n in (1, 3, 7, 11)} == {Outcome.UNOBSERVED}


# -- ICMP ------------------------------------------------------------------------------------------


def test_far_itself_says_that_nobody_takes_it() -> None:
    story = OneSided(ESP, IKE, ECHO)
    story.echo()
    story.error(1, NO_PROTOCOL)
    story.error(3, NO_PORT)
    told = story.judged()
    assert {told[n].outcome for n in (1, 3)} == {Outcome.DELIVERED}
    assert "protocol unreachable (ICMP 3/2), so it arrived there" in told[1].cause
    assert {told[n].outcome for n in (2, 4)} == {Outcome.NOT_APPLICABLE}


def test_it_says_so_with_less_weight_where_it_never_spoke_itself() -> None:
    story = OneSided(ESP)
    story.error(1, NO_PROTOCOL)
    told = story.judged()[1]
    assert told.outcome is Outcome.DELIVERED
    assert told.cause.endswith("nothing else came from there that its TTL could be held against")


@pytest.mark.parametrize("word", [ADMIN, NO_HOST, NO_PORT, NO_PROTOCOL, (11, 0), (3, 99)])
def test_a_router_refuses_whatever_it_says(word: tuple[int, int]) -> None:
    story = OneSided(*EVERYTHING)
    for number in NUMBERS:
        story.error(number, word, ROUTER, ttl=64)
    told = story.judged()
    for number in NUMBERS:
        assert told[number].outcome is Outcome.REFUSED
        assert ROUTER in told[number].cause
        assert told[number + 1].outcome is Outcome.NOT_APPLICABLE
    assert told[1].verdict is Verdict.FAIL


@pytest.mark.parametrize("word", [ADMIN, NO_HOST, (3, 9), (3, 10)])
def test_far_itself_refuses(word: tuple[int, int]) -> None:
    story = OneSided(ESP, IKE, TCP, ECHO)
    story.echo()
    for number in (1, 3, 7):
        story.error(number, word)
    for number in (1, 3, 7):
        told = story.judged()[number]
        assert told.outcome is Outcome.REFUSED
        assert "Its own firewall refuses it, or one that speaks in its name" in told.cause


def test_port_unreachable_is_no_kernels_word_for_what_has_no_ports() -> None:
    """nftables and iptables say it of everything that they reject."""
    story = OneSided(ESP, TCP, ECHO)
    story.echo()
    story.error(1, NO_PORT)
    story.error(7, NO_PORT)
    told = story.judged()
    assert {told[1].outcome, told[7].outcome} == {Outcome.REFUSED}


def test_icmp_in_its_name_from_nearer_is_somebody_elses() -> None:
    story = OneSided(ESP, IKE, ECHO)
    story.echo()
    story.error(1, NO_PROTOCOL, ttl=NEARER)
    story.error(3, NO_PORT, ttl=255 - 1)  # another start, and only one router away
    told = story.judged()
    assert {told[1].outcome, told[3].outcome} == {Outcome.REFUSED}
    assert "from 2 routers nearer than far's other answers (TTL 63)" in told[1].cause


def test_starting_ttls_differ_and_prove_nothing() -> None:
    """A host may begin its ICMP at 255 and its TCP at 64: as far away all the same."""
    story = OneSided(IKE, TCP, ECHO)
    story.echo()
    story.error(3, NO_PORT, ttl=252)
    story.reset(7, ttl=125)
    told = story.judged()
    assert {told[3].outcome, told[7].outcome} == {Outcome.DELIVERED}


def test_nears_own_kernel_gives_up() -> None:
    """As where the next hop does not answer: nobody but near said anything."""
    story = OneSided(ESP, unsaid=True)
    story.fire(1, 1)
    story.see(1, 1, Event.SENT)
    story.error(1, NO_HOST, NEAR, ttl=64)
    told = story.judged()[1]
    assert (told.outcome, told.verdict) == (Outcome.NOT_SENT, Verdict.ERROR)
    assert "its next hop does not answer" in told.cause


# -- contradictions --------------------------------------------------------------------------------


def test_fars_own_words_outweigh_a_claim() -> None:
    story = OneSided(IKE)
    story.error(3, ADMIN, ROUTER, ttl=64)
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN")
    told = story.judged()[3]
    assert told.outcome is Outcome.DELIVERED
    assert f"; and yet {ROUTER}" in told.cause


def test_two_claims_about_one_shot_cancel_out() -> None:
    story = OneSided(PLAIN_TCP)
    story.shake(11)
    story.error(11, ADMIN, ROUTER, ttl=64)
    told = story.judged()[11]
    assert told.outcome is Outcome.UNOBSERVED
    assert "two answers contradict each other" in told.cause


def test_some_shots_reach_it_and_others_are_refused() -> None:
    story = OneSided(ESP, unsaid=True)
    story.leave(1, 3)
    story.error(1, NO_PROTOCOL, shot=1)
    story.error(1, ADMIN, ROUTER, ttl=64, shot=2)
    told = story.judged()[1]
    assert (told.outcome, told.verdict) == (Outcome.LOSSY, Verdict.WARN)
    assert told.cause.startswith("1 of 3 shots reached far, and yet 10.1.0.1")


def test_no_evidence_however_hostile_breaks_it_or_makes_silence_a_failure() -> None:
    """Drawn at random: words of anybody in any order. A refusal needs somebody who refused."""
    random_ = random.Random(5)
    words = [ADMIN, NO_HOST, NO_PORT, NO_PROTOCOL, (11, 0), (12, 255)]
    for _ in range(400):
        story = OneSided(*EVERYTHING)
        refusers = set()
        for number in NUMBERS:
            for _ in range(random_.randrange(3)):
                sender = random_.choice([FAR, ROUTER, NEAR, "192.0.2.9"])
                ttl = random_.choice([1, 61, 63, 64, 128, 255])
                match random_.randrange(5):
                    case 0:
                        story.error(number, random_.choice(words), sender, ttl=ttl)
                        refusers.add(number)
                    case 1:
                        story.answer(number, random_.choice(["", "x"]), source=sender, ttl=ttl)
                    case 2:
                        story.shake(number, ttl=ttl, connected=random_.random() < 0.5)
                    case 3:
                        story.reset(number, ttl=ttl, source=sender)
                        refusers.add(number)
                    case 4:
                        story.spoken(number, random_.choice(["", "x"]), ttl=ttl)
        random_.shuffle(story.sightings)
        told = story.judged()
        onesided.notes(story.plan, story.evidence())
        for number in NUMBERS:
            outcome = told[number].outcome
            assert outcome not in (Outcome.LOST, Outcome.ALTERED, Outcome.NOT_SENT)
            assert outcome is not Outcome.REFUSED or number in refusers
            assert told[number].cause or number == 9 or outcome is Outcome.DELIVERED
            if told[number + 1].outcome is Outcome.DELIVERED:
                assert outcome in (Outcome.DELIVERED, Outcome.LOSSY)


# -- state, and what never left --------------------------------------------------------------------


def test_what_earlier_traffic_may_have_opened_is_no_proof_of_a_rule() -> None:
    story = OneSided(ESP, KERBEROS)
    story.priors = {Side.NEAR: [Prior(1, 30.0, "an earlier run")]}
    story.error(1, NO_PROTOCOL)
    story.answer(5, "KRB-ERROR 6 (client unknown)")
    told = story.judged()
    assert told[1].outcome is Outcome.STATE_POSSIBLE
    assert "near saw an earlier run on the same addresses 30 seconds ago" in told[1].cause
    assert told[1].verdict is Verdict.PASS
    assert story.judged(strict=True)[1].verdict is Verdict.FAIL
    assert told[5].outcome is Outcome.DELIVERED  # from a fresh port


@pytest.mark.parametrize(
    ("note", "outcome", "words"),
    [
        ("EPERM", Outcome.NOT_SENT, "its own firewall (OUTPUT) forbids it"),
        (OVER_RATION, Outcome.UNOBSERVED, "left out: another run has just asked"),
    ],
)
def test_what_never_left(note: str, outcome: Outcome, words: str) -> None:
    story = OneSided(IKE, unsaid=True)
    story.fire(3, 1)
    story.see(3, 1, Event.UNSENT, note=note)
    told = story.judged()[3]
    assert (told.outcome, told.verdict) == (outcome, Verdict.ERROR)
    assert words in told.cause


def test_what_the_kernel_took_and_no_interface_saw() -> None:
    story = OneSided(ESP, unsaid=True)
    story.fire(1, 1)
    story.see(1, 1, Event.SENT)
    assert story.judged()[1].outcome is Outcome.NOT_SENT
    story.near = Facts(capture_dropped=1)
    assert story.judged()[1].outcome is Outcome.UNOBSERVED


# -- asking again ----------------------------------------------------------------------------------


def test_what_is_asked_again() -> None:
    """Silence, and what was refused once; never IKE or Kerberos, and nothing that was answered."""
    story = OneSided(*EVERYTHING)
    assert onesided.doubtful(story.plan, story.evidence()) == [1, 9, 11, 13]
    story.echo()
    story.error(1, ADMIN, ROUTER, ttl=64)
    story.error(13, NO_PORT)
    assert onesided.doubtful(story.plan, story.evidence()) == [1, 11]
    story.leave(1, 2)
    story.error(1, ADMIN, ROUTER, ttl=64, shot=2)
    assert onesided.doubtful(story.plan, story.evidence()) == [11]


def test_when_a_shot_is_waited_for_no_longer() -> None:
    def waits(story: OneSided, number: int) -> bool:
        return onesided.unanswered(story.plan, story.evidence(), [Volley(number, 1, 1)])

    story = OneSided(*EVERYTHING)
    assert all(waits(story, number) for number in NUMBERS)
    story.echo()
    story.error(1, NO_PROTOCOL)
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN", taken=False)
    story.shake(7)
    story.shake(11)
    story.answer(13, "")
    assert [n for n in NUMBERS if waits(story, n)] == [3, 5, 7, 13]
    story.answer(3, "IKE notify NO_PROPOSAL_CHOSEN")
    story.spoken(7, "KRB-ERROR 6 (client unknown)")
    story.see(5, 1, Event.UNSENT, note="EPERM")
    assert [n for n in NUMBERS if waits(story, n)] == [13]


@pytest.mark.parametrize(
    ("ttl", "passed"), [(64, 0), (61, 3), (1, 63), (128, 0), (65, 63), (255, 0), (129, 126)]
)
def test_routers_by_what_is_left_of_a_ttl(ttl: int, passed: int) -> None:
    assert routers(ttl) == passed


def test_every_pair_of_words_is_weighed_the_same_in_either_order() -> None:
    def words(story: OneSided) -> list[object]:
        return [
            lambda: story.error(11, ADMIN, ROUTER, ttl=64),
            lambda: story.shake(11),
            lambda: story.reset(11),
            lambda: story.spoken(11, "x"),
        ]

    for first, second in itertools.permutations(range(4), 2):
        told = []
        for order in ((first, second), (second, first)):
            story = OneSided(PLAIN_TCP)
            for place in order:
                words(story)[place]()  # type: ignore[operator]
            told.append(story.judged()[11].outcome)
        assert told[0] is told[1]


def test_a_planned_label_is_kept() -> None:
    request, reply = ESP
    told = onesided.conclude(
        OneSided((Planned(request.check, request.expected, "tunnel"), reply)).plan, Evidence()
    )
    assert told[0].label == "tunnel"
