"""Before and after: worse, better, and what cannot be told are never taken for each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given

from agent.model import Direction, Event, Icmp, Side, Sighting
from probe.compare import Change, Comparison, compare
from probe.result import Conclusion, Outcome, PathFacts, PathMtu, RunResult, Verdict
from scenarios import CELLS, Expect, Row
from tests.samples import FAR, NEAR, lost, result, row, whole
from tests.unit.random_results import RESULTS

PASS, STATE, LOST, MOOT = (
    Outcome.DELIVERED,
    Outcome.STATE_POSSIBLE,
    Outcome.LOST,
    Outcome.NOT_APPLICABLE,
)
REFUSED, LOSSY, BLIND, UNSENT, HOST = (
    Outcome.REFUSED,
    Outcome.LOSSY,
    Outcome.UNOBSERVED,
    Outcome.NOT_SENT,
    Outcome.HOST_DROPPED,
)


def later(run: RunResult) -> RunResult:
    return replace(run, started=run.started + 3600)


def one(outcome: Outcome, expect: Expect = Expect.PASS) -> RunResult:
    """A run that asked one thing: ESP, outbound new."""
    found = row(Row("esp", expect=dict.fromkeys(CELLS, expect)), outcome, MOOT, MOOT, MOOT)
    return result(found[:1])


def change(before: RunResult, after: RunResult) -> Change:
    (found,) = compare(before, later(after)).differences
    return found.change


def changes(found: Comparison) -> list[tuple[str, str, str]]:
    """Of each difference: direction, flow, change; what is the same is left out."""
    return [
        (d.known.check.direction, d.known.check.flow, d.change)
        for d in found.differences
        if d.change is not Change.SAME
    ]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (PASS, PASS, Change.SAME),
        (LOST, LOST, Change.SAME),
        (STATE, STATE, Change.SAME),
        (PASS, LOST, Change.WORSE),
        (PASS, REFUSED, Change.WORSE),
        (PASS, HOST, Change.WORSE),
        (PASS, LOSSY, Change.WORSE),
        (PASS, UNSENT, Change.WORSE),
        (STATE, LOST, Change.WORSE),
        (LOSSY, LOST, Change.WORSE),
        (LOST, PASS, Change.BETTER),
        (LOST, LOSSY, Change.BETTER),
        (LOST, STATE, Change.BETTER),
        (UNSENT, PASS, Change.BETTER),
        (LOST, REFUSED, Change.OTHER),
        (LOST, HOST, Change.OTHER),
        (STATE, PASS, Change.OTHER),
        # A firewall goes on passing what it tracks after its rule is gone.
        (PASS, STATE, Change.UNCLEAR),
        # What was not observed is no change of the firewall.
        (PASS, BLIND, Change.UNCLEAR),
        (STATE, BLIND, Change.UNCLEAR),
        (BLIND, LOST, Change.UNCLEAR),
        (PASS, MOOT, Change.UNCLEAR),
        (MOOT, LOST, Change.UNCLEAR),
        # It worked not before, or does now: nothing can have been lost.
        (LOST, BLIND, Change.OTHER),
        (BLIND, PASS, Change.OTHER),
        (BLIND, MOOT, Change.OTHER),
        (MOOT, PASS, Change.OTHER),
        (BLIND, BLIND, Change.SAME),
    ],
)
def test_what_a_change_is_called(was: Outcome, now: Outcome, told: Change) -> None:
    assert change(one(was), one(now)) is told


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (LOST, PASS, Change.WORSE),
        (LOST, STATE, Change.WORSE),
        (PASS, LOST, Change.BETTER),
        (LOST, REFUSED, Change.OTHER),
    ],
)
def test_what_must_not_pass(was: Outcome, now: Outcome, told: Change) -> None:
    block = Expect.BLOCK
    before, after = one(was, block), one(now, block)
    if now is STATE:  # as the correlator has it
        (conclusion,) = after.conclusions
        after = replace(after, conclusions=(replace(conclusion, verdict=Verdict.WARN),))
    assert change(before, after) is told


@pytest.mark.parametrize("was", list(Outcome))
@pytest.mark.parametrize("now", list(Outcome))
def test_of_what_is_only_told_nothing_is_worse_or_unclear(was: Outcome, now: Outcome) -> None:
    found = change(one(was, Expect.ANY), one(now, Expect.ANY))
    assert found in ({Change.SAME} if was is now else {Change.OTHER, Change.BETTER})


def test_strictness_alone_is_no_change_of_the_path() -> None:
    before = one(STATE)
    (conclusion,) = before.conclusions
    after = replace(
        before,
        conclusions=(replace(conclusion, verdict=Verdict.FAIL),),
        options=("--strict",),
    )
    assert change(before, after) is Change.SAME
    assert "not the same options: none before, --strict after" in compare(before, after).doubts


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (one(PASS), one(PASS, Expect.BLOCK), Change.OTHER),
        (one(LOST), one(LOST, Expect.BLOCK), Change.OTHER),
        (one(LOST, Expect.ANY), one(LOST), Change.OTHER),
        (one(LOST, Expect.ANY), one(PASS), Change.BETTER),
        (one(PASS, Expect.ANY), one(LOST), Change.WORSE),
        (one(PASS), one(LOST, Expect.BLOCK), Change.BETTER),
        (one(LOST), one(PASS, Expect.BLOCK), Change.WORSE),
    ],
)
def test_another_expectation_is_no_change_of_the_path(
    was: RunResult, now: RunResult, told: Change
) -> None:
    """Both are held against what is expected now."""
    assert change(was, now) is told


def test_what_must_not_pass_and_passed_before_is_not_worse() -> None:
    after = one(STATE, Expect.BLOCK)
    (conclusion,) = after.conclusions
    after = replace(after, conclusions=(replace(conclusion, verdict=Verdict.WARN),))
    assert change(one(PASS, Expect.BLOCK), after) is Change.OTHER


def refused_by(sender: str) -> RunResult:
    run = one(REFUSED)
    seen = Sighting(Side.NEAR, Event.REFUSED, 0, 1, 1.0, icmp=Icmp(3, 13, sender))
    return replace(run, conclusions=(replace(run.conclusions[0], evidence=(seen,)),))


def test_another_router_refuses_it() -> None:
    assert change(refused_by("10.0.0.254"), refused_by("10.0.0.254")) is Change.SAME
    assert change(refused_by("10.0.0.254"), refused_by("10.0.0.253")) is Change.OTHER


def caused(text: str) -> RunResult:
    run = one(LOST)
    return replace(run, conclusions=(replace(run.conclusions[0], cause=text),))


def test_another_cause_is_a_change_and_another_count_is_none() -> None:
    before = caused("7 shots left near and none reached far")
    assert change(before, caused("11 shots left near and none reached far")) is Change.SAME
    assert change(before, caused("it left in fragments")) is Change.OTHER


@pytest.mark.parametrize("outcome", [PASS, STATE, BLIND, MOOT])
def test_where_there_is_nobody_to_blame_the_words_do_not_matter(outcome: Outcome) -> None:
    other = one(outcome)
    other = replace(other, conclusions=(replace(other.conclusions[0], cause="another"),))
    assert change(one(outcome), other) is Change.SAME


# -- pairs -----------------------------------------------------------------------------------------


def test_replies_follow_their_requests() -> None:
    found = compare(result(whole("esp")), later(result(lost("esp"))))
    assert changes(found) == [
        ("outbound", "new", Change.WORSE),
        ("outbound", "reply", Change.FOLLOWS),
        ("inbound", "new", Change.WORSE),
        ("inbound", "reply", Change.FOLLOWS),
    ]
    back = compare(result(lost("esp")), later(result(whole("esp"))))
    assert Counter(d.change for d in back.differences) == {Change.BETTER: 2, Change.FOLLOWS: 2}


def test_a_reply_that_fails_now_speaks_for_itself() -> None:
    before = result(row(Row("esp"), LOST, MOOT, PASS, MOOT))
    after = result(row(Row("esp"), PASS, MOOT, PASS, LOST))
    assert changes(compare(before, later(after))) == [
        ("outbound", "new", Change.BETTER),
        ("inbound", "reply", Change.UNCLEAR),
    ]


def test_a_reply_to_nothing_is_unclear_where_its_request_is() -> None:
    before = result(whole("esp"))
    after = result(row(Row("esp"), BLIND, PASS, PASS, MOOT))
    assert changes(compare(before, later(after))) == [
        ("outbound", "new", Change.UNCLEAR),
        ("inbound", "reply", Change.UNCLEAR),
    ]


def test_the_order_of_the_rows_does_not_matter() -> None:
    fresh = row(Row("ike", source_port="fresh"), *[PASS] * 4)
    before = result(whole("esp"), whole("ike"), fresh, row(Row("esp", size=1400), *[LOST] * 4))
    after = result(row(Row("esp", size=1400), *[LOST] * 4), fresh, whole("ike"), whole("esp"))
    assert changes(compare(before, later(after))) == []


def test_a_label_is_looked_at_first_and_is_no_question_of_its_own() -> None:
    one_, other = Row("esp", label="one"), Row("esp", label="other")
    before = result(row(one_, *[PASS] * 4), row(other, *[LOST] * 4))
    swapped = result(row(other, *[LOST] * 4), row(one_, *[PASS] * 4))
    assert changes(compare(before, later(swapped))) == []
    renamed = result(row(Row("esp", label="1st"), *[PASS] * 4), row(other, *[LOST] * 4))
    assert changes(compare(before, later(renamed))) == []


def test_what_was_asked_once_only() -> None:
    both, alone = result(whole("esp"), whole("ah")), result(whole("esp"))
    gone = compare(both, later(alone))
    assert Counter(d.change for d in gone.differences) == {Change.SAME: 4, Change.UNCLEAR: 4}
    assert all(d.after is None for d in gone.of(Change.UNCLEAR))
    come = compare(alone, later(both))
    assert Counter(d.change for d in come.differences) == {Change.SAME: 4, Change.OTHER: 4}
    fails = compare(alone, later(result(whole("esp"), lost("ah"))))
    assert Counter(d.change for d in fails.differences) == {
        Change.SAME: 4,
        Change.UNCLEAR: 2,
        Change.OTHER: 2,
    }


@given(RESULTS)
def test_a_run_is_as_it_is(run: RunResult) -> None:
    assert all(d.change is Change.SAME for d in compare(run, run).differences)


@given(RESULTS, RESULTS)
def test_every_check_is_told_once(before: RunResult, after: RunResult) -> None:
    found = compare(before, after).differences
    for side, run in (("before", before), ("after", after)):
        told = [id(getattr(d, side)) for d in found if getattr(d, side) is not None]
        assert sorted(told) == sorted(map(id, run.conclusions))


def judged(conclusion: Conclusion) -> bool:
    known = conclusion.outcome not in (BLIND, MOOT)
    return known and conclusion.verdict in (Verdict.FAIL, Verdict.WARN, Verdict.ERROR)


@given(RESULTS, RESULTS)
def test_worse_is_only_what_was_seen_twice(before: RunResult, after: RunResult) -> None:
    for found in compare(before, after).of(Change.WORSE):
        assert found.before is not None
        assert found.after is not None
        assert found.before.outcome not in (BLIND, MOOT)
        assert judged(found.after)


# -- the runs as a whole ---------------------------------------------------------------------------


def test_runs_that_are_alike_leave_no_doubt() -> None:
    assert compare(one(PASS), later(one(PASS))).doubts == ()


@pytest.mark.parametrize(
    ("after", "doubt"),
    [
        (one(PASS), "one and the same run twice"),
        (replace(one(PASS), started=0.0), "the wrong way round?"),
        (replace(later(one(PASS)), scenario="nat-t"), "kb233256 before, nat-t after"),
        (replace(later(one(PASS)), near=replace(NEAR, address="10.0.0.9")), "near's address"),
        (replace(later(one(PASS)), far=replace(FAR, address="10.0.0.9")), "far's address"),
        (replace(later(one(PASS)), options=("--shots=5",)), "none before, --shots=5 after"),
        (
            replace(later(one(PASS)), complete=False, error="interrupted"),
            "the run after was not finished (interrupted)",
        ),
        (replace(later(one(PASS)), near=replace(NEAR, version="0.2")), "probe 0.1.0 before, 0.2"),
    ],
)
def test_what_makes_two_runs_hard_to_compare(after: RunResult, doubt: str) -> None:
    (found,) = compare(one(PASS), after).doubts
    assert doubt in found


def test_ipv4_and_ipv6_are_not_the_same_question() -> None:
    six = result(row(Row("esp"), *[PASS] * 4, family=6))
    found = compare(result(whole("esp")), later(six))
    assert found.doubts == ("not the same IP version: 4 before, 6 after",)
    assert len(found.differences) == 8


def test_what_changed_of_the_path() -> None:
    before, after = one(PASS), later(one(PASS))
    mtu = {Direction.OUTBOUND: {"esp": PathMtu(1500)}}
    less = {Direction.OUTBOUND: {"esp": PathMtu(1400, 1401)}}
    found = compare(
        replace(before, path=PathFacts(None, mtu=mtu)),
        replace(after, path=PathFacts(None, mtu=less, near_behind_nat=True)),
    )
    assert found.path == (
        "near is now behind NAT",
        "outbound, the path's MTU for ESP was 1,500 or more and is 1,400",
    )
