"""What the platforms' modules have in common: comments on rules, and rules sorted by place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agent.model import Direction, Flow
from probe.advise.rule import Action, Place, Ports, Rule, Way

NUMBERS = {"esp": 50, "ah": 51, "udp": 17, "tcp": 6}
ENDS = {Direction.OUTBOUND: ("near", "far"), Direction.INBOUND: ("far", "near")}


def says(rule: Rule) -> str:
    """ "ESP (IP 50), near to far: new flows"."""
    origin, target = ENDS[rule.direction]
    what = "new flows" if rule.flow is Flow.NEW else "replies"
    carried = carrier(rule)
    about = rule.title if carried == rule.title else f"{rule.title} ({carried})"
    text = f"{about}, {origin} to {target}: {what}"
    if rule.action is Action.DENY:
        return f"{text} that must not pass"
    if rule.only_large:
        text += " that travel in fragments"
    if rule.foreseen and rule.flow is Flow.NEW:
        text += ", if its input drops them as well"
    elif rule.foreseen:
        text += ", unless an earlier rule lets established flows through"
    return text


def carrier(rule: Rule) -> str:
    """ "IP 50", "UDP 500 to 500", "TCP from 88"."""
    if rule.protocol in ("esp", "ah"):
        return f"IP {NUMBERS[rule.protocol]}"
    if rule.protocol == "icmp":
        return "ICMP echo"
    source, target = (p and span(p) for p in (rule.source_port, rule.destination_port))
    ports = f"{source} to {target}" if source and target else target or f"from {source}"
    return f"{rule.protocol.upper()} {ports}"


def at(rules: Iterable[Rule], *places: Place) -> list[Rule]:
    return [rule for rule in rules if rule.place in places]


def hosts(rules: Iterable[Rule]) -> list[Rule]:
    return at(rules, Place.NEAR, Place.FAR)


def new(rules: Iterable[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.flow is Flow.NEW]


def runs(rules: Iterable[Rule]) -> list[list[Rule]]:
    """Rules that can stand in one, for a platform whose rules hold several services.

    The order in which they are to be tried is kept: where something is denied, it counts.
    """
    found: dict[Direction, list[list[Rule]]] = {}
    for rule in rules:
        parts = found.setdefault(rule.direction, [])
        part = _room(parts, rule)
        if part is None:
            parts.append([rule])
        else:
            part.append(rule)
    return [part for parts in found.values() for part in parts]


def _room(parts: Sequence[list[Rule]], rule: Rule) -> list[Rule] | None:
    """The last part of the same action that no other one stands behind which ``rule`` meets."""
    for part in reversed(parts):
        if part[0].action is rule.action:
            return part
        if any(other.covers(rule) or rule.covers(other) for other in part):
            return None
    return None


def numbered(names: Iterable[str]) -> Iterator[str]:
    """Each name once; a number behind those that come again."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def dropped_replies(rules: Iterable[Rule]) -> list[Rule]:
    """Replies that were seen to be dropped: not those that are only foreseen, nor denied."""
    return [
        rule
        for rule in rules
        if rule.flow is Flow.REPLY and not rule.foreseen and rule.action is Action.ALLOW
    ]


def owner(rule: Rule) -> str:
    """The host in whose firewall a rule stands, with its address: "far (10.0.0.5)"."""
    mine = rule.source if rule.way is Way.OUT else rule.destination
    return f"{rule.place} ({mine})"


def ends(rules: Sequence[Rule]) -> tuple[str, str]:
    """near's and far's address."""
    rule = rules[0]
    if rule.direction is Direction.OUTBOUND:
        return rule.source, rule.destination
    return rule.destination, rule.source


def span(ports: Ports, dash: str = "-") -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}{dash}{ports[1]}"


def label(rule: Rule) -> str:
    """A name for an object: "esp", "udp-500", "udp-500-from-500"."""
    text = rule.protocol if rule.protocol != "icmp" else "ping"
    if rule.destination_port:
        text += f"-{span(rule.destination_port)}"
    if rule.source_port:
        text += f"-from-{span(rule.source_port)}"
    return text


def network(rule: Rule, address: str) -> str:
    """An address as a network of one."""
    return f"{address}/{32 if rule.family == 4 else 128}"


def names(rules: Iterable[Rule]) -> str:
    """ "ESP, near to far; Kerberos, far to near"."""
    found = dict.fromkeys(f"{r.title}, {' to '.join(ENDS[r.direction])}" for r in rules)
    return "; ".join(found)


def any_source(rule: Rule) -> bool:
    """It was asked from one source port alone."""
    return rule.source_port is not None and rule.flow is Flow.NEW


# -- sentences that several platforms need ---------------------------------------------------------


def not_here(rules: Sequence[Rule]) -> list[str]:
    """For a firewall in the network, of what a host's own firewall drops."""
    found = hosts(rules)
    if not found:
        return []
    owners = " and ".join(dict.fromkeys(owner(rule) for rule in found))
    return [
        f"Not here: {names(found)}. That is dropped by the own firewall of {owners}: ask for "
        "that host's platform as well."
    ]


def stateful(rules: Sequence[Rule], hint: str) -> list[str]:
    """For a firewall that lets replies through by itself, of replies that were dropped."""
    found = dropped_replies(rules)
    dropped = [
        f"Replies that were dropped: {names(found)}. This firewall lets replies through by "
        f"itself, so no rule of this kind is missing. {hint}"
    ]
    return (dropped if found else []) + denied_replies(rules)


def denied_replies(rules: Sequence[Rule]) -> list[str]:
    found = [r for r in rules if r.flow is Flow.REPLY and r.action is Action.DENY]
    if not found:
        return []
    return [
        f"Replies that must not pass: {names(found)}. A firewall that keeps state lets replies "
        "to what it has let through: deny what they answer."
    ]


def reassembled(rules: Sequence[Rule], hint: str) -> list[str]:
    """For a firewall that puts fragments together before it looks at ports."""
    found = [rule for rule in rules if rule.fragments and rule.action is Action.ALLOW]
    return [f"Fragments were dropped: {names(found)}. {hint}"] if found else []


def from_one_port(rules: Iterable[Rule]) -> list[str]:
    """Of rules that fix the source port because it was asked so."""
    found = [rule for rule in rules if any_source(rule) and rule.action is Action.ALLOW]
    if not found:
        return []
    return [
        "From the source port that was asked alone; a peer behind NAT comes from another: leave "
        "the source port out for it."
    ]


def any_source_port(rules: Iterable[Rule]) -> list[str]:
    """For a firewall that knows no source ports."""
    if not any(any_source(rule) for rule in rules):
        return []
    return ["A source port cannot be named here: these rules let any source port in."]


def no_tunnel(rules: Iterable[Rule], what: str) -> list[str]:
    """Where part of a platform cannot carry IP 50 and 51 at all."""
    if not any(rule.protocol in ("esp", "ah") for rule in rules):
        return []
    return [
        f"{what} If one of them is on the path, no rule lets IP 50 or 51 through it: allow UDP "
        "4500 and force UDP encapsulation (AH cannot be encapsulated: use ESP)."
    ]
