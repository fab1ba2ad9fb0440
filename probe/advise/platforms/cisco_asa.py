"""Cisco ASA: access rules by ``access-list NAME line 1``. State is kept for TCP and UDP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Direction, Flow
from probe.advise import wording
from probe.advise.platforms.cisco_ios import ends
from probe.advise.rule import Action, Place, Rule

TITLE = "Cisco ASA"
COMMENT = "!"
SOURCES = (
    "Cisco ASA Series Command Reference: access-list extended (line, esp, ah, udp, icmp, icmp6)",
    "Cisco ASA Series Firewall CLI Configuration Guide, Access Rules: access rules for returning "
    "traffic",
    "Cisco ASA Series Firewall CLI Configuration Guide, IPsec Pass Through Inspection: off by "
    "default",
)

_NO_STATE = ("esp", "ah", "icmp")  # without inspection


def write(rules: Sequence[Rule]) -> Iterator[str]:
    through = [
        rule
        for rule in wording.at(rules, Place.NETWORK)
        if rule.flow is Flow.NEW or rule.protocol in _NO_STATE
    ]
    if through:
        yield (
            "! On the firewall in between. `show running-config access-group` tells the access "
            "list of each interface: put the inbound one of the interface towards near for "
            "NEAR_IN, and that towards far for FAR_IN. Each line goes in front of the others."
        )
    for direction, name in ((Direction.OUTBOUND, "NEAR_IN"), (Direction.INBOUND, "FAR_IN")):
        for rule in reversed([rule for rule in through if rule.direction is direction]):
            yield f"! {wording.says(rule)}."
            yield f"access-list {name} line 1 extended {entry(rule)}"
    tracked = [rule for rule in rules if rule.protocol not in _NO_STATE]
    for sentence in (
        *_untracked(through),
        *wording.stateful(
            wording.at(tracked, Place.NETWORK),
            "Look for traffic that returns by another way (`show asp drop`), and for inspection.",
        ),
        *wording.reassembled(
            wording.at(rules, Place.NETWORK),
            "The ASA puts them together unless it was told not to: `show running-config fragment` "
            "shows a `fragment chain 1`, which drops them all; the default is 24.",
        ),
        *wording.from_one_port(through),
        *wording.not_here(rules),
    ):
        yield f"! {sentence}"


def entry(rule: Rule) -> str:
    protocol = rule.protocol
    if protocol == "icmp" and rule.family == 6:
        protocol = "icmp6"
    words = ["permit" if rule.action is Action.ALLOW else "deny", protocol]
    words += ends(rule)
    if rule.protocol == "icmp":
        asks = "echo" if rule.family == 4 else "echo-request"
        words.append(asks if rule.flow is Flow.NEW else "echo-reply")
    return " ".join(words)


def _untracked(rules: Sequence[Rule]) -> Iterator[str]:
    if any(rule.flow is Flow.REPLY and rule.protocol in ("esp", "ah") for rule in rules):
        yield (
            "The entries for replies let new flows in as well. `inspect ipsec-pass-thru`, off by "
            "default, lets ESP and AH follow an IKE flow without entries of their own."
        )
