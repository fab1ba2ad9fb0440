"""From what failed to the rule that is missing: one plain sentence for each thing to do.

Pure, and modest: it names protocol, direction and addresses, and leaves the syntax of this or that
firewall to its owner. The sentence that explains most stands first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.model import Direction, Event, Flow, Sighting
from probe.naming import service
from probe.result import Conclusion, Expect, Host, Outcome, RunResult, Verdict

_PASSED = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.LOSSY)
_ENDS = (Outcome.LOST, Outcome.REFUSED, Outcome.HOST_DROPPED)
_NETWORK = "the network firewall"
_ESP_RULE = service("esp").rule

Directions = tuple[Direction, ...]


def advise(result: RunResult) -> tuple[str, ...]:
    """What to do, most telling first; empty when there is nothing to mend."""
    failed = [
        conclusion
        for conclusion in result.conclusions
        if conclusion.verdict is not Verdict.PASS and conclusion.expected is Expect.PASS
    ]
    sentences = [
        *_nothing_crosses(result.conclusions),
        *_altered(failed),
        *_missing_rules(result, failed),
        *_own_side(result, failed),
        *_intruders(result),
        *_measure_again(failed),
    ]
    return tuple(dict.fromkeys(sentences))


def _nothing_crosses(conclusions: Iterable[Conclusion]) -> Iterator[str]:
    new = [
        c
        for c in conclusions
        if c.check.flow is Flow.NEW and c.outcome is not Outcome.NOT_APPLICABLE
    ]
    everything = len(new) > 1 and all(c.outcome is Outcome.LOST for c in new)
    if everything and any(c.check.kind == "icmp-echo" for c in new):
        yield (
            "Nothing that was asked crosses, not even ICMP echo, and yet the control connection "
            "between the same hosts does: routes and IP forwarding are right, and a filter drops "
            "whatever no rule of its allows."
        )


def _altered(failed: Iterable[Conclusion]) -> Iterator[str]:
    for conclusion in failed:
        if conclusion.outcome is not Outcome.ALTERED:
            continue
        rule = service(conclusion.check.kind).rule
        if conclusion.check.kind == "ah":
            yield (
                "AH was changed on its way, which is what NAT does: AH cannot cross NAT; use ESP, "
                "with UDP encapsulation on port 4500."
            )
        elif _translated(conclusion.evidence):
            yield (
                f"NAT on the path changes the source of {rule}: let the peers move to NAT "
                "traversal, and allow UDP port 4500."
            )
        else:
            yield (
                f"Something on the path changes what {rule} carries: turn off its inspection or "
                "application gateway (ALG) there."
            )


def _translated(evidence: Iterable[Sighting]) -> bool:
    """The source as it left and as it arrived are two."""
    seen = tuple(evidence)
    left = {(s.shot, s.source, s.source_port) for s in seen if s.event is Event.LEFT}
    arrived = {(s.shot, s.source, s.source_port) for s in seen if s.event is Event.ARRIVED}
    return bool(left and arrived) and not left & arrived


def _missing_rules(result: RunResult, failed: Iterable[Conclusion]) -> Iterator[str]:
    """One sentence for each place, flow and direction, with all the rules that are missing."""
    failed = [conclusion for conclusion in failed if conclusion.outcome in _ENDS]
    hollow = _hollow_tunnel(result.conclusions)
    ways: dict[tuple[str, Flow, str], list[Direction]] = {}
    for conclusion in failed:
        check = conclusion.check
        if check.flow is Flow.REPLY and _covered(conclusion, failed):
            continue
        rule = _rule(conclusion, result.conclusions)
        directions = ways.setdefault((_place(result, conclusion), check.flow, rule), [])
        if check.direction not in directions:
            directions.append(check.direction)

    rules: dict[tuple[str, Flow, Directions, bool], list[str]] = {}
    for (place, flow, rule), directions in ways.items():
        alone = hollow and rule == _ESP_RULE and flow is Flow.NEW
        key = (place, flow, tuple(d for d in Direction if d in directions), alone)
        rules.setdefault(key, []).append(rule)

    for key, names in sorted(rules.items(), key=lambda item: not item[0][3]):
        place, flow, towards, alone = key
        what, where = ", ".join(names), _between(result, towards)
        if alone:
            yield (
                "IKE passes, ESP does not: the tunnel will come up and carry nothing. "
                f"On {place}, allow {what} {where}, {_encapsulation(result.conclusions)}."
            )
        elif flow is Flow.NEW:
            yield f"On {place}, allow {where}, as new flows: {what}."
        else:
            yield (
                f"On {place}, let replies through {where}, by connection tracking or by a rule "
                f"of their own: {what}."
            )


def _hollow_tunnel(conclusions: Iterable[Conclusion]) -> bool:
    """In one direction at least, IKE gets through and ESP does not."""
    new = [c for c in conclusions if c.check.flow is Flow.NEW]
    ike = {c.check.direction for c in new if c.check.kind == "ike" and c.outcome in _PASSED}
    return any(
        c.check.kind == "esp" and c.outcome in _ENDS and c.check.direction in ike for c in new
    )


def _encapsulation(conclusions: Iterable[Conclusion]) -> str:
    wrapped = [c for c in conclusions if c.check.kind == "esp-in-udp" and c.check.flow is Flow.NEW]
    if any(c.outcome in _ENDS for c in wrapped):
        return "or allow UDP port 4500 and force UDP encapsulation"
    if any(c.outcome in _PASSED for c in wrapped):
        return "or force UDP encapsulation on port 4500, which passes"
    return "or force UDP encapsulation on port 4500"


def _covered(reply: Conclusion, failed: Iterable[Conclusion]) -> bool:
    """The rule that a new flow of this kind needs lets this reply through as well."""
    portless = service(reply.check.kind).transport in ("IP", "ICMP")
    check = reply.check
    return (portless or check.source_port == check.destination_port) and any(
        c.check.kind == check.kind
        and c.check.direction is check.direction
        and c.check.flow is Flow.NEW
        for c in failed
    )


def _rule(failed: Conclusion, conclusions: Iterable[Conclusion]) -> str:
    """What to allow; narrower where other packets under the same rule got through."""
    known, check = service(failed.check.kind), failed.check
    if check.flow is Flow.REPLY:
        return known.rule.replace(" port ", " from port ")
    passed = [
        c.check
        for c in conclusions
        if c.outcome in _PASSED
        and service(c.check.kind).rule == known.rule
        and (c.check.direction, c.check.flow) == (check.direction, check.flow)
    ]
    if not passed:
        return known.rule
    if check.size is not None:
        return f"{known.rule} in packets of {check.size} octets, fragments included"
    if check.source_port is None and any(other.source_port for other in passed):
        return f"{known.rule} from any source port"
    return f"{known.rule} whatever it carries"


def _place(result: RunResult, conclusion: Conclusion) -> str:
    """Who stands in the way, as far as the evidence says."""
    host = _destination(result, conclusion.check.direction)
    own = f"{_name(result, host)} itself ({host.address})"
    if conclusion.outcome is Outcome.HOST_DROPPED:
        return f"{own}, in its own firewall"
    if conclusion.outcome is Outcome.REFUSED:
        senders = {s.icmp.sender for s in conclusion.evidence if s.icmp is not None}
        if senders - {host.address}:
            return f"the firewall at {min(senders - {host.address})}"
        if result.path.control == "none" and not senders:  # far's own reset would be no refusal
            return "the firewall on the way that answers in far's name"
        if senders and result.path.control != "none":
            return f"{own}, which refuses it"
        return f"{own}, or on a firewall that answers in its name"
    return _NETWORK


def _own_side(result: RunResult, failed: Iterable[Conclusion]) -> Iterator[str]:
    """What never left its own host."""
    for conclusion in failed:
        if conclusion.outcome is not Outcome.NOT_SENT:
            continue
        notes = {s.note for s in conclusion.evidence if s.event is Event.UNSENT}
        target = _destination(result, conclusion.check.direction)
        sender = result.near if target is result.far else result.far
        who = f"{_name(result, sender)} itself ({sender.address})"
        if "EPERM" in notes:
            rule = service(conclusion.check.kind).rule
            yield f"On {who}, allow {rule} to {target.address} in its own output rules."
        elif notes & {"ENETUNREACH", "EHOSTUNREACH"}:
            yield f"On {who}, add a route to {target.address}."


def _intruders(result: RunResult) -> Iterator[str]:
    """What passes and must not."""
    ways: dict[str, list[Direction]] = {}
    for conclusion in result.conclusions:
        if conclusion.expected is Expect.BLOCK and conclusion.verdict is Verdict.FAIL:
            ways.setdefault(service(conclusion.check.kind).rule, []).append(
                conclusion.check.direction
            )
    for rule, directions in ways.items():
        where = _between(result, tuple(d for d in Direction if d in directions))
        yield f"On {_NETWORK}, deny {rule} {where}: it passes, and must not."


def _measure_again(failed: Iterable[Conclusion]) -> Iterator[str]:
    failed = tuple(failed)
    if any(c.outcome is Outcome.LOSSY for c in failed):
        yield (
            "Where only some packets arrived, ask again with more --shots, and look for rate "
            "limits and overload before you change a rule."
        )
    if any(c.outcome is Outcome.STATE_POSSIBLE for c in failed):
        yield (
            "Where earlier traffic may have opened the way, ask again once the firewall has "
            "forgotten it (--fresh wait), or from an address not used before (--alias)."
        )


def _between(result: RunResult, directions: Directions) -> str:
    near, far = result.near.address, result.far.address
    if len(directions) > 1:
        return f"in both directions between {near} and {far}"
    if directions == (Direction.INBOUND,):
        return f"inbound from {far} to {near}"
    return f"outbound from {near} to {far}"


def _destination(result: RunResult, direction: Direction) -> Host:
    return result.far if direction is Direction.OUTBOUND else result.near


def _name(result: RunResult, host: Host) -> str:
    return "near" if host is result.near else "far"
