"""Where does it die? What is known of the hops → a conclusion in words that are exactly true. Pure.

What may be said of a hop, and how it is known, is in :mod:`probe.trace.hops`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.model import Check, Direction
from probe.judge.tracks import origin, target
from probe.naming import service
from probe.result import Outcome, RunResult
from probe.trace.hops import DEAD, ORIGIN, TARGET, Case, Hop, Walked


@dataclass(frozen=True, slots=True)
class Way:
    """One direction, concluded.

    ``forwarder``: the last hop known to have forwarded the kind; ``holder``: the last known to have
    received it; ``misser``: the first that should have got it and did not. 0 is the end that sends,
    -1 the end that should receive; None: not known, or it did not die on its way.
    """

    direction: Direction
    outcome: Outcome
    cause: str
    hops: tuple[Hop, ...]
    forwarder: int | None = None
    holder: int | None = None
    misser: int | None = None


@dataclass(frozen=True, slots=True)
class TraceResult:
    """Everything a report needs. ``run`` has the hosts and the notes.

    ``references``: per direction the kind that was walked beside ``kind``; ``names``: of addresses,
    where one is known.
    """

    run: RunResult
    kind: str
    references: Mapping[Direction, str]
    ways: tuple[Way, ...]
    names: Mapping[str, str] = field(default_factory=dict)


def conclude(walked: Walked, crossed: int = 0) -> Way:
    """``crossed``: routers that shots the other way had crossed before, though they died then."""
    return _Words(Case(walked), crossed).way()


class _Words:
    def __init__(self, case: Case, crossed: int) -> None:
        self._case = case
        self._crossed = crossed
        self._subject = case.walked.subject
        self._check = case.walked.subject.check
        self._sink = f"{target(self._check)} ({case.walked.target})"
        self._addresses = case.addresses()

    def way(self) -> Way:
        case, outcome, direction = self._case, self._subject.outcome, self._check.direction
        if case.arrived or outcome not in DEAD:
            return Way(direction, *self._not_dead(), case.hops())
        if case.asked == 0:
            return Way(direction, outcome, f"{self._subject.cause}; no hop was asked", ())
        holder = case.holder
        misser = case.misser if case.certain else None
        if case.refuser is not None:
            cause, misser = self._refused(case.refuser), None
        elif case.reset_at is not None:
            cause, misser = self._reset(case.reset_at), None
        elif outcome is Outcome.REFUSED:
            cause = f"{self._subject.cause}. {self._lost()}"
        else:
            cause = self._lost()
        forwarder = holder - 1 if holder else None
        return Way(direction, outcome, cause, case.hops(), forwarder, holder, misser)

    # -- not the network's doing, or nobody's ----------------------------------------------------

    def _not_dead(self) -> tuple[Outcome, str]:
        outcome, cause = self._subject.outcome, self._subject.cause
        if outcome is Outcome.HOST_DROPPED:
            return outcome, f"no router stops it. {cause}"
        if outcome is not Outcome.DELIVERED or not self._crossed or not _shared(self._check):
            return outcome, cause
        routers = "the first router" if self._crossed == 1 else f"{self._crossed} routers"
        return Outcome.STATE_POSSIBLE, (
            f"it arrived, but what was sent the other way before had crossed {routers} there "
            "until it died, and a stateful firewall would have let this in as part of that"
        )

    # -- somebody said no ------------------------------------------------------------------------

    def _refused(self, refuser: str) -> str:
        cause = self._subject.cause
        if refuser == self._case.walked.target:
            return cause
        hop = next((n for n, found in self._addresses.items() if refuser in found), None)
        if hop is None:
            holder = self._case.holder
            known = f"; the last of those to receive it was {self._name(holder)}" if holder else ""
            return f"{cause}. That is none of the hops that answer{known}"
        return f"{cause}. That is hop {hop}; {self._name(hop - 1)} was the last to forward it"

    def _reset(self, ttl: int) -> str:
        holder = min(self._case.holder, ttl - 1)
        last = ttl if self._case.end is None else min(ttl, self._case.end - 1)
        who = [self._name(n) for n in range(max(holder, 1), last + 1)]
        return (
            f"{self._subject.cause}. It comes back for shots that cannot pass hop {ttl} as well, "
            f"so {' or '.join(who)} sends it"
        )

    # -- nobody said anything --------------------------------------------------------------------

    def _lost(self) -> str:
        case = self._case
        holder, misser = case.holder, case.misser
        if case.walked.interrupted:
            had = self._had(holder)
            return f"{had}. How much further it came cannot be told: {case.walked.interrupted}"
        if misser is None:
            return self._nothing_further(holder)
        reference = _title(case.walked)
        end = misser if misser != TARGET else case.end or case.asked + 1
        silent = [n for n in range(holder + 1, end) if n not in self._addresses]
        place = self._sink if misser == TARGET else self._name(misser)
        which = f"{place}, which {reference} reaches,"
        if not case.certain:
            return (
                f"{self._had(holder)}, and {self._sink} never did. {which} was not heard to "
                "receive it, but answers too seldom to be sure: it dies there or elsewhere on "
                f"the way behind {self._name(holder)}"
            )
        where = "the next hop, " if misser == holder + 1 else ""
        if silent:
            hops = f"hop {silent[0]}" if len(silent) == 1 else f"hops {silent[0]} to {silent[-1]}"
            where = f"{hops} never answered, and behind, "
        text = f"{self._had(holder)}; {where}{which} never did: "
        return text + self._culprits(holder, silent, misser) + self._caveat(holder)

    def _culprits(self, holder: int, silent: Sequence[int], misser: int) -> str:
        verb = "refuses" if self._subject.outcome is Outcome.REFUSED else "drops"
        where: list[str] = []
        if holder:
            where.append(f"{self._name(holder)} {verb} it on the way through")
        if silent:
            where.append("the silent hop does" if len(silent) == 1 else "a silent hop does")
        if misser == TARGET and self._case.end is None:
            where.append("something further on, where nobody was asked, does")
        elif misser == TARGET:
            where.append(f"something in front of {target(self._check)}'s interface does")
        else:
            where.append(f"{self._name(misser)} does at its entrance")
        where[0] = where[0].replace(" does", f" {verb} it")
        return ", or ".join(where)

    def _caveat(self, holder: int) -> str:
        """Routers that share the load may send the two kinds on two ways."""
        mine = set(self._case.subject.addresses.get(holder, ()))
        other = set(self._case.reference.addresses.get(holder, ()))
        if not mine or not other or mine & other:
            return ""
        return (
            f". At hop {holder} the two kinds met different routers, so they may travel on "
            "different ways, and the next hop may be another for this kind"
        )

    def _nothing_further(self, holder: int) -> str:
        """The reference is not known to come any further."""
        walked = self._case.walked
        reference = _title(walked)
        if walked.reference is None:
            return f"{self._had(holder)}, and {self._sink} never did"
        if holder == ORIGIN:
            return (
                f"{self._had(holder)}, nor for {reference}, and neither came to {self._sink}: no "
                "hop can be named. It is so where routers send no ICMP errors, and where the "
                "first hop drops everything"
            )
        if self._case.reference.deepest < holder:
            return (
                f"{self._had(holder)}, and {self._sink} never did. {reference} dies even before "
                "that, so there is nothing to compare with behind it"
            )
        return (
            f"{self._had(holder)}, and so did {reference}; neither was seen behind it. This is no "
            f"matter of one kind: a route is missing at {self._name(holder)} or further on, or a "
            "filter there drops everything"
        )

    # -- names -----------------------------------------------------------------------------------

    def _had(self, holder: int) -> str:
        if holder == ORIGIN:
            return f"it left {origin(self._check)}, and no router answered for it"
        if holder > 1 and self._addresses.get(holder - 1):
            return f"{self._name(holder - 1)} forwarded it and {self._name(holder)} received it"
        return f"{self._name(holder)} received it"

    def _name(self, place: int) -> str:
        if place == ORIGIN:
            return str(origin(self._check))
        addresses = self._addresses.get(place)
        return " or ".join(addresses) if addresses else f"hop {place}"


def _shared(check: Check) -> bool:
    """Both directions travel on one tuple."""
    if check.kind == "icmp-echo":
        return False
    return check.destination_port is None or check.source_port == check.destination_port


def _title(walked: Walked) -> str:
    return service(walked.reference.check.kind).title if walked.reference else ""
