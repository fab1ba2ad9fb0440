"""pf (OpenBSD, FreeBSD; OPNsense and pfSense by their own pages): ``pass quick`` rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Flow
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule, Way

TITLE = "pf"
COMMENT = "#"
SOURCES = (
    "OpenBSD pf.conf(5), PACKET FILTERING (pass, block, quick, proto, icmp-type) and STATEFUL "
    "FILTERING",
    "OpenBSD pf.conf(5), OPTIONS: set reassemble; FreeBSD pf.conf(5), TRAFFIC NORMALIZATION: scrub",
)

_WAYS = {Way.THROUGH: "", Way.IN: " in", Way.OUT: " out"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    """A rule that keeps state serves the replies; so it is the opener's rule that one needs."""
    for place in Place:
        found = list(dict.fromkeys(line(rule) for rule in wording.at(rules, place) if _said(rule)))
        if not found:
            continue
        first = wording.at(rules, place)[0]
        where = "the firewall in between"
        if place is not Place.NETWORK:
            where = f"{wording.owner(first)} itself"
        yield (
            f"# On {where}: into /etc/pf.conf, in front of the first pass or block rule "
            "(`pfctl -sr` shows them). Then: pfctl -nf /etc/pf.conf && pfctl -f /etc/pf.conf"
        )
        for rule in wording.at(rules, place):
            if _said(rule) and line(rule) in found:
                found.remove(line(rule))
                yield f"# {wording.says(rule)}."
                yield line(rule)
    for sentence in (*_replies(rules), *wording.from_one_port(rules)):
        yield f"# {sentence}"
    for sentence in wording.reassembled(
        rules,
        'Let pf put them together: "set reassemble yes" (OpenBSD), "scrub in all fragment '
        'reassemble" (FreeBSD); rules with ports match no fragment otherwise.',
    ):
        yield f"# {sentence}"


def _said(rule: Rule) -> bool:
    return not rule.foreseen


def _replies(rules: Sequence[Rule]) -> Iterator[str]:
    if wording.dropped_replies(rules):
        yield (
            "Replies were dropped: the rule for what they answer must keep state, which the rule "
            "above does (it is pf's default); look for `no state` in the rule that passed it so "
            "far, and for packets that go another way than they came."
        )


def line(rule: Rule) -> str:
    """A rule; for a reply, the one that lets in what it answers, and keeps state."""
    if rule.flow is Flow.REPLY and rule.action is Action.ALLOW:
        way = {Way.THROUGH: Way.THROUGH, Way.IN: Way.OUT, Way.OUT: Way.IN}[rule.way]
        opener = rule.opener
    else:
        way, opener = rule.way, rule
    action = "pass" if rule.action is Action.ALLOW else "block drop"
    words = [f"{action}{_WAYS[way]} quick {'inet' if rule.family == 4 else 'inet6'}"]
    icmp = "icmp" if rule.family == 4 else "icmp6"
    words.append(f"proto {icmp if rule.protocol == 'icmp' else rule.protocol}")
    for word, address, ports in (
        ("from", opener.source, opener.source_port),
        ("to", opener.destination, opener.destination_port),
    ):
        words.append(f"{word} {address}" + (f" port {wording.span(ports, ':')}" if ports else ""))
    if rule.protocol == "icmp":
        words.append(f"{icmp}-type echoreq")
    if rule.action is Action.ALLOW:
        words.append("keep state")
    return " ".join(words)
