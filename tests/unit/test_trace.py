"""What may be said of a path: never more than the sightings hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Check, Direction, Event, Flow, Side, Sighting
from probe.result import Outcome
from probe.trace.conclusion import Way, conclude
from probe.trace.hops import ORIGIN, TARGET, Case, Got, Walked, distance
from tests.unit.walks import ECHO, ESP, FAR, Path, router

YES, NO, UNKNOWN = Got.YES, Got.NO, Got.UNKNOWN
ROUNDS = 9


def settled(path: Path, hops: list[int] | None = None) -> Way:
    """Asks until nothing is wanted any more, as the walk does."""
    walked = path.walk(hops)
    for _ in range(ROUNDS):
        wanted = Case(walked).wanted()
        if not wanted:
            break
        walked = path.ask_again(wanted)
    return conclude(walked)


def reached(way: Way) -> list[Got]:
    return [hop.subject for hop in way.hops]


def test_where_no_hop_was_asked_nothing_is_said_of_the_routers() -> None:
    """By ssh: where near was in far's eyes came to light when it was too late for a walk."""
    path = Path(drops={"esp": 2})
    path.shoot(ESP, None, 3)
    path.shoot(ECHO, None, 3)
    way = conclude(path.walked())
    assert way.outcome is Outcome.LOST
    assert way.cause == "; no hop was asked"
    assert way.hops == ()


# -- it dies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 6])
def test_a_forward_chain_that_drops_answers_at_its_own_hop(limit: int | None) -> None:
    way = settled(Path(drops={"esp": 2}, limit=limit))
    assert reached(way) == [YES, YES, NO]
    assert [hop.reference for hop in way.hops] == [YES, YES, YES]
    assert (way.forwarder, way.holder, way.misser) == (1, 2, 3)
    assert way.cause == (
        "10.0.1.1 forwarded it and 10.0.2.1 received it; the next hop, 10.0.3.1, which ICMP echo "
        "reaches, never did: 10.0.2.1 drops it on the way through, or 10.0.3.1 does at its entrance"
    )


def test_the_same_is_said_of_a_drop_at_the_next_hops_entrance() -> None:
    """From outside the two look alike, and so the words must hold both."""
    inside, entrance = settled(Path(drops={"esp": 2})), settled(Path(entrance={"esp": 3}))
    assert inside == entrance


def test_at_the_first_hop() -> None:
    way = settled(Path(drops={"esp": 1}))
    assert reached(way) == [YES, NO, NO]
    assert (way.forwarder, way.holder, way.misser) == (ORIGIN, 1, 2)
    assert way.cause.startswith("10.0.1.1 received it; the next hop, 10.0.2.1, which")


def test_before_the_first_hop_answers() -> None:
    way = settled(Path(entrance={"esp": 1}))
    assert reached(way) == [NO, NO, NO]
    assert (way.forwarder, way.holder, way.misser) == (None, ORIGIN, 1)
    assert way.cause == (
        "it left near, and no router answered for it; the next hop, 10.0.1.1, which ICMP echo "
        "reaches, never did: 10.0.1.1 drops it at its entrance"
    )


def test_at_the_last_hop_the_target_is_the_next() -> None:
    way = settled(Path(drops={"esp": 3}))
    assert reached(way) == [YES, YES, YES]
    assert (way.forwarder, way.holder, way.misser) == (2, 3, TARGET)
    assert f"far ({FAR}), which ICMP echo reaches, never did" in way.cause
    assert "10.0.3.1 drops it on the way through, or something in front of far's" in way.cause
    assert "never answered" not in way.cause


def test_a_walk_that_was_cut_short_says_that_the_way_goes_on() -> None:
    way = settled(Path(routers=5, drops={"esp": 4}), hops=[1, 2])
    assert (way.holder, way.misser) == (2, TARGET)
    assert "10.0.2.1 drops it on the way through, or something further on, where" in way.cause


def test_a_router_that_refuses_is_named_with_its_hop() -> None:
    way = settled(Path(rejects={"esp": 2}))
    assert way.outcome is Outcome.REFUSED
    assert reached(way) == [YES, YES, NO]
    assert way.cause == "10.0.2.1 says no. That is hop 2; 10.0.1.1 was the last to forward it"
    assert (way.forwarder, way.holder) == (1, 2)


# -- silence ---------------------------------------------------------------------------------------


def test_a_silent_router_is_never_blamed_alone() -> None:
    way = settled(Path(routers=4, drops={"esp": 2}, silent=(2,)))
    assert reached(way) == [YES, UNKNOWN, NO, NO]
    assert way.hops[1].addresses == ()
    assert (way.holder, way.misser) == (1, 3)
    assert way.cause == (
        "10.0.1.1 received it; hop 2 never answered, and behind, 10.0.3.1, which ICMP echo "
        "reaches, never did: 10.0.1.1 drops it on the way through, or the silent hop does, or "
        "10.0.3.1 does at its entrance"
    )


def test_a_silent_router_is_asked_again_but_not_for_ever() -> None:
    path = Path(silent=(2,), drops={"esp": 3})
    walked = path.walk()
    rounds = 0
    while wanted := Case(walked).wanted():
        walked = path.ask_again(wanted)
        rounds += 1
    assert 1 <= rounds <= 3


def test_all_routers_silent() -> None:
    way = settled(Path(drops={"esp": 2}, silent=(1, 2, 3)))
    assert reached(way) == [UNKNOWN] * 3
    assert (way.holder, way.misser) == (ORIGIN, TARGET)
    assert "hops 1 to 3 never answered" in way.cause
    assert "a silent hop drops it, or something in front of far's interface does" in way.cause


def test_a_burst_that_the_limit_swallows_proves_nothing() -> None:
    """One answer, and then one a second: the reference has it, and the subject none."""
    path = Path(drops={"esp": 3}, limit=1)
    walked = path.walk()
    assert (Case(walked).holder, Case(walked).misser) == (ORIGIN, 1)
    assert not Case(walked).certain
    way = settled(Path(drops={"esp": 3}, limit=1))
    assert reached(way) == [YES, YES, YES]
    assert way.holder == 3


def test_before_it_is_certain_no_hop_is_blamed() -> None:
    way = conclude(Path(drops={"esp": 1}).walk())
    assert reached(way) == [YES, UNKNOWN, UNKNOWN]
    assert way.misser is None
    assert "answers too seldom to be sure" in way.cause
    assert "drops it" not in way.cause


def test_loss_of_the_references_answers_asks_for_more() -> None:
    path = Path(drops={"esp": 1}, lost={("icmp-echo", 5)})
    walked = path.walk()
    for _ in range(2):
        walked = path.ask_again(Case(walked).wanted())
    assert Case(walked).misser == 2
    assert not Case(walked).certain  # it answered one of two
    way = settled(Path(drops={"esp": 1}, lost={("icmp-echo", 5)}))
    assert way.misser == 2


def test_loss_of_one_shot_moves_nothing() -> None:
    for shot in range(4, 13):
        assert settled(Path(drops={"esp": 2}, lost={("esp", shot)})).holder == 2


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.sets(st.integers(1, 6)),
    st.sampled_from([None, 6, 3]),
    st.booleans(),
)
def test_the_culprits_are_always_among_those_named(
    routers: int, at: int, silent: set[int], limit: int | None, entrance: bool
) -> None:
    where = {"esp": min(at, routers)}
    path = Path(routers, silent=tuple(silent), limit=limit)
    path.drops, path.entrance = ({}, where) if entrance else (where, {})
    way = settled(path)
    assert way.holder is not None
    last_that_had_it = where["esp"] - 1 if entrance else where["esp"]
    assert way.holder <= last_that_had_it
    first_without = where["esp"] if entrance else where["esp"] + 1
    if way.misser not in (None, TARGET):
        assert way.misser >= first_without
    for hop in way.hops:
        assert not (hop.subject is NO and hop.number <= last_that_had_it)
        assert not (hop.subject is YES and hop.number >= first_without)


# -- other endings ---------------------------------------------------------------------------------


def test_everything_passes() -> None:
    path = Path()
    walked = path.walk()
    assert not Case(walked).wanted()
    way = conclude(walked)
    assert way.outcome is Outcome.DELIVERED
    assert [hop.addresses for hop in way.hops] == [(router(n),) for n in (1, 2, 3)]
    assert reached(way) == [YES, YES, YES]
    assert (way.forwarder, way.holder, way.misser) == (None, None, None)


@pytest.mark.parametrize("routers", [1, 3])
def test_a_reference_that_dies_adds_no_router_to_a_way_that_is_open(routers: int) -> None:
    """It is asked one hop further than the way is long, and nothing comes of that."""
    path = Path(routers=routers, drops={"icmp-echo": 1})
    way = conclude(path.walk())
    assert way.outcome is Outcome.DELIVERED
    assert [hop.number for hop in way.hops] == list(range(1, routers + 1))


def test_what_the_other_direction_may_have_opened_is_told() -> None:
    walked = Path().walk()
    way = conclude(walked, crossed=2)
    assert way.outcome is Outcome.STATE_POSSIBLE
    assert "had crossed 2 routers" in way.cause
    fresh = Check(1, "kerberos-udp", Direction.OUTBOUND, Flow.NEW, 4, None, None, 88)
    own = replace(walked, subject=replace(walked.subject, check=fresh))
    assert conclude(own, crossed=2).outcome is Outcome.DELIVERED


def test_the_reference_dies_at_the_same_place() -> None:
    way = settled(Path(drops={"esp": 2, "icmp-echo": 2}), hops=[1, 2, 3, 4])
    assert (way.holder, way.misser) == (2, None)
    assert reached(way) == [YES, YES, UNKNOWN]
    assert "and so did ICMP echo; neither was seen behind it" in way.cause
    assert "drops it on the way" not in way.cause


def test_the_reference_dies_even_before() -> None:
    way = settled(Path(drops={"esp": 3, "icmp-echo": 1}), hops=[1, 2, 3, 4])
    assert way.holder == 3
    assert "ICMP echo dies even before that" in way.cause


def test_nothing_is_heard_at_all() -> None:
    way = settled(Path(drops={"esp": 1, "icmp-echo": 1}, silent=(1, 2, 3)), hops=[1, 2, 3, 4])
    assert way.holder == ORIGIN
    assert "no hop can be named" in way.cause
    assert len(way.hops) == 1


def test_nothing_to_compare_with() -> None:
    way = settled(Path(drops={"esp": 2}, reference=None), hops=[1, 2, 3])
    assert way.cause == f"10.0.1.1 forwarded it and 10.0.2.1 received it, and far ({FAR}) never did"


def test_the_hosts_own_firewall_is_no_routers_doing() -> None:
    way = settled(Path(outcome=Outcome.HOST_DROPPED))
    assert reached(way) == [YES, YES, YES]
    assert way.cause.startswith("no router stops it")
    assert way.misser is None


def test_refused_by_the_target_itself_is_no_routers_doing() -> None:
    path = Path()
    walked = path.walk()
    subject = replace(walked.subject, outcome=Outcome.REFUSED, cause="the far host itself answered")
    way = conclude(replace(walked, subject=subject))
    assert way.cause == "the far host itself answered"
    assert reached(way) == [YES, YES, YES]


def test_without_a_router_between() -> None:
    way = settled(Path(routers=0, drops={}))
    assert way.hops == ()
    assert way.outcome is Outcome.DELIVERED


def test_a_reset_from_the_way_is_placed_by_the_lowest_ttl_that_brings_it() -> None:
    tcp = Check(1, "kerberos-tcp", Direction.OUTBOUND, Flow.NEW, 4, None, None, 88)
    path = Path(drops={"kerberos-tcp": 2}, subject=tcp)
    walked = path.walk()
    resets = [
        Sighting(Side.NEAR, Event.REFUSED, tcp.number, shot, 0.0, stage="rst")
        for volley in walked.volleys
        if volley.check == tcp.number and (volley.ttl is None or volley.ttl > 2)
        for shot in range(volley.first, volley.first + volley.count)
    ]
    subject = replace(walked.subject, outcome=Outcome.REFUSED, cause="a TCP RST came back")
    way = conclude(
        replace(walked, subject=subject, sightings=(*walked.sightings, *resets)),
    )
    assert "shots that cannot pass hop 3 as well, so 10.0.2.1 or 10.0.3.1 sends it" in way.cause
    assert reached(way) == [YES, YES, NO]


def test_where_an_end_lost_its_link_meanwhile_no_hop_is_blamed() -> None:
    """A reset came while all was well; the walk then met silence, which may be that end's own."""
    path = Path(drops={"esp": 2})
    settled(path)
    walked = path.walked()
    subject = replace(walked.subject, outcome=Outcome.REFUSED, cause="a TCP RST came back")
    refused = replace(walked, subject=subject)
    assert conclude(refused).misser == 3
    way = conclude(replace(refused, interrupted="near lost its link during the run"))
    assert (way.outcome, way.misser, reached(way)) == (Outcome.REFUSED, None, [YES, YES, UNKNOWN])
    assert way.cause == (
        "a TCP RST came back. 10.0.1.1 forwarded it and 10.0.2.1 received it. How much further it "
        "came cannot be told: near lost its link during the run"
    )
    assert not Case(replace(refused, interrupted="near lost its link")).wanted()


# -- how hops are told -----------------------------------------------------------------------------


def test_an_answer_that_quotes_too_little_counts_by_its_sender() -> None:
    way = settled(Path(drops={"esp": 2}, short=(1, 2, 3)))
    assert reached(way) == [YES, YES, NO]
    assert way.holder == 2


def test_balanced_routers_are_both_told_and_the_doubt_is() -> None:
    path = Path(drops={"esp": 2})
    settled(path)
    other = tuple(
        replace(s, icmp=replace(s.icmp, sender="10.0.2.99"))
        if s.icmp and s.check == ESP.number and s.icmp.sender == router(2)
        else s
        for s in path.sightings
    )
    way = conclude(replace(path.walked(), sightings=other))
    assert way.hops[1].addresses == ("10.0.2.1", "10.0.2.99")
    assert "met different routers" in way.cause


def test_distance_is_the_ttl_that_was_spent() -> None:
    path = Path(routers=4)
    path.shoot(ESP, None)
    assert distance([ESP], path.sightings) == 4
    assert distance([ECHO], path.sightings) is None
    path.drops["esp"] = 1
    path.shoot(ESP, None)
    assert distance([ESP], path.sightings) == 4


def test_a_case_without_evidence_says_nothing() -> None:
    walked = Path().walked()
    empty = Walked(replace(walked.subject, outcome=Outcome.UNOBSERVED), None, (), ())
    way = conclude(empty)
    assert (way.hops, way.outcome) == ((), Outcome.UNOBSERVED)
    assert not Case(empty).wanted()
