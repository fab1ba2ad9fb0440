"""What each check of a run may be called, from the abstract rules alone.

Written without a look at the correlator, and it imports nothing of the program. It has packets
walk through the chains (:mod:`tests.netns.truth.passage`), and follows every order in which shots
and answers can pass each other and every pattern of loss: a state is what the three trackers hold
of one flow, and the fates of a check are those of all states that the run can reach.

The order of a run is part of what is given: requests inbound first, each answered at once, then
those outbound; but where a NAT hides near, outbound first, and then inbound towards the address
that hides it, where nothing is forwarded. Where a NAT translates what far begins, outbound first as
well, if that shows by a shot inbound that is a flow of its own.

What a gateway has translated inbound stands in the way of the same flow outbound: ESP is dropped,
and a port rewritten. So the truth about such a check is not to be had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tests.netns.truth.passage import (
    BACK,
    COLLIDED,
    DELIVERED,
    HOST_DROPPED,
    HOST_REFUSED,
    KINDS,
    LOSS,
    LOST,
    NOTHING,
    REFUSED,
    UNSENT,
    Kind,
    Memory,
    Step,
    cross,
)
from tests.netns.truth.rules import (
    INBOUND,
    OUTBOUND,
    Case,
)

Cell = tuple[str, str, str]  # kind, direction, flow
ANYTHING = (  # of a reply to what may have left from another port
    *("delivered", "lost", "refused", "not-sent", "host-dropped", "lossy"),
    *("not-applicable", "unobserved", "altered"),
)


def labels(kind: str) -> tuple[str, ...]:
    """The rows that one kind has in the scenario "all"."""
    return ("ike", "ike any") if kind == "ike" else (kind,)


def allowed(case: Case) -> dict[Cell, frozenset[str]]:
    """Check → the outcomes that are right for it."""
    found: dict[Cell, frozenset[str]] = {}
    for name in case.kinds:
        for label in labels(name):
            table = _streams(case) if KINDS[label].protocol == "tcp" else _datagrams(case, label)
            for (way, flow), outcomes in table.items():
                found[label, way, flow] = frozenset(outcomes)
    return {cell: right | _seeming_loss(found, cell) for cell, right in found.items()}


def _seeming_loss(found: dict[Cell, frozenset[str]], cell: Cell) -> frozenset[str]:
    """A filter that lets through some packets of a flow, and not others, looks like a lossy path.

    Beside it the program may well say that it cannot tell a drop from loss.
    """
    ways = {way for (_, way, _), right in found.items() if "lossy" in right}
    _, way, flow = cell
    doubt: set[str] = set()
    if way in ways and "lost" in found[cell]:
        doubt.add("unobserved")
    if flow == "reply" and BACK[way] in ways and "not-applicable" in found[cell]:
        doubt.add("unobserved")  # whether there was a request to answer
    return frozenset(doubt)


# -- requests and their answers --------------------------------------------------------------------


@dataclass(slots=True)
class _Fates:
    """What can become of the requests of one direction, and of the answers to them."""

    requests: set[Step]
    replies: set[Step]
    memories: set[Memory]


def _explore(case: Case, kind: Kind, way: str, start: Iterable[Memory]) -> _Fates:
    """Every order of shots and answers, from every memory the run can begin with."""
    fates = _Fates(set(), set(), set())
    waiting = [(memory, False) for memory in start]
    begun = set(waiting)
    seen: set[tuple[Memory, bool]] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        memory, asked = node
        steps = list(cross(case, kind, memory, way))
        fates.requests.update(steps)
        after = [(step.memory, asked or _reaches(step)) for step in steps]
        if asked:
            answers = list(cross(case, kind, memory, BACK[way], reply=True))
            fates.replies.update(answers)
            after += [(step.memory, True) for step in answers]
        if kind.flow == "shot":  # the next shot is another flow, but this one's answer is to come
            if node in begun:
                waiting += [(memory, True) for memory, reached in after if reached]
                fates.memories.update(memory for memory, _ in after)
            continue
        waiting += after
        fates.memories.update(memory for memory, _ in after)
    if kind.flow == "shot":
        first = {step for memory in start for step in cross(case, kind, memory, way)}
        fates.requests = first
    return fates


def _reaches(step: Step) -> bool:
    return step.fate == DELIVERED and not step.nameless


def _datagrams(case: Case, label: str) -> dict[tuple[str, str], set[str]]:
    kind = KINDS[label]
    if label == "ah" and case.family == 6:  # its tracker looks inside: a datagram with fresh ports
        kind = replace(kind, flow="shot")
    shared = KINDS[label].flow == "both"
    table: dict[tuple[str, str], set[str]] = defaultdict(set)
    for order in _orders(case):
        for cell, names in _in_order(case, kind, order, shared=shared).items():
            table[cell] |= names
    return table


def _orders(case: Case) -> list[tuple[str, str]]:
    """In which the two directions may be asked."""
    usual, turned = (INBOUND, OUTBOUND), (OUTBOUND, INBOUND)
    if case.nat is None or case.nat.way == OUTBOUND:
        return [usual]
    sure = may = False
    for name in case.kinds:
        for kind in (KINDS[label] for label in labels(name)):
            if kind.flow == "both" or not case.nat.covers(kind.protocol):
                continue
            tcp = kind.protocol == "tcp"  # once connected, a request says whose the SYN was
            shown = [
                step.fate in (DELIVERED, HOST_DROPPED, HOST_REFUSED) and (tcp or not step.nameless)
                for step in cross(case, kind, NOTHING, INBOUND)
            ]
            may |= any(shown)
            sure |= all(shown) and not tcp and kind.body != "keepalive"
    return [turned] if sure else [usual, turned] if may else [usual]


def _in_order(
    case: Case, kind: Kind, order: tuple[str, str], *, shared: bool
) -> dict[tuple[str, str], set[str]]:
    table: dict[tuple[str, str], set[str]] = {}
    memories = {NOTHING}
    earlier = False
    for way in order:
        if way == INBOUND and case.hidden:
            table[way, "new"], table[BACK[way], "reply"] = _hidden(case, kind)
            continue
        start = memories if kind.flow == "both" else {NOTHING}
        fates = _explore(case, kind, way, start)
        cold = {step.fate for step in cross(case, kind, NOTHING, way)} - {LOSS}
        new = _named(case, way, fates.requests)
        if "delivered" in new:
            if shared and earlier:
                new.add("state-possible")
            if cold != {DELIVERED}:
                new.remove("delivered")
                new.add("state-possible")
        answered = _answered(case, kind, way, fates)
        if shared and kind.flow == "shot" and "lost" in new and way == OUTBOUND and earlier:
            new |= _doubted(case, kind)
            answered |= _doubted(case, kind) if "not-applicable" in answered else set()
        table[way, "new"] = new
        table[BACK[way], "reply"] = answered
        memories = fates.memories
        earlier = True
    return table


def _doubted(case: Case, kind: Kind) -> set[str]:
    """By the program, which does not know how its tracker tells AH apart in IPv6."""
    inbound = case.nat is not None and case.nat.way == INBOUND and case.nat.covers(kind.protocol)
    return {"unobserved"} if inbound else set()


def _hidden(case: Case, kind: Kind) -> tuple[set[str], set[str]]:
    """A new flow to the address of a NAT goes no further; it may not even leave far."""
    new = {"not-applicable"}
    if any(step.fate == UNSENT for step in cross(case, kind, NOTHING, INBOUND)):
        new.add("not-sent")
    return new, {"not-applicable"}


def _named(case: Case, way: str, steps: Iterable[Step]) -> set[str]:
    """Fates → outcomes, for packets that travelled ``way``."""
    names: set[str] = set()
    for step in steps:
        names |= _name(step)
    if len(names) > 1 and names & {"delivered", "altered"}:
        names.add("lossy")  # some did and some did not
    if case.loss.get(way):
        if "delivered" in names:
            names.add("lossy")
        if "lost" in names:
            names.add("unobserved")  # too few to tell a drop from loss
    return names


def _name(step: Step) -> set[str]:
    if step.vague:
        return _name(replace(step, vague=False)) | {"unobserved"}
    arrived = step.fate in (DELIVERED, HOST_DROPPED, HOST_REFUSED)
    if step.nameless and arrived:  # there is no saying what it was, unless an error quotes it
        return {"unobserved", "refused"} if step.fate == HOST_REFUSED else {"unobserved"}
    if step.altered and arrived:
        if step.fate != DELIVERED:
            return {"altered", "host-dropped", "refused"}
        return {"altered", "delivered"} if step.lucky else {"altered"}
    return {
        UNSENT: {"not-sent"},
        LOSS: set[str](),
        LOST: {"lost"},
        COLLIDED: {"unobserved"},
        REFUSED: {"refused"},
        HOST_DROPPED: {"host-dropped"},
        HOST_REFUSED: {"refused"},
        DELIVERED: {"delivered"},
    }[step.fate]


def _answered(case: Case, kind: Kind, way: str, fates: _Fates) -> set[str]:
    names: set[str] = set()
    reached = [step for step in fates.requests if _reaches(step)]
    if any(step.fate == COLLIDED for step in fates.requests):
        if kind.port is not None:
            return set(ANYTHING)
        names |= {"unobserved", "not-applicable"}
    if reached:
        names |= _named(case, BACK[way], fates.replies)
        if case.loss:
            names.add("unobserved")
    if len(reached) < len([step for step in fates.requests if step.fate != LOSS]):
        names.add("not-applicable")
        if case.loss or any(step.nameless for step in fates.requests):
            names.add("unobserved")
    if any(step.vague for step in fates.requests):
        names |= {"unobserved", "not-applicable"}
    if case.loss and reached and _apart(case, way):
        names.add("not-sent")  # too few came from there to vouch for it
    return names


def _apart(case: Case, way: str) -> bool:
    """May its requests come from another address than the control connection's?"""
    nat = case.nat
    return nat is not None and nat.way == way and not case.hidden


# -- TCP -------------------------------------------------------------------------------------------


def _streams(case: Case) -> dict[tuple[str, str], set[str]]:
    """A new flow is the SYN, and once connected the request; the reply to it the SYN-ACK."""
    table: dict[tuple[str, str], set[str]] = {}
    for way in (INBOUND, OUTBOUND):
        new: set[str] = set()
        reply: set[str] = set()
        if way == INBOUND and case.hidden:
            new, reply = _hidden(case, KINDS["kerberos-tcp"])
        else:
            for one, other in _connections(case, way):
                new |= one
                reply |= other
            if case.loss:
                new |= {"lossy"} if "delivered" in new else set()
                new |= {"unobserved"} if "lost" in new else set()
                reply |= {"lossy"} if "delivered" in reply else set()
                reply |= {"unobserved"}
        if "unobserved" in new and "not-applicable" in reply:
            reply.add("unobserved")  # whether there was a request to answer
        table[way, "new"] = new
        table[BACK[way], "reply"] = reply
    return table


def _connections(case: Case, way: str) -> Iterator[tuple[set[str], set[str]]]:
    kind = KINDS["kerberos-tcp"]
    for syn in cross(case, kind, NOTHING, way):
        if syn.fate != DELIVERED:
            if syn.fate != LOSS:
                yield _name(syn), {"not-applicable"}
            continue
        # From a port that a NAT gave it a SYN is nameless, until a request says whose it is.
        doubt = {"unobserved"} if syn.nameless or syn.vague else set[str]()
        for answer in cross(case, kind, syn.memory, BACK[way], reply=True):
            match answer.fate:
                case "unsent":  # from outside, the same as a SYN that was dropped
                    yield (
                        {"host-dropped", "delivered"} | doubt,
                        {"not-applicable", "not-sent"} | doubt,
                    )
                case "loss":
                    yield {"delivered"} | doubt, {"lossy"}
                case "host-refused":
                    yield {"delivered"} | doubt, {"refused", "host-dropped"} | doubt
                case "delivered":
                    yield from _connected(case, way, answer.memory)
                case _:
                    yield {"delivered"} | doubt, _name(answer) | doubt


def _connected(case: Case, way: str, memory: Memory) -> Iterator[tuple[set[str], set[str]]]:
    kind = KINDS["kerberos-tcp"]
    for request in cross(case, kind, memory, way):
        if request.fate not in (DELIVERED, LOSS):
            yield _name(request), {"not-applicable", "delivered"}
            continue
        if request.fate == LOSS:
            continue
        for answer in cross(case, kind, request.memory, BACK[way], reply=True):
            if answer.fate != LOSS:
                yield {"delivered"}, _name(answer) | {"delivered"}
