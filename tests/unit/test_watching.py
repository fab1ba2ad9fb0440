"""What a watch tells of round after round: changes, once, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Direction, Flow
from probe.correlate import verdict
from probe.result import Conclusion, Expect, Outcome, Verdict
from probe.watch.watching import (
    BLIND,
    BLOCKED,
    CALM_SECONDS,
    FLAPS,
    MARGIN,
    PASSES,
    UNTESTED,
    Change,
    Watching,
)
from scenarios import Row
from tests.samples import row

PASS, STATE, GONE, MOOT, DIM = (
    Outcome.DELIVERED,
    Outcome.STATE_POSSIBLE,
    Outcome.LOST,
    Outcome.NOT_APPLICABLE,
    Outcome.UNOBSERVED,
)
TIMEOUT = 600.0
EVERY = 60.0


class Rounds:
    """One watch, told the outcomes of one kind's outbound request round by round."""

    def __init__(self, kind: str = "kerberos-tcp") -> None:
        self.watching = Watching(TIMEOUT)
        self.now = 0.0
        self._kind = kind

    def see(self, *outcomes: Outcome, every: float = EVERY) -> list[Change]:
        """Each outcome is a round."""
        told: list[Change] = []
        for outcome in outcomes:
            told += self.watching.update(self.checks(outcome), self.now)
            self.now += every
        return told

    def checks(self, outcome: Outcome, reply: Outcome = PASS) -> list[Conclusion]:
        four = row(Row(self._kind), outcome, PASS, PASS, reply)
        return [
            c
            for c in four
            if (c.check.direction is Direction.OUTBOUND) == (c.check.flow is Flow.NEW)
        ]


def words(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.before, change.after) for change in changes]


def test_what_stays_is_not_told() -> None:
    assert not Rounds().see(*[PASS] * 50)
    assert not Rounds().see(*[GONE] * 50)


def test_a_stop_is_told_once_when_a_second_look_finds_it_too() -> None:
    rounds = Rounds()
    assert not rounds.see(PASS, GONE)
    assert rounds.watching.doubtful(rounds.now)
    assert words(rounds.see(GONE)) == [(PASSES, "lost")]
    assert not rounds.watching.doubtful(rounds.now)
    assert not rounds.see(*[GONE] * 20)


def test_since_when() -> None:
    rounds = Rounds()
    (change,) = rounds.see(PASS, PASS, GONE, GONE)
    assert change.since == 2 * EVERY


def test_one_round_of_bad_luck_is_not_told() -> None:
    assert not Rounds().see(PASS, GONE, PASS, PASS, GONE, PASS)


def test_what_gets_through_again_is_told_at_once() -> None:
    assert words(Rounds().see(GONE, PASS)) == [("lost", PASSES)]


def test_state_possible_passes_as_well() -> None:
    assert not Rounds().see(PASS, STATE, PASS, STATE)


def test_another_way_of_failing_is_a_change_also_when_no_two_rounds_agree() -> None:
    refused = Outcome.REFUSED
    assert words(Rounds().see(PASS, GONE, refused)) == [(PASSES, "refused")]


def test_a_measurement_that_fails_is_no_change_until_it_fails_again_and_again() -> None:
    rounds = Rounds()
    assert not rounds.see(PASS, *[DIM] * (BLIND - 1), PASS)
    assert words(rounds.see(*[DIM] * BLIND)) == [(PASSES, UNTESTED)]


def test_who_could_not_see_is_no_second_look() -> None:
    assert words(Rounds().see(PASS, DIM, GONE, PASS)) == []
    assert words(Rounds().see(PASS, DIM, DIM, GONE, PASS)) == []
    rounds = Rounds()
    (change,) = rounds.see(PASS, GONE, DIM, GONE)
    assert (change.after, change.since) == ("lost", EVERY)


def judged(expected: Expect, *outcomes: Outcome, strict: bool = False) -> list[Change]:
    watching, told = Watching(TIMEOUT), []
    for number, outcome in enumerate(outcomes):
        (asked, *_) = row(Row("kerberos-tcp"), *[outcome] * 4)
        found = verdict(outcome, expected, strict=strict)
        told += watching.update([replace(asked, expected=expected, verdict=found)], number * EVERY)
    return told


def test_under_strict_what_state_may_have_let_through_is_a_change() -> None:
    assert words(judged(Expect.PASS, PASS, STATE, STATE, strict=True)) == [
        (PASSES, "state-possible")
    ]
    assert words(judged(Expect.PASS, STATE, PASS, strict=True)) == [("state-possible", PASSES)]


def test_who_blocks_what_must_be_blocked_is_no_change() -> None:
    refused = Outcome.REFUSED
    assert judged(Expect.BLOCK, GONE, refused, refused, Outcome.HOST_DROPPED, GONE, GONE) == []
    assert words(judged(Expect.BLOCK, GONE, PASS)) == [(BLOCKED, PASSES)]
    assert words(judged(Expect.BLOCK, PASS, refused, GONE)) == [(PASSES, BLOCKED)]
    assert words(judged(Expect.BLOCK, GONE, STATE, STATE)) == [(BLOCKED, "state-possible")]


def test_a_reply_without_its_request_is_no_change_of_its_own() -> None:
    rounds = Rounds()
    rounds.watching.update(rounds.checks(PASS), 0.0)
    told = rounds.watching.update(rounds.checks(GONE, MOOT), 60.0)
    told += rounds.watching.update(rounds.checks(GONE, MOOT), 120.0)
    assert [change.conclusion.check.flow for change in told] == [Flow.NEW]
    assert rounds.watching.conclusions[1].outcome is MOOT


def test_flapping_is_told_once_and_its_end_as_well() -> None:
    rounds = Rounds()
    told = rounds.see(*[PASS, GONE, GONE] * 20)
    assert [c.check.flow for c in rounds.watching.flapping] == [Flow.NEW]
    assert len(told) == FLAPS
    assert [change.flapping for change in told] == [False] * (FLAPS - 1) + [True]
    assert not rounds.see(*[PASS] * int(CALM_SECONDS / EVERY - 2))
    (steady,) = rounds.see(*[PASS] * 5)
    assert steady.steady
    assert steady.after == PASSES
    assert words(rounds.see(GONE, GONE)) == [(PASSES, "lost")]


def test_slow_changes_are_each_told() -> None:
    rounds = Rounds()
    rounds.see(PASS)
    for _ in range(6):
        assert len(rounds.see(GONE, GONE, every=1200)) == 1
        assert len(rounds.see(PASS, every=1200)) == 1


def test_the_same_row_twice_is_two() -> None:
    rounds = Rounds()
    both = [*rounds.checks(PASS), *rounds.checks(GONE, MOOT)]
    assert not rounds.watching.update(both, 0.0)
    assert not rounds.watching.update(both, 60.0)
    assert not rounds.watching.update(both, 120.0)
    assert len(rounds.watching.conclusions) == 4


# -- what a firewall still remembers ---------------------------------------------------------------


def test_a_fixed_tuple_rests_as_long_as_a_firewall_remembers_and_a_fresh_one_never() -> None:
    esp, fresh = Rounds("esp"), Rounds("kerberos-tcp")
    esp.see(PASS)
    fresh.see(PASS)
    assert not fresh.watching.resting(0.0)
    assert fresh.watching.rested(0.0) == float("inf")
    assert esp.watching.resting(TIMEOUT)
    assert esp.watching.all_rest(TIMEOUT)
    assert esp.watching.rested(0.0) == TIMEOUT + MARGIN
    assert not esp.watching.resting(TIMEOUT + MARGIN)


def test_what_nothing_crossed_may_be_asked_at_once() -> None:
    esp = Rounds("esp")
    four = row(Row("esp"), GONE, MOOT, GONE, MOOT)
    esp.watching.update(four, 0.0)
    assert not esp.watching.resting(0.0)


def test_what_the_other_direction_opened_gets_no_second_look_and_needs_none() -> None:
    """Inbound is lost and outbound passes: asked again, inbound would come in as a reply."""
    watching = Watching(TIMEOUT)
    watching.update(row(Row("esp"), PASS, PASS, PASS, PASS), 0.0)
    told = watching.update(row(Row("esp"), PASS, MOOT, GONE, PASS), TIMEOUT * 2)
    assert ("passes", "lost") in words(told)
    assert not watching.doubtful(TIMEOUT * 2)


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=60))
def test_never_two_changes_alike_in_a_row_and_never_more_than_rounds(
    outcomes: list[Outcome],
) -> None:
    told = [c for c in Rounds().see(*outcomes) if not c.steady]
    assert len(told) < len(outcomes)
    for change in told:
        assert change.before != change.after
    for one, other in pairwise(told):
        if not one.flapping and MOOT not in outcomes:
            assert one.after == other.before


@given(st.lists(st.sampled_from(list(Outcome)), max_size=400))
def test_it_does_not_grow(outcomes: list[Outcome]) -> None:
    rounds = Rounds()
    rounds.see(PASS, *outcomes)
    assert len(rounds.watching.conclusions) == 2
    assert all(not conclusion.evidence for conclusion in rounds.watching.conclusions)
    assert len(rounds.watching.resting(rounds.now)) <= 1


def test_the_worst_that_is_known() -> None:
    rounds = Rounds()
    verdicts = [rounds.watching.verdict]
    for outcomes in ((PASS,), (GONE, GONE), (PASS,)):
        rounds.see(*outcomes)
        verdicts.append(rounds.watching.verdict)
    assert verdicts == [Verdict.ERROR, Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    rounds.watching = Watching(TIMEOUT)
    rounds.watching.update(rounds.checks(MOOT, MOOT), 0.0)
    assert rounds.watching.verdict is Verdict.ERROR
