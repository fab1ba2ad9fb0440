"""From what failed to what to do about it: plain sentences, the one that explains most first.

Modest: they name protocol, direction and addresses, and leave the syntax of this or that firewall
to :mod:`probe.advise.platforms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.model import Direction, Event, Flow
from probe.advise import joint
from probe.advise.rule import Place, Way
from probe.advise.stopped import PASSED, STOPPED, intrudes, mendable, over_mtu, where
from probe.naming import service
from probe.result import Conclusion, Host, Outcome, RunResult, Verdict

_NETWORK = "the network firewall"
_ESP_RULE = service("esp").rule

Directions = tuple[Direction, ...]


def advise(result: RunResult) -> tuple[str, ...]:
    """What to do, most telling first; empty when there is nothing to mend."""
    failed = [conclusion for conclusion in result.conclusions if joint.failing(conclusion)]
    missing = _on_the_way(result, failed)
    sentences = [
        *together(result),
        *_missing_rules(result, missing),
        *beyond_rules(result),
        *_own_output(result, failed),
        *_intruders(result),
    ]
    return tuple(dict.fromkeys(sentences))


def together(result: RunResult) -> tuple[str, ...]:
    """What only several rows together tell, most telling first."""
    return (*_hollow_tunnel(result), *(finding.text for finding in joint.findings(result)))


def _on_the_way(result: RunResult, failed: Iterable[Conclusion]) -> list[Conclusion]:
    """What left its host and was then stopped by a firewall."""
    return [c for c in failed if c.outcome is not Outcome.NOT_SENT and mendable(result, c)]


def beyond_rules(result: RunResult) -> tuple[str, ...]:
    """What no firewall rule mends, and what to do instead."""
    failed = [conclusion for conclusion in result.conclusions if joint.failing(conclusion)]
    unsure = [c for c in result.conclusions if c.verdict is Verdict.WARN]
    sentences = [
        *_altered(failed),
        *_too_large(result, failed),
        *_no_way(result, failed),
        *_measure_again([*failed, *unsure]),
    ]
    return tuple(dict.fromkeys(sentences))


def _altered(failed: Iterable[Conclusion]) -> Iterator[str]:
    for conclusion in failed:
        if conclusion.outcome is not Outcome.ALTERED:
            continue
        rule = service(conclusion.check.kind).rule
        if conclusion.check.kind == "ah":
            yield joint.AH_AND_NAT
        elif not joint.translated(conclusion.evidence):
            yield (
                f"Something on the path changes what {rule} carries: turn off its inspection or "
                "application gateway (ALG) there."
            )
        elif conclusion.check.kind != "ike":
            yield (
                f"NAT on the path changes the source of {rule}: let the peers move to NAT "
                "traversal, and allow UDP port 4500."
            )


def _too_large(result: RunResult, failed: Iterable[Conclusion]) -> Iterator[str]:
    for conclusion in failed:
        check = conclusion.check
        if conclusion.outcome not in STOPPED or not over_mtu(result, conclusion):
            continue
        known = result.path.mtu.get(check.direction, {}).get(check.kind)
        fits = f"; {known.octets:,} do" if known else ""
        told = "fragmentation needed" if check.family == 4 else "packet too big"
        yield (
            f"{service(check.kind).title} of {check.size:,} octets does not fit through the path "
            f"{check.direction}{fits}. Let the ICMP error that says so ({told}) back to the "
            "sender, or lower the MTU of what goes through the tunnel."
        )


def _hollow_tunnel(result: RunResult) -> Iterator[str]:
    case = joint.Case(result)
    esp = joint.hollow(case)
    if not esp:
        return
    ways = _by_place(result, esp)
    rules = [
        f"on {place}, allow {_ESP_RULE} {_between(result, directions)}"
        for place, directions in ways.items()
    ]
    what = ", and ".join(rules)
    yield (
        "IKE passes, ESP does not: the tunnel will come up and carry nothing. "
        f"{what[:1].upper()}{what[1:]}, {joint.encapsulation(case)}."
    )


def _by_place(result: RunResult, conclusions: Iterable[Conclusion]) -> dict[str, Directions]:
    ways: dict[str, set[Direction]] = {}
    for conclusion in conclusions:
        ways.setdefault(_place(result, conclusion), set()).add(conclusion.check.direction)
    return {place: tuple(d for d in Direction if d in found) for place, found in ways.items()}


def _missing_rules(result: RunResult, missing: Iterable[Conclusion]) -> Iterator[str]:
    """One sentence for each place, flow and direction, with all the rules that are missing."""
    missing = list(missing)
    told = joint.hollow(joint.Case(result))
    ways: dict[tuple[str, Flow, str], list[Direction]] = {}
    for conclusion in missing:
        check = conclusion.check
        if conclusion in told or (check.flow is Flow.REPLY and _covered(conclusion, missing)):
            continue
        rule = _rule(conclusion, result.conclusions)
        directions = ways.setdefault((_place(result, conclusion), check.flow, rule), [])
        if check.direction not in directions:
            directions.append(check.direction)

    rules: dict[tuple[str, Flow, Directions], list[str]] = {}
    for (place, flow, rule), directions in ways.items():
        key = (place, flow, tuple(d for d in Direction if d in directions))
        rules.setdefault(key, []).append(rule)

    for (place, flow, towards), names in rules.items():
        what, between = ", ".join(names), _between(result, towards)
        if flow is Flow.NEW:
            yield f"On {place}, allow {between}, as new flows: {what}."
        else:
            yield (
                f"On {place}, let replies through {between}, by connection tracking or by a rule "
                f"of their own: {what}."
            )


def _covered(reply: Conclusion, missing: Iterable[Conclusion]) -> bool:
    """The rule that a new flow of this kind needs lets this reply through as well."""
    portless = service(reply.check.kind).transport in ("IP", "ICMP")
    check = reply.check
    return (portless or check.source_port == check.destination_port) and any(
        c.check.kind == check.kind
        and c.check.direction is check.direction
        and c.check.flow is Flow.NEW
        for c in missing
    )


def _rule(failed: Conclusion, conclusions: Iterable[Conclusion]) -> str:
    """What to allow; narrower where other packets under the same rule got through."""
    known, check = service(failed.check.kind), failed.check
    if check.flow is Flow.REPLY:
        return known.rule.replace(" port ", " from port ")
    passed = [
        c.check
        for c in conclusions
        if c.outcome in PASSED
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
    place, way, at = where(result, conclusion)
    if place is not Place.NETWORK:
        host = result.near if place is Place.NEAR else result.far
        refuses = conclusion.outcome is Outcome.REFUSED and way is Way.IN
        how = "which refuses it" if refuses else "in its own firewall"
        return f"{place} itself ({host.address}), {how}"
    if at:
        return f"the firewall at {at}"
    if conclusion.outcome is Outcome.REFUSED:
        host = _destination(result, conclusion.check.direction)
        name = _name(result, host)
        if any(s.at.value == name for c in result.conclusions for s in c.evidence):
            return f"a firewall that answers in {name}'s name ({host.address})"
        told = any(s.icmp is not None for s in conclusion.evidence)
        if result.path.control == "none" and not told:  # far's own reset would be no refusal
            return f"the firewall on the way that answers in {name}'s name"
        return f"{name} itself ({host.address}), or on a firewall that answers in its name"
    return _NETWORK


def _own_output(result: RunResult, failed: Iterable[Conclusion]) -> Iterator[str]:
    """What its own host's firewall does not let out."""
    for conclusion in failed:
        if conclusion.outcome is Outcome.NOT_SENT and mendable(result, conclusion):
            target, who = _ends(result, conclusion)
            rule = service(conclusion.check.kind).rule
            if conclusion.check.flow is Flow.REPLY:
                rule = rule.replace(" port ", " from port ")
            yield f"On {who}, allow {rule} to {target.address} in its own output rules."


def _no_way(result: RunResult, failed: Iterable[Conclusion]) -> Iterator[str]:
    for conclusion in failed:
        notes = {s.note for s in conclusion.evidence if s.event is Event.UNSENT}
        if conclusion.outcome is Outcome.NOT_SENT and notes & {"ENETUNREACH", "EHOSTUNREACH"}:
            target, who = _ends(result, conclusion)
            yield f"On {who}, add a route to {target.address}."


def _ends(result: RunResult, conclusion: Conclusion) -> tuple[Host, str]:
    """Where it was to go, and who was to send it."""
    target = _destination(result, conclusion.check.direction)
    sender = result.near if target is result.far else result.far
    return target, f"{_name(result, sender)} itself ({sender.address})"


def _intruders(result: RunResult) -> Iterator[str]:
    """What passes and must not."""
    ways: dict[str, list[Direction]] = {}
    for conclusion in filter(intrudes, result.conclusions):
        ways.setdefault(service(conclusion.check.kind).rule, []).append(conclusion.check.direction)
    for rule, directions in ways.items():
        between = _between(result, tuple(d for d in Direction if d in directions))
        yield f"On {_NETWORK}, deny {rule} {between}: it passes, and must not."


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
