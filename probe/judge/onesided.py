"""Plan and near's sightings alone → one outcome for each check: the run without an agent. Pure.

An answer proves that its request arrived; silence proves nothing, for the far host may ignore what
reached it. So there is no ``lost`` here. What nobody answered is ``unobserved``, and what only far
could send, a new inbound flow, is ``not-applicable``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from agent.model import OVER_RATION, TAKEN, Check, Direction, Event, Flow, Side, Volley
from agent.wire import codec
from probe.correlate import Judgement, verdict
from probe.judge import words
from probe.judge.evidence import Evidence
from probe.judge.hearsay import Hearsay, Word, Worth
from probe.judge.opening import Openings
from probe.judge.tracks import Track, follow, is_stream
from probe.plan import Plan
from probe.result import Conclusion, Outcome

SILENCE = "no answer: cannot tell filtered from ignored"
NO_AGENT = "a new flow from far cannot be asked without an agent there"
SURE = 2  # refusals that make one; what is said once is asked again
KERBEROS = ("kerberos-udp", "kerberos-tcp")


def conclude(plan: Plan, evidence: Evidence, *, strict: bool = False) -> tuple[Conclusion, ...]:
    """One conclusion for each check of ``plan``, in its order."""
    case = _Case(plan, evidence)
    found: list[Conclusion] = []
    for planned in plan.planned:
        check = planned.check
        judgement = case.judge(check)
        arrived, delivered = case.counts(check)
        tracks = case.tracks[check.number].values()
        found.append(
            Conclusion(
                check=check,
                outcome=judgement.outcome,
                expected=planned.expected,
                verdict=verdict(judgement.outcome, planned.expected, strict=strict),
                cause=judgement.cause,
                shots=sum(1 for track in tracks if track.sent or track.unsent),
                arrived=arrived,
                delivered=delivered,
                evidence=tuple(s for s in evidence.sightings if s.check == check.number),
                label=planned.label,
            )
        )
    return tuple(found)


def notes(plan: Plan, evidence: Evidence) -> tuple[str, ...]:
    """What a reader must know of the run as a whole."""
    case = _Case(plan, evidence)
    asked = [check for check in plan.requests(Direction.OUTBOUND) if case.fired[check.number]]
    left = any(track.left for check in asked for track in case.tracks[check.number].values())
    if not left:
        return ()
    if evidence.near_address == evidence.far_address:
        return (
            "near and far are one and the same host: nothing left it, and no firewall was crossed",
        )
    if not any(case.said[check.number] for check in asked):
        return (
            "nothing at all came back from far or from anywhere on the way: the host may be down, "
            "the address wrong, a route missing, or a filter that drops everything without a word",
        )
    distance = case.hearsay.distance
    if distance is None:
        return ()
    return (
        f"far is {words.count(distance, 'router')} away, by the TTL of its own answers; a firewall "
        "that speaks in its name from as far as that, on its own link, cannot be told from it",
    )


def unanswered(plan: Plan, evidence: Evidence, volleys: Iterable[Volley]) -> bool:
    """May more be heard of one of these shots?"""
    case = _Case(plan, evidence)
    return not all(case.is_over(case.checks[volley.check], volley.first) for volley in volleys)


def doubtful(plan: Plan, evidence: Evidence) -> list[int]:
    """Fired requests that one more shot may tell more about.

    Not those that a far host must get few of: IKE, and Kerberos, of which each is one log entry.
    """
    case = _Case(plan, evidence)
    found: list[int] = []
    for check in plan.requests(Direction.OUTBOUND):
        if not case.fired[check.number] or asked_once(check):
            continue
        worths = [word.worth for word in case.said[check.number].values()]
        if len(worths) < SURE and set(worths) <= {Worth.REFUSED}:
            found.append(check.number)
    return found


def asked_once(check: Check) -> bool:
    return check.kind in KERBEROS or codec(check.kind).rationed


class _Case:
    """The evidence of one run, sorted by check."""

    def __init__(self, plan: Plan, evidence: Evidence) -> None:
        self.evidence = evidence
        self.checks = {check.number: check for check in plan.checks}
        self.tracks: Mapping[int, Mapping[int, Track]] = follow(plan.checks, evidence.sightings)
        self.hearsay = Hearsay(plan.checks, evidence)
        self.said: dict[int, dict[int, Word]] = {
            check.number: self.hearsay.words(check) for check in plan.requests(Direction.OUTBOUND)
        }
        self.fired: Counter[int] = Counter()
        order: dict[int, int] = {}
        for place, volley in enumerate(evidence.volleys):
            self.fired[volley.check] += volley.count
            order.setdefault(volley.check, place)
        self._openings = Openings(plan.checks, evidence, self.tracks, order)

    def counts(self, check: Check) -> tuple[int, int]:
        """(shots that arrived, shots that a socket got), as far as is known."""
        request = self._request(check)
        if request is None:
            return 0, 0
        if check is request:
            reached = [w for w in self.said[check.number].values() if w.worth is Worth.REACHED]
            return len(reached), len(reached)
        came = [self._came(request, shot) for shot in self.hearsay.shots(request)]
        return sum(arrived for arrived, _ in came), sum(delivered for _, delivered in came)

    def is_over(self, request: Check, shot: int) -> bool:
        """Nothing more is to be heard of that shot."""
        track = self.tracks[request.number].get(shot)
        if track is not None and track.unsent:
            return True
        word = self.said[request.number].get(shot)
        if word is None or word.worth is Worth.UNCLEAR:
            return False
        arrived, delivered = self._came(request, shot)
        if word.worth is Worth.REFUSED or not arrived:
            return True  # an ICMP error, or a reset
        return delivered and (word.own or request.kind not in KERBEROS)

    def judge(self, check: Check) -> Judgement:
        request = self._request(check)
        if request is None:
            return Judgement(Outcome.NOT_APPLICABLE, NO_AGENT)
        if check is not request:
            return self._reply(check, request)
        if not self.fired[check.number]:
            return Judgement(Outcome.UNOBSERVED, "the run ended before this was tried")
        tracks = self.tracks[check.number].values()
        said = self.said[check.number]
        if not said and not any(track.left for track in tracks):
            return self._not_sent(check)
        reached = [word for word in said.values() if word.worth is Worth.REACHED]
        refused = [word for word in said.values() if word.worth is Worth.REFUSED]
        if reached and refused:
            return Judgement(
                Outcome.LOSSY,
                f"{len(reached)} of {words.count(len(tracks))} reached far, and yet "
                f"{refused[0].text}",
            )
        if reached:
            return self._reached(check, reached)
        if refused:
            return Judgement(Outcome.REFUSED, refused[0].text)
        if said:
            return Judgement(Outcome.UNOBSERVED, next(iter(said.values())).text)
        return self._silence()

    def _request(self, check: Check) -> Check | None:
        """The outbound request that ``check`` is, or answers; None: only far could send it."""
        request = check
        if check.flow is Flow.REPLY and check.partner is not None:
            request = self.checks[check.partner]
        return request if request.direction is Direction.OUTBOUND else None

    def _not_sent(self, check: Check) -> Judgement:
        tracks = self.tracks[check.number].values()
        reasons = Counter(track.unsent for track in tracks if track.unsent)
        if reasons:
            reason = reasons.most_common(1)[0][0]
            if reason == OVER_RATION:
                return Judgement(
                    Outcome.UNOBSERVED,
                    "left out: another run has just asked far's IKE as often as a daemon that is "
                    "not ours is to be asked",
                )
            return Judgement(Outcome.NOT_SENT, words.not_sent(Side.NEAR, reason))
        facts = self.evidence.facts(Side.NEAR)
        if self.evidence.unsettled is not None or facts is None or facts.capture_dropped:
            return Judgement(Outcome.UNOBSERVED, "whether this left near was not seen")
        return Judgement(Outcome.NOT_SENT, words.never_left(Side.NEAR, check))

    def _reached(self, check: Check, reached: list[Word]) -> Judgement:
        best = next((word for word in reached if word.own), reached[0])
        opened = self._openings.before(check)
        if opened:
            before = f"{best.text}; " if best.text else ""
            return Judgement(Outcome.STATE_POSSIBLE, before + opened)
        return Judgement(Outcome.DELIVERED, best.text)

    def _silence(self) -> Judgement:
        facts = self.evidence.facts(Side.NEAR)
        if self.evidence.unsettled is not None:
            return Judgement(Outcome.UNOBSERVED, "the run ended before its silence could count")
        if facts is not None and facts.capture_dropped:
            return Judgement(
                Outcome.UNOBSERVED,
                f"near's capture dropped {facts.capture_dropped} packets: an answer may have been "
                "among them",
            )
        return Judgement(Outcome.UNOBSERVED, SILENCE)

    # -- replies -------------------------------------------------------------------------------

    def _came(self, request: Check, shot: int) -> tuple[bool, bool]:
        """Whether the reply to a shot reached near's interface, and whether a socket of ours."""
        proper = [s for s in self.hearsay.replies(request, shot) if s.event is not Event.REPLIED]
        proper += [s for s in self.hearsay.replies(request, shot) if s.says]
        socket = any(s.event is Event.DELIVERED or s.stage == TAKEN for s in proper)
        return bool(proper), socket

    def _reply(self, check: Check, request: Check) -> Judgement:
        asked = self.judge(request)
        shots = [s for s in self.hearsay.shots(request) if self._came(request, s)[0]]
        said = self.said[request.number]
        mine = [s for s in shots if (w := said.get(s)) and w.worth is Worth.REACHED]
        if mine and any(self._came(request, shot)[1] for shot in mine):
            text = ""
            if is_stream(check) and not any(said[shot].own for shot in mine):
                text = "the SYN-ACK is all the reply there was"
            return Judgement(Outcome.DELIVERED, text)
        if mine:
            facts = self.evidence.facts(Side.NEAR)
            if self.evidence.unsettled is not None or facts is None or facts.socket_dropped:
                return Judgement(
                    Outcome.UNOBSERVED,
                    "it reached near's interface; whether a socket got it is not known",
                )
            return Judgement(Outcome.HOST_DROPPED, words.host_dropped(check, len(mine)))
        if asked.outcome in (Outcome.DELIVERED, Outcome.STATE_POSSIBLE):
            return Judgement(
                Outcome.NOT_APPLICABLE,
                "the request arrived, and nothing at far replies to it in kind",
            )
        return Judgement(
            Outcome.NOT_APPLICABLE, "no request is known to have reached a service of far's"
        )
