"""PAN-OS (Palo Alto Networks): security rules by ``set``; IP 50 and 51 by App-ID."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Direction
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule

TITLE = "PAN-OS"
COMMENT = "#"
SOURCES = (
    "PAN-OS CLI Quick Start: set and move in configuration mode, Load Configurations by CLI",
    "PAN-OS Administrator's Guide: Create a Security Policy Rule; Objects > Services (TCP and UDP)",
    "Applipedia: ipsec-esp, ipsec-ah, ping, ping6",
)

_APPLICATIONS = {
    (4, "esp"): "ipsec-esp",
    (6, "esp"): "ipsec-esp",
    (4, "ah"): "ipsec-ah",
    (6, "ah"): "ipsec-ah",
    (4, "icmp"): "ping",
    (6, "icmp"): "ping6",
}
_ZONES = {Direction.OUTBOUND: ("NEAR-ZONE", "FAR-ZONE")}
_ZONES[Direction.INBOUND] = ("FAR-ZONE", "NEAR-ZONE")


def write(rules: Sequence[Rule]) -> Iterator[str]:
    through = [r for r in wording.new(wording.at(rules, Place.NETWORK)) if not r.only_large]
    if through:
        yield (
            "# On the firewall in between, in configuration mode (`configure`). NEAR-ZONE and "
            "FAR-ZONE are the zones towards near and far: `show zone`."
        )
    for name, rule in {
        wording.label(r): r for r in through if r.protocol in ("udp", "tcp")
    }.items():
        yield f"set service probe-{name} {_service(rule)}"
    parts = [part for run in wording.runs(through) for part in _parts(run)]
    names = list(wording.numbered(f"probe-{part[0].direction}-{part[0].action}" for part in parts))
    for name, part in zip(names, parts, strict=True):
        yield f"# {'; '.join(wording.says(rule) for rule in part)}."
        yield f"set rulebase security rules {name} {_rule(part)}"
    for name in reversed(names):
        yield f"move rulebase security rules {name} top"
    if through:
        yield "commit"
    for sentence in _remarks(rules, through):
        yield f"# {sentence}"


def _parts(run: Sequence[Rule]) -> list[list[Rule]]:
    """What is told by its ports, and what by App-ID: no rule can have both."""
    by_port = [rule for rule in run if rule.protocol in ("udp", "tcp")]
    by_name = [rule for rule in run if rule.protocol not in ("udp", "tcp")]
    return [part for part in (by_port, by_name) if part]


def _service(rule: Rule) -> str:
    words = [f"protocol {rule.protocol}"]
    if rule.destination_port:
        words.append(f"port {wording.span(rule.destination_port)}")
    if rule.source_port:
        words.append(f"source-port {wording.span(rule.source_port)}")
    return " ".join(words)


def _rule(rules: Sequence[Rule]) -> str:
    rule = rules[0]
    origin, target = _ZONES[rule.direction]
    if rule.protocol in ("udp", "tcp"):
        what = f"application any service {_list([f'probe-{wording.label(r)}' for r in rules])}"
    else:
        names = _list([_APPLICATIONS[r.family, r.protocol] for r in rules])
        what = f"application {names} service application-default"
    action = "allow" if rule.action is Action.ALLOW else "deny"
    return (
        f"from {origin} to {target} source {rule.source} destination {rule.destination} "
        f"{what} action {action}"
    )


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"[ {' '.join(names)} ]"


def _remarks(rules: Sequence[Rule], through: Sequence[Rule]) -> Iterator[str]:
    if any(rule.protocol in ("esp", "ah") for rule in through):
        yield (
            "A service knows TCP and UDP only: IP 50 and 51 are allowed by the application that "
            "PAN-OS finds in them."
        )
    network = wording.at(rules, Place.NETWORK)
    yield from wording.stateful(
        network, "Look for asymmetric routing and for a drop in the session browser."
    )
    yield from wording.reassembled(
        network,
        "PAN-OS puts them together; Zone Protection (Packet Based Attack Protection, IP Drop, "
        "Fragmented traffic) drops them where that is ticked: untick it for the zones on the way.",
    )
    yield from wording.from_one_port(through)
    yield from wording.not_here(rules)
