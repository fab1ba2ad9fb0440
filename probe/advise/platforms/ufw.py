"""ufw: ``ufw route prepend`` for what is passed on, ``ufw prepend`` for the host itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from probe.advise import wording
from probe.advise.rule import Action, Place, Rule, Way

TITLE = "ufw"
COMMENT = "#"
SOURCES = (
    "ufw(8), RULE SYNTAX: prepend, route, proto (tcp, udp, ah, esp, gre, ipv6, igmp)",
    "ufw-framework(8), BOOT INITIALIZATION: before.rules and before6.rules",
)

_COMMANDS = {Way.THROUGH: "ufw route prepend {}", Way.IN: "ufw prepend {} in"}
_COMMANDS[Way.OUT] = "ufw prepend {} out"
_CHAINS = {Way.THROUGH: "forward", Way.IN: "input", Way.OUT: "output"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    for place in Place:
        found = [rule for rule in wording.at(rules, place) if rule.protocol != "icmp"]
        found = [rule for rule in wording.new(found) if not rule.only_large]
        if found:
            where = "the firewall in between"
            if place is not Place.NETWORK:
                where = f"{wording.owner(found[0])} itself"
            yield f"# On {where}, as root. Each line goes in front of the other rules."
        for rule in reversed(found):
            yield f"# {wording.says(rule)}."
            yield command(rule)
        for sentence in wording.from_one_port(found):
            yield f"# {sentence}"
    yield from _by_file(rules)
    for sentence in wording.denied_replies(rules):
        yield f"# {sentence}"
    for sentence in wording.reassembled(
        rules,
        "ufw keeps state and so sees them put together: if they still die, another firewall does "
        "it.",
    ):
        yield f"# {sentence}"


def command(rule: Rule) -> str:
    words = [_COMMANDS[rule.way].format(rule.action), "proto", rule.protocol]
    for word, address, ports in (
        ("from", rule.source, rule.source_port),
        ("to", rule.destination, rule.destination_port),
    ):
        words += [word, address]
        if ports:
            words += ["port", wording.span(ports, ":")]
    return " ".join(words)


def _by_file(rules: Sequence[Rule]) -> Iterator[str]:
    """What no ufw command can say: lines for before.rules, in iptables' words."""
    replies = [rule for rule in wording.dropped_replies(rules) if rule.protocol != "icmp"]
    pings = [rule for rule in rules if rule.protocol == "icmp" and not rule.foreseen]
    if not replies and not pings:
        return
    family = (replies or pings)[0].family
    six = "6" if family == 6 else ""
    yield (
        f"# No ufw command can say the following. Put the lines into /etc/ufw/before{six}.rules, "
        f'in front of those that begin "-A ufw{six}-before", then: ufw reload'
    )
    for rule in replies:
        yield f"# {wording.says(rule)} (such a line belongs there anyway: it is ufw's own)."
    for way in dict.fromkeys(rule.way for rule in replies):
        chain = f"ufw{six}-before-{_CHAINS[way]}"
        yield f"#   -A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    for rule in pings:
        yield f"# {wording.says(rule)}."
        yield f"#   {_ping(rule, f'ufw{six}-before-{_CHAINS[rule.way]}')}"


def _ping(rule: Rule, chain: str) -> str:
    icmp, option = ("icmp", "--icmp-type") if rule.family == 4 else ("icmpv6", "--icmpv6-type")
    kind = "echo-request" if rule in wording.new([rule]) else "echo-reply"
    target = "ACCEPT" if rule.action is Action.ALLOW else "DROP"
    return (
        f"-A {chain} -s {rule.source} -d {rule.destination} -p {icmp} {option} {kind} -j {target}"
    )
