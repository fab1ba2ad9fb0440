"""firewalld: rich rules, in a zone for the host itself and in policies for what it passes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Direction
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule, Way

TITLE = "firewalld"
COMMENT = "#"
SOURCES = (
    "firewalld.richlanguage(5), RICH RULE STRUCTURE",
    "firewalld.policies(5) and firewall-cmd(1), Policy Options",
)

_FIRST = -100  # before the zones' own rules (negative), which have 0


def write(rules: Sequence[Rule]) -> Iterator[str]:
    wanted = [rule for rule in wording.new(rules) if not rule.only_large]
    through = wording.at(wanted, Place.NETWORK)
    if through:
        yield (
            "# On the firewall in between, as root. `firewall-cmd --get-active-zones` shows "
            "the zones of its interfaces: name the one towards near and the one towards far."
        )
        yield "near_zone=internal far_zone=external"
    for direction in Direction:
        found = [rule for rule in through if rule.direction is direction]
        if found:
            origin, target = (f"${end}_zone" for end in wording.ENDS[direction])
            yield from _policy(f"probe-{direction}", origin, target, found)
    for place in (Place.NEAR, Place.FAR):
        found = [rule for rule in wording.at(wanted, place) if rule.way is Way.IN]
        if found:
            yield f"# On {wording.owner(found[0])} itself: name the zone of its interface."
            yield "zone=public"
            yield from _rules("--zone=$zone", found)
        found = [rule for rule in wording.at(wanted, place) if rule.way is Way.OUT]
        if found:
            yield f"# On {wording.owner(found[0])} itself, what it sends."
            yield from _policy("probe-sent", "HOST", "ANY", found)
    for sentence in _limits(rules):
        yield f"# {sentence}"
    if wanted:
        yield "firewall-cmd --reload"


def _policy(name: str, origin: str, target: str, rules: Sequence[Rule]) -> Iterator[str]:
    yield f"firewall-cmd --permanent --new-policy={name}"
    policy = f"firewall-cmd --permanent --policy={name}"
    yield f"{policy} --set-priority={_FIRST}"
    yield f"{policy} --add-ingress-zone={origin}"
    yield f"{policy} --add-egress-zone={target}"
    yield from _rules(f"--policy={name}", rules)


def _rules(where: str, rules: Sequence[Rule]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        yield f"# {wording.says(rule)}."
        yield f"firewall-cmd --permanent {where} --add-rich-rule='{rich(rule, _FIRST + number)}'"


def rich(rule: Rule, priority: int) -> str:
    """A rule in the rich language. It has one element: a port, and then no source port."""
    words = [
        f'rule priority="{priority}" family="ipv{rule.family}"',
        f'source address="{wording.network(rule, rule.source)}"',
        f'destination address="{wording.network(rule, rule.destination)}"',
    ]
    if rule.protocol == "icmp":
        words.append('icmp-type name="echo-request"')
    elif rule.destination_port:
        words.append(
            f'port port="{wording.span(rule.destination_port)}" protocol="{rule.protocol}"'
        )
    elif rule.source_port:
        words.append(
            f'source-port port="{wording.span(rule.source_port)}" protocol="{rule.protocol}"'
        )
    else:
        words.append(f'protocol value="{rule.protocol}"')
    words.append("accept" if rule.action is Action.ALLOW else "drop")
    return " ".join(words)


def _limits(rules: Sequence[Rule]) -> Iterator[str]:
    yield from wording.any_source_port(rules)
    yield from wording.stateful(
        rules,
        "Look for direct rules (`firewall-cmd --direct --get-all-rules`), for other nftables "
        "tables (`nft list ruleset`), and for another firewall on the way back.",
    )
    yield from wording.reassembled(
        rules, "firewalld sees them put together: another table or firewall drops them."
    )
