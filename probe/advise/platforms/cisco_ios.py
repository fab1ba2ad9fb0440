"""Cisco IOS and IOS XE: entries of extended access lists, which keep no state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Direction, Flow
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule

TITLE = "Cisco IOS access lists"
COMMENT = "!"
SOURCES = (
    "Cisco IOS Security Configuration Guide: Access Control Lists, IP Access List Entry Sequence "
    "Numbering",
    "Cisco IOS IPv6 Command Reference: ipv6 access-list, permit (IPv6)",
    "Cisco document 8014, Access Control Lists and IP Fragments: a permit with ports lets the "
    "later fragments through by their addresses",
)

_PROTOCOLS = {(4, "ah"): "ahp", (6, "ah"): "ahp"}
_ECHO = {(4, Flow.NEW): "echo", (6, Flow.NEW): "echo-request"}
_FREE = 1000  # existing entries are moved behind this number


def write(rules: Sequence[Rule]) -> Iterator[str]:
    through = wording.at(rules, Place.NETWORK)
    if through:
        yield (
            "! On the router in between. `show ip interface` (IPv6: `show ipv6 interface`) tells "
            "the access list of each interface: put the inbound one of the interface towards near "
            "for NEAR-IN, and that towards far for FAR-IN. An outbound list on the way needs the "
            "same entries."
        )
    for direction, name in ((Direction.OUTBOUND, "NEAR-IN"), (Direction.INBOUND, "FAR-IN")):
        found = [rule for rule in through if rule.direction is direction]
        if found:
            yield from _list(name, found)
    for sentence in (
        *_stateless(through),
        *_fragments(through),
        *wording.from_one_port(through),
        *wording.not_here(rules),
    ):
        yield f"! {sentence}"


def _list(name: str, rules: Sequence[Rule]) -> Iterator[str]:
    if rules[0].family == 4:
        yield f"! The entries that are there move behind {_FREE}, so that the new ones stand first."
        yield f"ip access-list resequence {name} {_FREE} 10"
        yield f"ip access-list extended {name}"
    else:
        yield "! Free numbers below the first entry's: `show ipv6 access-list`."
        yield f"ipv6 access-list {name}"
    for number, rule in enumerate(rules, 1):
        yield f"! {wording.says(rule)}."
        yield f" {'sequence ' if rule.family == 6 else ''}{number} {entry(rule)}"


def entry(rule: Rule) -> str:
    words = ["permit" if rule.action is Action.ALLOW else "deny"]
    words.append(_PROTOCOLS.get((rule.family, rule.protocol), rule.protocol))
    words += ends(rule)
    if rule.protocol == "icmp":
        words.append(_ECHO.get((rule.family, rule.flow), "echo-reply"))
    elif rule.protocol == "tcp" and rule.flow is Flow.REPLY:
        words.append("established")
    return " ".join(words)


def ends(rule: Rule) -> Iterator[str]:
    """Both hosts and their ports, as access lists of IOS and of the ASA have them."""
    for address, ports in (
        (rule.source, rule.source_port),
        (rule.destination, rule.destination_port),
    ):
        yield f"host {address}"
        if ports:
            single = ports[0] == ports[1]
            yield f"eq {ports[0]}" if single else f"range {ports[0]} {ports[1]}"


def _stateless(rules: Sequence[Rule]) -> Iterator[str]:
    replies = [r for r in rules if r.flow is Flow.REPLY and r.protocol not in ("tcp", "icmp")]
    if replies:
        yield (
            "An access list keeps no state: the entries for replies let in whatever has these "
            "addresses and ports, new flows too. Inspection (`ip inspect`, zone-based firewall) "
            "or a reflexive list would tell them apart."
        )
    if any(rule.only_new for rule in rules):
        yield "It cannot tell replies from new flows: the deny entries stop both."


def _fragments(rules: Sequence[Rule]) -> Iterator[str]:
    if any(rule.fragments for rule in rules):
        yield (
            "Later fragments have no ports; a permit entry lets them through by their addresses. "
            "Look for `deny … fragments` entries, and for `ip virtual-reassembly drop-fragments` "
            "on the interfaces."
        )
