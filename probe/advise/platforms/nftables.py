"""nftables: ``nft insert rule``, at the head of the chain that drops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Flow
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule, Way

TITLE = "nftables"
COMMENT = "#"
SOURCES = (
    "nft(8), RULES (insert rule), PAYLOAD EXPRESSIONS, CONNTRACK EXPRESSIONS, ICMP TYPES",
    "nft(8), ADDRESS FAMILIES: hooks and their order",
)

_HOOKS = {Way.THROUGH: "forward", Way.IN: "input", Way.OUT: "output"}
_ECHO = {Flow.NEW: "echo-request", Flow.REPLY: "echo-reply"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    for place in Place:
        for way in Way:
            found = [rule for rule in rules if (rule.place, rule.way) == (place, way)]
            if found:
                yield from _chain(found)


def _chain(rules: Sequence[Rule]) -> Iterator[str]:
    hook = _HOOKS[rules[0].way]
    where = "the firewall in between"
    if rules[0].place is not Place.NETWORK:
        where = f"{wording.owner(rules[0])} itself"
    elif rules[0].at:
        where = f"the firewall that answered from {rules[0].at}"
    yield (
        f"# On {where}, as root. `nft list ruleset` shows the chain that drops: it has "
        f'"hook {hook}". Name its family, table and name here. Where several chains have that '
        "hook, a packet must pass them all; where none has, nothing is to be done there."
    )
    yield f"chain='inet filter {hook}'"
    for rule in reversed(rules):  # each goes in front of those before it
        yield f"# {wording.says(rule)}."
        yield f'nft "insert rule $chain {expression(rule)}"'
    for sentence in (*_fragments(rules), *wording.from_one_port(rules)):
        yield f"# {sentence}"
    yield "# So far until the next restart: put the same lines into /etc/nftables.conf too."


def _fragments(rules: Sequence[Rule]) -> Iterator[str]:
    if any(rule.fragments and rule.flow is Flow.NEW for rule in rules):
        yield (
            "`ct state` turns connection tracking on, which puts fragments together before this "
            "chain sees them, so that each has its ports. A chain that drops fragments in front "
            "of it (hook ingress, or a priority below -400) still does."
        )


def expression(rule: Rule) -> str:
    """The rule itself: what follows the chain's name."""
    ip = "ip" if rule.family == 4 else "ip6"
    words = [f"{ip} saddr {rule.source} {ip} daddr {rule.destination}"]
    if rule.protocol == "icmp":
        icmp = "icmp" if rule.family == 4 else "icmpv6"
        words.append(f"{icmp} type {_ECHO[rule.flow]}")
    elif rule.protocol in ("esp", "ah"):
        words.append(f"meta l4proto {rule.protocol}")
    else:
        words.append(_ports(rule))
    if rule.flow is Flow.REPLY:
        words.append("ct state established")
    elif rule.fragments and rule.action is Action.ALLOW:
        words.append("ct state new,established")
    elif rule.only_new:
        words.append("ct state new")
    words.append("accept" if rule.action is Action.ALLOW else "drop")
    return " ".join(words)


def _ports(rule: Rule) -> str:
    words = [
        f"{rule.protocol} {side} {wording.span(ports)}"
        for side, ports in (("sport", rule.source_port), ("dport", rule.destination_port))
        if ports
    ]
    return " ".join(words) or f"meta l4proto {rule.protocol}"
