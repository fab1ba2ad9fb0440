"""The heart: plan and sightings of both ends → one outcome for each check. Pure.

Three rules stand above the rest:

* what we failed to observe is never called the firewall's doing;
* what earlier traffic may have opened is never called proof that a new flow is allowed;
* silence is a drop only when the path's measured loss no longer explains it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agent.model import Check, Direction, Flow, Fragmenting, Side, Sighting
from probe.judge import before, loss, words
from probe.judge.carried import Carried
from probe.judge.evidence import Evidence
from probe.judge.opening import Openings, tuple_of
from probe.judge.tracks import Track, follow, is_stream, origin, put_in_order, target
from probe.plan import Plan
from probe.result import Conclusion, Expect, Outcome, Verdict

SOUND = 0.75  # the share of shots that must arrive for the path to be called sound
AGAIN = 3  # shots with which a surprise is looked at once more
SPARE = 1.3  # times as many shots as a path that loses some calls for
MAX_SHOTS = 60  # of one check; what is not settled by then is "unobserved", not "lost"


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome and its cause; ``wanted`` more shots would make it firm."""

    outcome: Outcome
    cause: str = ""
    wanted: int = 0


def correlate(plan: Plan, evidence: Evidence, *, strict: bool = False) -> tuple[Conclusion, ...]:
    """One conclusion for each check of ``plan``, in its order."""
    case = Case(plan, evidence)
    return tuple(
        _conclude(case, planned.check, planned.expected, planned.label, strict)
        for planned in plan.planned
    )


def verdict(outcome: Outcome, expected: Expect, *, strict: bool = False) -> Verdict:
    """``outcome`` held against what the scenario expected."""
    if outcome is Outcome.NOT_APPLICABLE:
        return Verdict.SKIP
    if expected is Expect.ANY:
        through = outcome in (Outcome.DELIVERED, Outcome.STATE_POSSIBLE)
        return Verdict.PASS if through else Verdict.SKIP
    if outcome in (Outcome.NOT_SENT, Outcome.UNOBSERVED):
        return Verdict.ERROR
    stopped = outcome in (Outcome.LOST, Outcome.REFUSED, Outcome.HOST_DROPPED)
    if expected is Expect.BLOCK:
        if outcome is Outcome.STATE_POSSIBLE:
            return Verdict.WARN  # it got in, perhaps only as the reply to something allowed
        return Verdict.PASS if stopped else Verdict.FAIL
    if outcome is Outcome.STATE_POSSIBLE:
        return Verdict.FAIL if strict else Verdict.PASS
    if outcome is Outcome.LOSSY:
        return Verdict.WARN
    return Verdict.PASS if outcome is Outcome.DELIVERED else Verdict.FAIL


def _conclude(case: Case, check: Check, expected: Expect, label: str, strict: bool) -> Conclusion:
    judgement = case.judge(check)
    tracks = case.tracks[check.number].values()
    evidence = tuple(s for s in case.evidence.sightings if s.check == check.number)
    return Conclusion(
        check=check,
        outcome=judgement.outcome,
        expected=expected,
        verdict=verdict(judgement.outcome, expected, strict=strict),
        cause=judgement.cause,
        shots=sum(1 for track in tracks if track.sent or track.unsent),
        arrived=sum(1 for track in tracks if track.arrived or track.delivered),
        delivered=sum(1 for track in tracks if track.delivered),
        evidence=evidence,
        label=label,
    )


class Case:
    """The evidence of one run, sorted by check."""

    def __init__(self, plan: Plan, evidence: Evidence) -> None:
        self.plan = plan
        self.evidence = evidence
        self.checks = {check.number: check for check in plan.checks}
        self.tracks = follow(plan.checks, evidence.sightings)
        self._fired: Counter[int] = Counter()
        self._order: dict[int, int] = {}
        for place, volley in enumerate(evidence.volleys):
            self._fired[volley.check] += volley.count
            self._order.setdefault(volley.check, place)
        self.openings = Openings(plan.checks, evidence, self.tracks, self._order)
        self.carried = Carried(plan, evidence, self.tracks)

    def fired(self, check: Check) -> int:
        return self._fired[check.number]

    # -- the judgement, step by step --------------------------------------------------------

    def judge(self, check: Check) -> Judgement:
        request = self._request(check)
        if self._hidden(request) and tuple_of(request) is not None:
            return Judgement(Outcome.NOT_APPLICABLE, words.mapped(self.evidence))
        if self.fired(request) == 0:
            return Judgement(Outcome.UNOBSERVED, "the run ended before this was tried")
        if check.flow is Flow.REPLY:
            early = self._nothing_to_answer(check, request)
            if early is not None:
                return early
        tracks = tuple(self.tracks[check.number].values())
        if put_in_order(check, tracks):
            return Judgement(Outcome.NOT_APPLICABLE, words.put_in_order(check))
        judged = self._sending(check, tracks) or self._receiving(check, tracks)
        if judged.outcome is Outcome.REFUSED and words.shaken_for(check, tracks):
            return Judgement(Outcome.REFUSED, words.proxied(check, judged.cause))
        if judged.outcome is Outcome.LOST and self._forged(check):
            return Judgement(Outcome.LOST, words.forged(check, judged.cause), judged.wanted)
        return judged

    def _request(self, check: Check) -> Check:
        if check.flow is Flow.NEW or check.partner is None:
            return check
        return self.checks[check.partner]

    def _nothing_to_answer(self, check: Check, request: Check) -> Judgement | None:
        """A missing reply says nothing where no request asked for one."""
        asked = self.judge(request)
        delivered = [t for t in self.tracks[request.number].values() if t.delivered]
        side = origin(check)
        if asked.outcome is Outcome.NOT_APPLICABLE:
            return Judgement(Outcome.NOT_APPLICABLE, asked.cause)
        if delivered and is_stream(check) and all(words.was_reset(check, t) for t in delivered):
            return Judgement(
                Outcome.NOT_APPLICABLE,
                f"nothing on {side} listens on port {check.source_port}: its kernel reset the "
                "connection, so there was no reply to judge",
            )
        if delivered and asked.outcome is Outcome.UNOBSERVED and self.openings.swayed(request):
            return Judgement(Outcome.NOT_APPLICABLE, asked.cause)
        if delivered:
            return None
        if asked.outcome is Outcome.UNOBSERVED:
            return Judgement(Outcome.UNOBSERVED, f"whether the request reached {side} is not known")
        return Judgement(
            Outcome.NOT_APPLICABLE,
            f"no request reached {side}'s socket, so there was nothing to answer",
        )

    def _sending(self, check: Check, tracks: Sequence[Track]) -> Judgement | None:
        """What never left, and why; None when something did."""
        side = origin(check)
        got = any(track.arrived or track.delivered for track in tracks)
        stalled = not got and any(track.held_back for track in tracks)  # lost SYNs beside it or not
        if got or (not stalled and any(track.left for track in tracks)):
            return None
        reasons = Counter(track.unsent for track in tracks if track.unsent)
        if reasons:
            reason = reasons.most_common(1)[0][0]
            return Judgement(Outcome.NOT_SENT, words.not_sent(side, reason))
        facts = self.evidence.facts(side)
        if facts is None:
            return Judgement(Outcome.UNOBSERVED, f"the report of the {side} host is missing")
        if self._unsettled(check):
            return Judgement(Outcome.UNOBSERVED, "the run ended before this was seen to leave")
        if facts.capture_dropped:
            return Judgement(
                Outcome.UNOBSERVED,
                f"{side}'s capture dropped {facts.capture_dropped} packets: whether this left "
                "is not known",
            )
        return Judgement(Outcome.NOT_SENT, words.never_left(side, check))

    def _receiving(self, check: Check, tracks: Sequence[Track]) -> Judgement:
        left = [track for track in tracks if track.left or track.arrived or track.delivered]
        arrived = [track for track in left if track.arrived or track.delivered]
        delivered = [track for track in left if track.delivered]
        if not arrived:
            return self._silence(check, left)
        altered = [track for track in arrived if track.altered]
        collided = self.openings.collided(check)
        if altered and collided and _other_port(check, altered[0]):
            return Judgement(Outcome.UNOBSERVED, before.collided(check, collided))
        if altered:
            return Judgement(Outcome.ALTERED, words.altered(check, altered[0], self.evidence))
        if self.evidence.overtaken(check):
            if not delivered:
                return Judgement(Outcome.UNOBSERVED, words.overtaken(check), wanted=AGAIN)
            left = [track for track in left if track.delivered or not track.arrived]
            arrived = delivered
        if not delivered:
            return self._stopped_at_host(check, arrived)
        share = len(delivered) / len(left)
        if share < SOUND and (self._unsettled(check) or not self.evidence.facts(target(check))):
            return Judgement(
                Outcome.UNOBSERVED,
                f"{len(delivered)} of {words.count(len(left))} were seen at {target(check)} when "
                "the run ended: what became of the others is not known",
            )
        if share < SOUND and self.evidence.interrupted:
            return Judgement(Outcome.UNOBSERVED, self.evidence.interrupted)
        if share < SOUND and self._overflowed(check, len(arrived) / len(left)):
            return Judgement(Outcome.UNOBSERVED, words.overflowed(check, self.evidence), AGAIN)
        if share < SOUND:
            wanted = max(0, 12 - len(left))
            return Judgement(Outcome.LOSSY, words.lossy(check, left, arrived, delivered), wanted)
        opened = self.openings.before(check)
        if opened and self.openings.swayed(check):
            return Judgement(Outcome.UNOBSERVED, before.swayed(check))
        if opened:
            return Judgement(Outcome.STATE_POSSIBLE, opened)
        foreign = [track for track in delivered if track.foreign]
        if foreign:
            return Judgement(Outcome.DELIVERED, words.foreign(check, foreign[0].elsewhere))
        return Judgement(Outcome.DELIVERED, words.unanswered(check, delivered))

    def _overflowed(self, check: Check, share: float) -> bool:
        """Was it the target's own sockets that had no room, and not the path? ``share`` arrived."""
        facts = self.evidence.facts(target(check))
        if facts is None or not facts.socket_dropped or is_stream(check):
            return False
        return share >= SOUND or facts.capture_dropped > 0

    def _unsettled(self, check: Check) -> bool:
        return self._request(check).direction is self.evidence.unsettled

    def _silence(self, check: Check, left: Sequence[Track]) -> Judgement:
        """Left, and never seen at the other end."""
        sink = target(check)
        told = next((t.target_refused or t.refused for t in left if t.refused is not None), None)
        facts = self.evidence.facts(sink)
        interrupted = self.evidence.interrupted
        if interrupted and (told is None or words.says_unreachable(told)):
            return Judgement(Outcome.UNOBSERVED, interrupted)
        unplaced = self._unplaced(check)
        if is_stream(check) and facts is not None and check.number in facts.nameless:
            # What was refused may be a SYN sent again, when the first had got through.
            return Judgement(Outcome.UNOBSERVED, words.nameless(check))
        if told is not None and not unplaced and not self._hidden(check):
            if self._left_behind(check, told):
                return Judgement(Outcome.UNOBSERVED, words.left_behind(check))
            if facts and not facts.capture_dropped and any(words.cut_off(check, t) for t in left):
                return Judgement(Outcome.REFUSED, words.reset_between(check))
            own = told.icmp and told.icmp.sender == self.evidence.address(sink)
            if own and facts and not facts.capture_dropped:
                return Judgement(Outcome.REFUSED, words.refused_in_its_name(check, told))
            return Judgement(Outcome.REFUSED, words.refused(check, told, self.evidence))
        if facts is not None and self._unsettled(check):
            return Judgement(Outcome.UNOBSERVED, "the run ended before its silence could count")
        if facts is None:
            return Judgement(
                Outcome.UNOBSERVED,
                f"{len(left)} shots left {origin(check)}, and the report of the {sink} host is "
                "missing",
            )
        if check.number in facts.nameless:
            return Judgement(Outcome.UNOBSERVED, words.nameless(check))
        collided = self.openings.collided(check)
        if collided:
            return Judgement(Outcome.UNOBSERVED, before.collided(check, collided))
        if facts.capture_dropped:
            return Judgement(
                Outcome.UNOBSERVED,
                f"{sink}'s capture dropped {facts.capture_dropped} packets: this may have been "
                "among them",
                wanted=3,
            )
        if self._hidden(check):
            return Judgement(Outcome.NOT_APPLICABLE, words.hidden(check, told, self.evidence))
        rate = loss.of_fragments(self.carried.loss(check.direction), words.pieces(check))
        needed = loss.shots_needed(rate)
        # What is shot later, replies among it, may yet show more loss: have a few to spare.
        spare = SPARE if rate > loss.UNKNOWN_LOSS else 1
        wanted = max(0, int(min(needed * spare, MAX_SHOTS + 1)) - len(left))
        if len(left) < needed:
            return Judgement(
                Outcome.UNOBSERVED,
                f"none of {len(left)} shots arrived, but the path may lose up to {rate:.0%}: too "
                "few to tell a drop from loss",
                wanted,
            )
        if unplaced:
            return Judgement(Outcome.UNOBSERVED, words.unplaced(told, self.evidence), wanted)
        if self._passes_in_order(check):
            return Judgement(Outcome.LOST, words.out_of_order(check, left), wanted)
        smaller = self._smaller_that_passes(check)
        if smaller is not None:
            return Judgement(Outcome.LOST, words.too_large(check, left, smaller), wanted)
        cause = words.lost(check, left, self.carried.refusers(check.direction))
        return Judgement(Outcome.LOST, cause, wanted)

    def _left_behind(self, check: Check, told: Sighting) -> bool:
        """Refused by a host whose agent broke off meanwhile: nobody held the port any more."""
        sink = target(check)
        own = told.icmp is None or told.icmp.sender == self.evidence.address(sink)
        return own and self._unsettled(check) and self.evidence.facts(sink) is None

    def _hidden(self, check: Check) -> bool:
        """A new flow to a host behind NAT can be addressed to the translated address alone."""
        asked = check.flow is Flow.NEW and target(check) is Side.NEAR
        return asked and self.evidence.near_behind_nat and not self.reachable()

    def _unplaced(self, check: Check) -> bool:
        """Far was told near's address by near, and nothing that crossed bears it out."""
        asked = check.flow is Flow.NEW and target(check) is Side.NEAR
        return asked and not self.evidence.near_seen_as and not self._reached_by()

    def reachable(self) -> bool:
        """A ping from far that reached near: its NAT passes everything on, one address to one."""
        return self._reached_by("icmp-echo")

    def _reached_by(self, kind: str = "") -> bool:
        return any(
            track.arrived
            for check in self.plan.requests(Direction.INBOUND)
            if kind in ("", check.kind)
            for track in self.tracks[check.number].values()
        )

    def _smaller_that_passes(self, check: Check) -> int | None:
        """The size of the largest smaller shot of the same kind that got through, in octets."""
        if check.size is None:
            return None
        sizes = [
            track.arrived.size
            for other in self.plan.checks
            if _alike(other, check) and (other.size or 0) < check.size
            for track in self.tracks[other.number].values()
            if track.arrived is not None and track.arrived.size is not None
        ]
        return max(sizes, default=None)

    def _forged(self, check: Check) -> bool:
        """An answer came that the end which was asked never sent, and it saw all that it sent."""
        facts = self.evidence.facts(target(check))
        if check.partner is None or facts is None or facts.capture_dropped:
            return False
        return any(track.forged for track in self.tracks[check.partner].values())

    def _passes_in_order(self, check: Check) -> bool:
        """The same large packet got through when its fragments came in order."""
        return check.fragmenting is Fragmenting.LAST_FIRST and any(
            track.arrived
            for other in self.plan.checks
            if other.fragmenting is Fragmenting.USUAL
            and _alike(other, check)
            and other.size == check.size
            for track in self.tracks[other.number].values()
        )

    def _stopped_at_host(self, check: Check, arrived: Sequence[Track]) -> Judgement:
        sink = target(check)
        facts = self.evidence.facts(sink)
        overflowed = facts is not None and facts.socket_dropped > 0
        for track in arrived:
            told = track.refused or track.target_refused
            ours = overflowed and told is not None and words.says_no_protocol(told)
            if told is not None and not ours and not self._left_behind(check, told):
                return Judgement(Outcome.REFUSED, words.refused(check, told, self.evidence))
        if facts is None or facts.socket_dropped:
            return Judgement(Outcome.UNOBSERVED, words.overflowed(check, self.evidence))
        return Judgement(Outcome.HOST_DROPPED, words.host_dropped(check, len(arrived)))


def _alike(one: Check, other: Check) -> bool:
    """But for their sizes, the same question."""
    return (one.kind, one.direction, one.flow, one.source_port) == (
        other.kind,
        other.direction,
        other.flow,
        other.source_port,
    )


def _other_port(check: Check, track: Track) -> bool:
    """It left from a fixed port, and came from another."""
    got = track.arrived or track.delivered
    return got is not None and check.source_port not in (None, got.source_port)


__all__ = ["Case", "Evidence", "correlate", "verdict"]
