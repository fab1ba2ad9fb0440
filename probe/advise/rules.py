"""From what failed to the rules that would mend it, in no firewall's language yet. Pure.

Three limits hold for every rule: it is exact (this run's two addresses, the ports that were asked),
it stands where the packets died (in the network, or in one host's own firewall), and nothing that
the scenario wants blocked is opened by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from agent.model import Check, Direction, Flow
from probe.advise.matching import match, plain, rules_for
from probe.advise.rule import Action, Mending, Place, Ports, Rule, Way
from probe.advise.stopped import PASSED, STOPPED, in_fragments, intrudes, mendable, where
from probe.naming import service
from probe.result import Conclusion, Expect, Outcome, RunResult
from scenarios import sampling


def derive(result: RunResult) -> Mending:
    """The smallest set of rules after which what failed would pass, and what must not would not."""
    try:
        return _derive(result)
    except ValueError as error:
        return Mending(limits=(f"No rule can be written: {error}.",))


def _derive(result: RunResult) -> Mending:
    allow: list[Rule] = []
    limits: list[str] = []
    for conclusion in result.conclusions:
        if mendable(result, conclusion):
            allow += rules_for(result, conclusion)
    spans = sampling.spans(result.notes)
    allow = _smallest(_spanned(allow, spans))
    allow = _smallest([*allow, *_foreseen(result, allow)])
    deny, more, stuck = _denied(result, spans)
    shut, hopeless = _still_shut(result, [*allow, *more])
    limits += [*stuck, *hopeless]
    allowed, denied = [*more, *allow], [*deny, *shut]
    rules = _layered(allowed, denied) + _layered(denied, allowed)
    return Mending(tuple(sorted(rules, key=_order)), tuple(dict.fromkeys(limits)))


# -- the set ---------------------------------------------------------------------------------------


def _smallest(rules: Sequence[Rule]) -> list[Rule]:
    """Without those that another one covers, which then does for their fragments as well."""
    kept: list[Rule] = []
    for rule in sorted(rules, key=lambda rule: (rule.foreseen, rule.only_large)):
        index = next((i for i, other in enumerate(kept) if other.covers(rule)), None)
        if index is None:
            narrower = [other for other in kept if rule.covers(other)]
            kept = [other for other in kept if not rule.covers(other)]
            kept.append(_joined(rule, narrower))
        else:
            kept[index] = _joined(kept[index], [rule])
    return kept


def _layered(rules: Sequence[Rule], against: Sequence[Rule]) -> list[Rule]:
    """The smallest of ``rules`` among those of the opposite action, ``against``.

    A wide rule does not do for a narrow one where one of those comes to stand between the two.
    """
    layers: dict[tuple[bool, ...], list[Rule]] = {}
    for rule in rules:
        layers.setdefault(tuple(other.covers(rule) for other in against), []).append(rule)
    return [rule for layer in layers.values() for rule in _smallest(layer)]


def _joined(rule: Rule, covered: Iterable[Rule]) -> Rule:
    for other in covered:
        rule = replace(
            rule,
            title=rule.title if other.title in rule.title.split(", ") else _both(rule, other),
            fragments=rule.fragments or other.fragments,
            only_large=rule.only_large and other.only_large,
            foreseen=rule.foreseen and other.foreseen,
        )
    return rule


def _both(rule: Rule, other: Rule) -> str:
    return f"{rule.title}, {other.title}" if rule.flow is other.flow else rule.title


def _spanned(rules: Iterable[Rule], spans: Sequence[sampling.Span]) -> list[Rule]:
    """A port that stood for a range gives a rule for the range: that is what was asked."""
    return [
        replace(
            rule,
            source_port=_widened(rule, rule.source_port, spans),
            destination_port=_widened(rule, rule.destination_port, spans),
            title=_span_title(rule, spans),
        )
        for rule in rules
    ]


def _span(rule: Rule, ports: Ports | None, spans: Sequence[sampling.Span]) -> Ports | None:
    for span in spans:
        if ports and rule.protocol == span.transport and span.first <= ports[0] <= span.last:
            return span.first, span.last
    return None


def _widened(rule: Rule, ports: Ports | None, spans: Sequence[sampling.Span]) -> Ports | None:
    return _span(rule, ports, spans) or ports


def _span_title(rule: Rule, spans: Sequence[sampling.Span]) -> str:
    found = _span(rule, rule.destination_port, spans) or _span(rule, rule.source_port, spans)
    return f"{rule.protocol.upper()} {found[0]}-{found[1]}" if found else rule.title


def _foreseen(result: RunResult, allow: Sequence[Rule]) -> Iterator[Rule]:
    """The replies to what is being let in for the first time.

    In the network they need a rule as well, unless established flows were seen to pass: the same
    packet was dropped as a new flow and came through as a reply. In a host they do where its
    other chain was seen to drop something.
    """
    spans = sampling.spans(result.notes)
    filtering = {(rule.place, rule.way) for rule in allow}
    kept = {direction for direction in Direction if _keeps_state(result.conclusions, direction)}
    by_number = {c.check.number: c for c in result.conclusions}
    for conclusion in result.conclusions:
        check = conclusion.check
        reply = by_number.get(check.partner) if check.partner is not None else None
        if check.flow is not Flow.NEW or not mendable(result, conclusion) or reply is None:
            continue
        if reply.outcome is not Outcome.NOT_APPLICABLE or reply.expected is not Expect.PASS:
            continue
        place, way, at = where(result, conclusion)
        back = {Way.THROUGH: Way.THROUGH, Way.IN: Way.OUT, Way.OUT: Way.IN}[way]
        if place is Place.NETWORK and reply.check.direction in kept:
            continue
        if place is not Place.NETWORK and (place, back) not in filtering:
            continue
        found = match(result, reply.check, place, back)
        if found is not None:
            found = replace(found, foreseen=True, fragments=in_fragments(conclusion))
            yield from _spanned([replace(found, at=plain(at) if at else "")], spans)


def _keeps_state(conclusions: Iterable[Conclusion], direction: Direction) -> bool:
    """The same tuple was dropped cold in this direction, and passed as a reply."""
    seen = [c for c in conclusions if c.check.direction is direction and _one_tuple(c.check)]
    dropped = {_tuple(c.check) for c in seen if c.check.flow is Flow.NEW and c.outcome in STOPPED}
    return any(
        c.check.flow is Flow.REPLY and c.outcome in PASSED and _tuple(c.check) in dropped
        for c in seen
    )


def _one_tuple(check: Check) -> bool:
    """A reply looks like a new flow the same way: no ports, or the same port at both ends."""
    portless = service(check.kind).transport == "IP"
    return portless or (
        check.source_port is not None and check.source_port == check.destination_port
    )


def _tuple(check: Check) -> tuple[object, ...]:
    return check.kind, check.source_port, check.destination_port


# -- what must not pass ----------------------------------------------------------------------------


def _denied(
    result: RunResult, spans: Sequence[sampling.Span]
) -> tuple[list[Rule], list[Rule], list[str]]:
    """Rules against what passes and must not; those to let through what they would hit; limits."""
    deny: list[Rule] = []
    more: list[Rule] = []
    stuck: list[str] = []
    by_number = {c.check.number: c for c in result.conclusions}
    for conclusion in result.conclusions:
        if not intrudes(conclusion):
            continue
        check = conclusion.check
        asked = by_number.get(check.partner) if check.partner is not None else None
        if check.flow is Flow.REPLY and asked is not None and intrudes(asked):
            continue  # without the request there is no reply
        found = match(result, check, Place.NETWORK, Way.THROUGH)
        if found is None:
            continue
        (found,) = _spanned([replace(found, action=Action.DENY)], spans)
        wanted = list(_wanted(result, found, Expect.PASS))
        if any(other.covers(found) for other in wanted):
            stuck.append(_inseparable(found))
            continue
        spared = [other for other in wanted if other.flow is found.flow]
        replies = any(not any(one.covers(other) for one in spared) for other in wanted)
        deny.append(replace(found, only_new=replies))
        more += spared
    return deny, more, stuck


def _still_shut(result: RunResult, allow: Sequence[Rule]) -> tuple[list[Rule], list[str]]:
    """What is rightly blocked, and would be opened by a rule that lets more through than it."""
    shut: list[Rule] = []
    hopeless: list[str] = []
    for rule in allow:
        for other in _wanted(result, rule, Expect.BLOCK):
            both = other.covers(rule) or any(
                one.covers(other) for one in _wanted(result, other, Expect.PASS)
            )
            if both:
                hopeless.append(_inseparable(rule))
            else:
                shut.append(replace(other, action=Action.DENY))
    return shut, hopeless


def _wanted(result: RunResult, rule: Rule, expected: Expect) -> Iterator[Rule]:
    """What the scenario expects of the packets that ``rule`` is about, or of a part of them."""
    for conclusion in result.conclusions:
        if conclusion.expected is expected:
            found = match(result, conclusion.check, rule.place, rule.way)
            if found is not None and rule.covers(found):
                yield found


def _inseparable(rule: Rule) -> str:
    return (
        f"{rule.title}, {rule.direction}: the scenario wants some of it to pass and some to be "
        "blocked, with the same addresses and ports: no filter rule can tell them apart."
    )


def _order(rule: Rule) -> tuple[object, ...]:
    """As they are to be tried: what is narrower first, what is denied behind what it spares."""
    return (
        list(Place).index(rule.place),
        list(Way).index(rule.way),
        list(Direction).index(rule.direction),
        (rule.source_port is None) + (rule.destination_port is None) + (rule.flow is Flow.NEW),
        rule.action is Action.DENY,
        ("esp", "ah", "udp", "tcp", "icmp").index(rule.protocol),
        rule.destination_port or rule.source_port or (0, 0),
    )
