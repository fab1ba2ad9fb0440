"""Round after round of conclusions → what changed, told once. Without clock and without packets.

A check that stops getting through is told when a second look finds the same; one that gets through
again is told at once, for what arrived has arrived. What changes too often is called flapping,
once, and is told again when it has been steady for a while. What could not be measured is no
change, until it could not be measured for some rounds.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from agent.model import Check
from probe.judge.opening import tuple_of
from probe.result import Conclusion, Expect, Outcome, RunResult, Verdict

CONFIRM = 2  # rounds that must agree before something that got through is said to be stopped
BLIND = 3  # rounds without a measurement before that is told
FLAPS = 4  # changes within FLAP_SECONDS are flapping
FLAP_SECONDS = 3600.0
CALM_SECONDS = 900.0  # without a change: steady again
MARGIN = 2.0  # seconds that a firewall may remember longer than it is said to

PASSES = "passes"  # whether a rule or state let it through is told by the outcome, not as a change
BLOCKED = "blocked"  # as the scenario wants it, whoever does it and however
UNTESTED = "could not be tested"
_BLIND = (Outcome.UNOBSERVED, Outcome.NOT_SENT)

Tuple = tuple[object, ...]
_Identity = tuple[Check, int]  # a check without its numbers; which, where a scenario has it twice


def standing(conclusion: Conclusion) -> str:
    """What is compared from round to round: two that are judged differently are never alike."""
    outcome, verdict = conclusion.outcome, conclusion.verdict
    if outcome is Outcome.DELIVERED:
        return PASSES
    if outcome is Outcome.STATE_POSSIBLE and verdict is Verdict.PASS:
        return PASSES
    if outcome in _BLIND:
        return UNTESTED
    if conclusion.expected is Expect.BLOCK and verdict is Verdict.PASS:
        return BLOCKED
    return outcome.value


@dataclass(frozen=True, slots=True)
class Change:
    """One check that fares otherwise than it did. ``since``: when that was first seen."""

    conclusion: Conclusion
    before: str
    after: str
    since: float
    flapping: bool = False  # from now on it is not told at every change
    steady: bool = False  # it flapped, and has not changed for a while


@dataclass(slots=True)
class _Kept:
    conclusion: Conclusion  # the last, without its evidence
    standing: str
    asked: float
    differing: int = 0  # rounds that found something else, with none between that found the same
    unseen: int = 0  # rounds in a row that could not see
    since: float = 0.0  # the first of either
    changed: deque[float] = field(default_factory=lambda: deque(maxlen=FLAPS))
    flapping: bool = False
    told: str = ""  # the standing that was told last


class Watching:
    """Keeps one conclusion for each check, however long it goes on."""

    def __init__(self, state_timeout: float) -> None:
        self._state_timeout = state_timeout
        self._kept: dict[_Identity, _Kept] = {}
        self._crossed: dict[Tuple, float] = {}

    def update(self, conclusions: Iterable[Conclusion], now: float) -> list[Change]:
        """What one round found. ``now``: seconds, of a clock that is never stepped."""
        conclusions = tuple(conclusions)
        for conclusion in conclusions:
            key = tuple_of(conclusion.check)
            if key is not None and conclusion.arrived:
                self._crossed[key] = now
        changes: list[Change] = []
        for identity, conclusion in _identified(conclusions):
            bare = replace(conclusion, evidence=())
            kept = self._kept.get(identity)
            if kept is None:
                found = standing(conclusion)
                self._kept[identity] = _Kept(bare, found, now, told=found)
                continue
            changes += self._compare(kept, bare, now)
        return changes

    def _compare(self, kept: _Kept, found: Conclusion, now: float) -> list[Change]:
        before, after = kept.standing, standing(found)
        kept.asked = now
        if after == before:
            kept.conclusion, kept.differing, kept.unseen = found, 0, 0
            return self._calmed(kept, now)
        if not kept.differing and (after != UNTESTED or not kept.unseen):
            kept.since = now
        # Who sees nothing has not had his second look at what somebody else saw, nor the reverse.
        if after == UNTESTED:
            kept.unseen += 1
        else:
            kept.differing, kept.unseen = kept.differing + 1, 0
        looks = kept.unseen if after == UNTESTED else kept.differing
        if looks < self._rounds_needed(found.check, after, now):
            return []
        kept.conclusion, kept.standing, kept.differing, kept.unseen = found, after, 0, 0
        if Outcome.NOT_APPLICABLE.value in (before, after):
            kept.told = after
            return []  # a reply that has no request any more, or has one again
        kept.changed.append(now)
        if kept.flapping:
            return []
        kept.told = after
        recent = len(kept.changed) == FLAPS and now - kept.changed[0] <= FLAP_SECONDS
        kept.flapping = recent
        return [Change(found, before, after, kept.since, flapping=recent)]

    def _calmed(self, kept: _Kept, now: float) -> list[Change]:
        if not kept.flapping or now - kept.changed[-1] < CALM_SECONDS:
            return []
        kept.flapping = False
        kept.changed.clear()
        before, kept.told = kept.told, kept.standing
        return [Change(kept.conclusion, before, kept.standing, kept.since, steady=True)]

    # -- what to ask next --------------------------------------------------------------------

    def doubtful(self, now: float) -> bool:
        """Something looks otherwise than before, and can have a second look soon."""
        resting = self.resting(now)
        return any(
            (kept.differing or kept.unseen) and tuple_of(kept.conclusion.check) not in resting
            for kept in self._kept.values()
        )

    def resting(self, now: float) -> frozenset[Tuple]:
        """Tuples on which a firewall may still remember our own last round.

        Asked now, what arrives would prove no rule, and would keep the flow alive for ever. (One
        that nothing has crossed is as good as new.)
        """
        timeout = self._state_timeout + MARGIN
        return frozenset(key for key, seen in self._crossed.items() if now - seen < timeout)

    def all_rest(self, now: float) -> bool:
        """There is nothing that could be asked."""
        resting = self.resting(now)
        return all(tuple_of(kept.conclusion.check) in resting for kept in self._kept.values())

    def rested(self, now: float) -> float:
        """When the first of the resting tuples may be asked again; infinity when none rests."""
        resting = self.resting(now)
        ends = [self._crossed[key] + self._state_timeout + MARGIN for key in resting]
        return min(ends, default=float("inf"))

    def _rounds_needed(self, check: Check, after: str, now: float) -> int:
        if after == PASSES:
            return 1
        if after == UNTESTED:
            return BLIND
        # The other direction has just opened the way: a second look would find it open.
        return 1 if tuple_of(check) in self.resting(now) else CONFIRM

    # -- what is known -----------------------------------------------------------------------

    @property
    def conclusions(self) -> tuple[Conclusion, ...]:
        """The last of every check, as it stands (a first surprise is not in here yet)."""
        return tuple(kept.conclusion for kept in self._kept.values())

    @property
    def asked(self) -> tuple[float, ...]:
        """When each of them was asked last."""
        return tuple(kept.asked for kept in self._kept.values())

    @property
    def flapping(self) -> tuple[Conclusion, ...]:
        """Of ``conclusions`` those that change too often to be told at every change."""
        return tuple(kept.conclusion for kept in self._kept.values() if kept.flapping)

    @property
    def verdict(self) -> Verdict:
        """The worst of what is known; ERROR where nothing is."""
        known = [c for c in self.conclusions if c.outcome is not Outcome.NOT_APPLICABLE]
        if not known:
            return Verdict.ERROR
        present = {conclusion.verdict for conclusion in known}
        worst_first = (Verdict.FAIL, Verdict.WARN, Verdict.ERROR, Verdict.PASS)
        return next((verdict for verdict in worst_first if verdict in present), Verdict.SKIP)


@dataclass(frozen=True, slots=True)
class Round:
    """One round is over. ``error`` says why it told nothing; "" when it did."""

    time: float  # seconds since the epoch
    number: int
    result: RunResult
    error: str
    changes: tuple[Change, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()  # of every check the last, asked in this round or not
    flapping: tuple[Conclusion, ...] = ()  # those of them that change too often to be told
    blind: bool = False  # by this round it is told that nothing can be tested
    sighted: bool = False  # and by this one that it can again


def _identified(conclusions: Iterable[Conclusion]) -> Iterator[tuple[_Identity, Conclusion]]:
    seen: Counter[Check] = Counter()
    for conclusion in conclusions:
        check = replace(conclusion.check, number=0, partner=None)
        yield (check, seen[check]), conclusion
        seen[check] += 1
