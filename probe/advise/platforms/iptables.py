"""iptables and ip6tables: ``-I CHAIN 1``, in front of everything else in the built-in chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Flow
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule, Way

TITLE = "iptables and ip6tables"
COMMENT = "#"
SOURCES = (
    "iptables(8), COMMANDS (-I) and PARAMETERS (-p, -s, -d, -j)",
    "iptables-extensions(8), conntrack, udp, tcp, icmp, icmp6, ah (IPv6-specific)",
)

_CHAINS = {Way.THROUGH: "FORWARD", Way.IN: "INPUT", Way.OUT: "OUTPUT"}
_ECHO = {Flow.NEW: "echo-request", Flow.REPLY: "echo-reply"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    for place in Place:
        found = wording.at(rules, place)
        if not found:
            continue
        where = "the firewall in between"
        if place is not Place.NETWORK:
            where = f"{wording.owner(found[0])} itself"
        elif found[0].at:
            where = f"the firewall that answered from {found[0].at}"
        yield f"# On {where}, as root. Each line goes in front of all other rules of its chain."
        for rule in reversed(found):
            yield f"# {wording.says(rule)}."
            yield command(rule)
        for sentence in (*_fragments(found), *wording.from_one_port(found)):
            yield f"# {sentence}"
        yield (
            "# So far until the next restart: netfilter-persistent save (Debian), or "
            "iptables-save and ip6tables-save into the files that are loaded at start."
        )


def _fragments(rules: Sequence[Rule]) -> Iterator[str]:
    if any(rule.fragments and rule.flow is Flow.NEW for rule in rules):
        yield (
            "The conntrack match turns connection tracking on, which puts fragments together "
            "before these chains see them, so that each has its ports."
        )


def command(rule: Rule) -> str:
    words = ["iptables" if rule.family == 4 else "ip6tables", "-I", _CHAINS[rule.way], "1"]
    words += ["-s", wording.network(rule, rule.source)]
    words += ["-d", wording.network(rule, rule.destination), *_protocol(rule)]
    if rule.flow is Flow.REPLY:
        words += ["-m", "conntrack", "--ctstate", "ESTABLISHED"]
    elif rule.fragments and rule.action is Action.ALLOW:
        words += ["-m", "conntrack", "--ctstate", "NEW,ESTABLISHED"]
    elif rule.only_new:
        words += ["-m", "conntrack", "--ctstate", "NEW"]
    words += ["-j", "ACCEPT" if rule.action is Action.ALLOW else "DROP"]
    return " ".join(words)


def _protocol(rule: Rule) -> list[str]:
    if rule.protocol == "icmp":
        icmp, option = ("icmp", "--icmp-type") if rule.family == 4 else ("icmpv6", "--icmpv6-type")
        return ["-p", icmp, option, _ECHO[rule.flow]]
    if rule.protocol == "ah" and rule.family == 6:
        return ["-m", "ah"]  # an extension header: -p looks behind it
    words = ["-p", rule.protocol]
    for option, ports in (("--sport", rule.source_port), ("--dport", rule.destination_port)):
        if ports:
            words += [option, wording.span(ports, ":")]
    return words
