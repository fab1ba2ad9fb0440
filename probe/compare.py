"""Two runs → what changed between them. Pure.

Asked in a change window: does what worked still work? So three things are kept apart: what is
worse; what cannot be told, because it was not observed, not asked, or proves nothing this time; and
all other changes. An eye that was shut is no change of the firewall, and a shot that arrives only
where earlier traffic may have opened the way is no proof that its rule is still there: a firewall
goes on passing what it tracks after the rule for it is gone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.model import Direction, Flow
from probe.correlate import verdict
from probe.naming import service
from probe.result import Conclusion, Expect, Outcome, PathMtu, RunResult, Verdict

_THROUGH = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE)
_BADNESS = {Verdict.WARN: 1, Verdict.ERROR: 2, Verdict.FAIL: 2}
_VARIES = re.compile(r"\S*\d\S*")  # counts, ports, addresses: another of these is no other cause


class Change(StrEnum):
    WORSE = "worse"
    UNCLEAR = "unclear"  # it may be worse, and this cannot be told from these two runs
    BETTER = "better"
    OTHER = "other"  # neither worse nor better: refused by another router, lost and now refused
    FOLLOWS = "follows"  # a reply, of which there is nothing to say but what its request says
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Difference:
    """One check, before and after. None: it was not asked then."""

    change: Change
    before: Conclusion | None
    after: Conclusion | None

    @property
    def known(self) -> Conclusion:
        found = self.after or self.before
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """``doubts``: why the two runs may not be comparable; ``path``: what changed of the path as a
    whole. A sentence each.
    """

    before: RunResult
    after: RunResult
    differences: tuple[Difference, ...]  # in the order of the run that came after
    doubts: tuple[str, ...]
    path: tuple[str, ...]

    def of(self, change: Change) -> tuple[Difference, ...]:
        return tuple(found for found in self.differences if found.change is change)


def compare(before: RunResult, after: RunResult) -> Comparison:
    pairs = list(_pairs(before.conclusions, after.conclusions))
    moved = {
        was.check.number
        for was, now in pairs
        if was and now and _change(was, now) not in (Change.SAME, Change.UNCLEAR)
    }
    return Comparison(
        before,
        after,
        tuple(Difference(_judge(was, now, moved), was, now) for was, now in pairs),
        tuple(_doubts(before, after)),
        tuple(_path(before, after)),
    )


# -- which check is which --------------------------------------------------------------------------

_Pair = tuple[Conclusion | None, Conclusion | None]
_Key = tuple[object, ...]


def _pairs(before: Iterable[Conclusion], after: Iterable[Conclusion]) -> Iterator[_Pair]:
    """What asked the same; where several did, in their order. A label alone makes no other check:
    it is looked at first, and what is left over is paired without it.
    """
    left, pending = list(before), list(after)
    found: dict[int, Conclusion] = {}
    for key in (_with_label, _asked):
        waiting = _by(key, left)
        for now in pending:
            if waiting[key(now)]:
                found[id(now)] = waiting[key(now)].pop(0)
        pending = [now for now in pending if id(now) not in found]
        left = [was for same in waiting.values() for was in same]
    for now in after:
        yield found.get(id(now)), now
    for was in left:
        yield was, None


def _by(
    key: Callable[[Conclusion], _Key], conclusions: Iterable[Conclusion]
) -> defaultdict[_Key, list[Conclusion]]:
    found: defaultdict[_Key, list[Conclusion]] = defaultdict(list)
    for conclusion in conclusions:
        found[key(conclusion)].append(conclusion)
    return found


def _asked(conclusion: Conclusion) -> _Key:
    """Fixed ports are part of the question, fresh ones are none."""
    check = conclusion.check
    return (
        check.kind,
        check.direction,
        check.flow,
        check.family,
        check.size,
        check.fragmenting,
        check.source_port,
        check.destination_port,
    )


def _with_label(conclusion: Conclusion) -> _Key:
    return (*_asked(conclusion), conclusion.label)


# -- better or worse -------------------------------------------------------------------------------


def _judge(was: Conclusion | None, now: Conclusion | None, moved: set[int]) -> Change:
    """``moved``: numbers, in the run before, of the checks that changed."""
    if was is not None and now is not None:
        change = _change(was, now)
        if _has_nothing_to_say(was, now) and was.check.partner in moved and not _badness(now):
            return Change.FOLLOWS
    elif now is not None:
        change = Change.UNCLEAR if _badness(now) else Change.OTHER
    else:
        good = was is not None and _is_known(was) and not _badness(was)
        change = Change.UNCLEAR if good else Change.OTHER
    known = now or was
    unjudged = known is not None and known.expected is Expect.ANY
    return Change.OTHER if change is Change.UNCLEAR and unjudged else change


def _has_nothing_to_say(was: Conclusion, now: Conclusion) -> bool:
    """A reply that had no request in one of the two runs."""
    moot = (was.outcome, now.outcome).count(Outcome.NOT_APPLICABLE)
    return was.check.flow is Flow.REPLY and moot == 1


def _change(was: Conclusion, now: Conclusion) -> Change:
    """Of one check that was asked in both runs, held against what is expected now."""
    if was.expected is not now.expected:
        found = verdict(was.outcome, now.expected)
        change = _change(replace(was, expected=now.expected, verdict=found), now)
        return Change.OTHER if change is Change.SAME else change
    if was.outcome is now.outcome:
        return Change.SAME if _alike(was, now) else Change.OTHER
    if was.outcome in _THROUGH and now.outcome in _THROUGH:
        unproved = now.outcome is Outcome.STATE_POSSIBLE and not _badness(was)
        return Change.UNCLEAR if unproved else Change.OTHER
    if _is_known(was) and _is_known(now):
        return _by_badness(was, now)
    # One of the two says nothing: it matters only where the other is bad now, or was good.
    may_be_worse = _badness(now) if not _is_known(was) else not _badness(was)
    return Change.UNCLEAR if may_be_worse else Change.OTHER


def _by_badness(was: Conclusion, now: Conclusion) -> Change:
    if _badness(now) > _badness(was):
        return Change.WORSE
    return Change.BETTER if _badness(now) < _badness(was) else Change.OTHER


def _badness(conclusion: Conclusion) -> int:
    """0: as the scenario wants it, not judged, or not known."""
    return _BADNESS.get(conclusion.verdict, 0) if _is_known(conclusion) else 0


def _is_known(conclusion: Conclusion) -> bool:
    return conclusion.outcome not in (Outcome.UNOBSERVED, Outcome.NOT_APPLICABLE)


def _alike(was: Conclusion, now: Conclusion) -> bool:
    """The same outcome: by the same hand and in the same words, where there is one to blame."""
    if now.outcome in _THROUGH or not _is_known(now):
        return True
    mine, theirs = (_VARIES.sub("#", found.cause) for found in (was, now))
    return _refusals(was) == _refusals(now) and mine == theirs


def _refusals(conclusion: Conclusion) -> set[tuple[str, int, int]]:
    return {(s.icmp.sender, s.icmp.type, s.icmp.code) for s in conclusion.evidence if s.icmp}


# -- the runs as a whole ---------------------------------------------------------------------------


def _doubts(before: RunResult, after: RunResult) -> Iterator[str]:
    if before.started == after.started and before.near == after.near:
        yield "this is one and the same run twice"
    elif after.started < before.started:
        yield "the second run is the older one: are the two files the wrong way round?"
    for word, was, now in (
        ("scenario", before.scenario, after.scenario),
        ("near's address", before.near.address, after.near.address),
        ("far's address", before.far.address, after.far.address),
        ("IP version", _families(before), _families(after)),
    ):
        if was != now:
            yield f"not the same {word}: {was} before, {now} after"
    gone = " ".join(o for o in before.options if o not in after.options)
    come = " ".join(o for o in after.options if o not in before.options)
    if gone or come:
        yield f"not the same options: {gone or 'none'} before, {come or 'none'} after"
    for run, when in ((before, "before"), (after, "after")):
        if not run.complete:
            why = f" ({run.error})" if run.error else ""
            yield f"the run {when} was not finished{why}"
    if before.near.version != after.near.version:
        yield (
            f"probe {before.near.version} before, {after.near.version} after: some causes may be "
            "worded otherwise"
        )


def _families(run: RunResult) -> str:
    return " and ".join(sorted({str(c.check.family) for c in run.conclusions})) or "none"


def _path(before: RunResult, after: RunResult) -> Iterator[str]:
    if before.path.near_behind_nat != after.path.near_behind_nat:
        hidden = after.path.near_behind_nat
        yield f"near is {'now' if hidden else 'no longer'} behind NAT"
    for direction in Direction:
        was, now = before.path.mtu.get(direction, {}), after.path.mtu.get(direction, {})
        for kind in [kind for kind in was if kind in now and was[kind] != now[kind]]:
            yield (
                f"{direction}, the path's MTU for {service(kind).title} was {_mtu(was[kind])} and "
                f"is {_mtu(now[kind])}"
            )


def _mtu(mtu: PathMtu) -> str:
    return f"{mtu.octets:,}" if mtu.stopped is not None else f"{mtu.octets:,} or more"
