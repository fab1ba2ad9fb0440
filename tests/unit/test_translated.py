"""Which addresses near may vouch for, and what a translation the other way spoils."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.ledger import TRANSLATED
from agent.model import Direction, Event, Prior, Side
from probe.judge import translated
from probe.result import Outcome
from tests.unit.correlation import FAR, IN, NEAR, OUT, Story, esp_both_ways, pair

NAT, OTHER = "192.0.2.1", "192.0.2.66"


def came(story: Story, number: int, shot: int, source: str) -> None:
    """A request that was delivered, and whose answer was held back for where it came from."""
    story.see(number, shot, Event.LEFT)
    for event in (Event.ARRIVED, Event.DELIVERED):
        story.see(number, shot, event, source=source)
    if source not in (NEAR, FAR):
        story.see(number + 1, shot, Event.UNSENT, destination=source, note="held back")


def esp(direction: Direction, fired: int, *sources: str) -> Story:
    story = Story(pair(1, "esp", direction))
    story.fire(1, fired)
    for shot, source in enumerate(sources, 1):
        came(story, 1, shot, source)
    return story


def given(story: Story, direction: Direction) -> list[str]:
    return translated.given(story.plan, story.evidence(), direction)


@pytest.mark.parametrize("direction", [OUT, IN])
def test_where_all_shots_came_from_is_the_others_own(direction: Direction) -> None:
    story = esp(direction, 3, NAT, NAT, NAT)
    assert given(story, direction) == [NAT]
    assert given(story, IN if direction is OUT else OUT) == []


def test_where_most_came_from_is_as_good_on_a_path_that_loses() -> None:
    assert given(esp(OUT, 3, NAT, NAT), OUT) == [NAT]


@pytest.mark.parametrize(
    ("fired", "sources"),
    [
        (3, ()),
        (3, (NEAR, NEAR, NEAR)),  # nothing was held back
        (3, (NAT,)),  # one that was taken off the path and played from elsewhere
        (4, (NAT, NAT)),
        (3, (NAT, NAT, OTHER)),
        (3, (NAT, NAT, NEAR)),
    ],
)
def test_what_may_be_played_from_elsewhere_is_not(fired: int, sources: tuple[str, ...]) -> None:
    assert given(esp(OUT, fired, *sources), OUT) == []


def test_a_reply_that_was_held_back_for_another_reason_vouches_for_nobody() -> None:
    story = esp(OUT, 3, NEAR, NEAR, NEAR)
    for shot in (1, 2, 3):
        story.see(2, shot, Event.UNSENT, note="more than the agent's limits allow")
    assert given(story, OUT) in ([], [NEAR]), "near's own address is answered anyway"
    assert OTHER not in given(story, OUT)


def test_sources_are_those_at_the_other_end_alone() -> None:
    story = esp(IN, 3, FAR, NAT)
    requests = story.plan.requests(IN)
    assert translated.sources(story.sightings, requests, FAR) == {NAT}
    assert translated.sources(story.sightings, requests, NAT + "%eth0") == {FAR}
    assert translated.sources(story.sightings, [], FAR) == set()


# -- what it spoils ------------------------------------------------------------------------------


def both_ways(source: str) -> Story:
    """ESP inbound arrived from ``source``; outbound then left and never arrived."""
    story = esp_both_ways()
    story.shots(1, 3, arrived=3)
    story.sightings = [
        replace(s, source=source) if s.check == 1 and s.at is Side.NEAR else s
        for s in story.sightings
    ]
    story.shots(3, 40)
    return story


def test_silence_behind_our_own_translated_shots_is_no_drop() -> None:
    told = both_ways(NAT).tell()
    assert told[1].outcome is Outcome.DELIVERED
    assert told[3].outcome is Outcome.UNOBSERVED
    assert f"translated to {NAT}" in told[3].cause
    assert "--direction outbound" in told[3].cause


def test_silence_behind_shots_that_nobody_translated_is() -> None:
    assert both_ways(FAR).tell()[3].outcome is Outcome.LOST


@pytest.mark.parametrize(
    ("side", "what", "outcome"),
    [
        (Side.NEAR, TRANSLATED, Outcome.UNOBSERVED),
        (Side.NEAR, "an earlier run", Outcome.LOST),
        (Side.FAR, TRANSLATED, Outcome.LOST),  # it spoils what far sends, not what near does
    ],
)
def test_an_earlier_run_spoils_it_as_well(side: Side, what: str, outcome: Outcome) -> None:
    story = Story(pair(1, "esp", OUT))
    story.shots(1, 40)
    story.priors = {side: [Prior(1, 12.0, what)]}
    told = story.tell()[1]
    assert told.outcome is outcome
    if outcome is Outcome.UNOBSERVED:
        assert "12 seconds ago" in told.cause


def test_a_port_that_was_rewritten_behind_our_own_shots_proves_no_pass_through() -> None:
    outcomes = []
    for source in (NAT, FAR):
        story = Story(
            pair(1, "ike", IN, source_port=500, destination_port=500),
            pair(3, "ike", OUT, source_port=500, destination_port=500),
        )
        story.shots(1, 3, arrived=3)
        story.shots(3, 3, arrived=3)
        story.sightings = [
            replace(s, source=source)
            if s.check == 1 and s.at is Side.NEAR
            else replace(s, source_port=117)
            if s.check == 3 and s.at is Side.FAR
            else s
            for s in story.sightings
        ]
        outcomes.append(story.tell()[3].outcome)
    assert outcomes == [Outcome.UNOBSERVED, Outcome.ALTERED]
