"""What a run asks again, with how many shots, and what it had better not ask. Pure.

The judgements say what would settle them (:mod:`probe.correlate`); this says what follows.
"""

from __future__ import annotations

from collections import Counter

from agent.model import Direction
from probe.correlate import AGAIN, MAX_SHOTS, Case, verdict
from probe.judge.evidence import Evidence
from probe.judge.opening import tuple_of
from probe.plan import Plan
from probe.result import Outcome, Verdict


def more_shots(plan: Plan, evidence: Evidence, direction: Direction) -> dict[int, int]:
    """Request check → how many more shots of it would settle what is still open.

    A check that gets through measures the path's loss for those that do not: it is shot again
    beside them.
    """
    case = Case(plan, evidence)
    expected = {planned.check.number: planned.expected for planned in plan.planned}
    rounds = Counter(volley.check for volley in evidence.volleys)
    wanted: dict[int, int] = {}
    for check in plan.requests(direction):
        numbers = [check.number] + ([check.partner] if check.partner is not None else [])
        judged = {number: case.judge(case.checks[number]) for number in numbers}
        need = max(judgement.wanted for judgement in judged.values())
        verdicts = {verdict(judged[number].outcome, expected[number]) for number in numbers}
        unsent = Outcome.NOT_SENT in (judgement.outcome for judgement in judged.values())
        surprise = unsent or verdicts & {Verdict.FAIL, Verdict.ERROR}
        if not need and rounds[check.number] == 1 and surprise:
            need = AGAIN  # what is not as expected is not reported on one look
        room = MAX_SHOTS - case.fired(check)
        if need > 0 and room > 0:
            wanted[check.number] = min(need, room)
    if not wanted:
        return {}
    reference = case.carried.reference(direction)
    if reference is not None and reference not in wanted:
        room = MAX_SHOTS - case.fired(case.checks[reference])
        wanted[reference] = min(max(wanted.values()), max(0, room))
    return {number: count for number, count in wanted.items() if count > 0}


def silent_beside_refused(plan: Plan, evidence: Evidence, direction: Direction) -> list[int]:
    """Requests that met silence where others were refused by ICMP.

    Routers limit how often they say no (Linux: six at once, then one a second to each host), so
    that these may have been refused as well, unheard.
    """
    case = Case(plan, evidence)
    if not case.carried.refusers(direction):
        return []
    return [
        check.number
        for check in plan.requests(direction)
        if case.judge(check).outcome in (Outcome.LOST, Outcome.UNOBSERVED)
    ]


def spared(plan: Plan, evidence: Evidence) -> set[int]:
    """Inbound requests that are not to be fired at a NAT that hides near.

    They would end at the gateway itself, whose connection tracking would then hold the very tuple
    that near's own ESP, AH and IKE are to be mapped to, for this run and for later ones.
    """
    if not evidence.near_behind_nat or Case(plan, evidence).reachable():
        return set()
    inbound = plan.requests(Direction.INBOUND)
    return {check.number for check in inbound if tuple_of(check) is not None}


def opened(plan: Plan, evidence: Evidence, direction: Direction) -> bool:
    """Has this run itself opened the way for a request of ``direction`` that is still to come?"""
    case = Case(plan, evidence)
    return any(case.openings.before(check) for check in plan.requests(direction))
