"""Juniper SRX (Junos): applications, addresses and one security policy for each direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Direction
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule

TITLE = "Juniper SRX"
COMMENT = "#"
SOURCES = (
    "Junos OS Security Policies User Guide: policy (Security), application (Applications), "
    "address-book",
    "Junos OS CLI User Guide: insert, to put a policy before another; commit confirmed",
    "Junos OS Attack Detection and Prevention User Guide: screen ids-option ip block-frag",
)

_ZONES = {Direction.OUTBOUND: ("NEAR-ZONE", "FAR-ZONE")}
_ZONES[Direction.INBOUND] = ("FAR-ZONE", "NEAR-ZONE")
_PING = {4: "junos-ping", 6: "junos-pingv6"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    through = [r for r in wording.new(wording.at(rules, Place.NETWORK)) if not r.only_large]
    if through:
        yield (
            "# On the firewall in between, in configuration mode. NEAR-ZONE and FAR-ZONE are the "
            "zones towards near and far (`show security zones`), FIRST-POLICY the first policy "
            "between the two (`show security policies`); without one, leave the insert line out."
        )
        for end, address in zip(("near", "far"), wording.ends(through), strict=True):
            network = wording.network(through[0], address)
            yield f"set security address-book global address probe-{end} {network}"
        for name, rule in {wording.label(r): r for r in through if r.protocol != "icmp"}.items():
            yield f"set applications application probe-{name} {_application(rule)}"
        runs = wording.runs(through)
        names = wording.numbered(f"probe-{run[0].direction}-{run[0].action}" for run in runs)
        for name, run in zip(names, runs, strict=True):
            yield from _policy(name, run)
        yield "commit confirmed 5"
        yield "# ... and `commit` once more within five minutes, if all is well."
    network_rules = wording.at(rules, Place.NETWORK)
    for sentence in (
        *wording.stateful(
            network_rules, "Look for asymmetric routing: `show security flow session` tells."
        ),
        *wording.reassembled(
            network_rules,
            "Junos drops them where a screen of the zone says so: delete security screen "
            "ids-option NAME ip block-frag.",
        ),
        *wording.from_one_port(through),
        *wording.not_here(rules),
    ):
        yield f"# {sentence}"


def _application(rule: Rule) -> str:
    words = [f"protocol {rule.protocol}"]
    if rule.source_port:
        words.append(f"source-port {wording.span(rule.source_port)}")
    if rule.destination_port:
        words.append(f"destination-port {wording.span(rule.destination_port)}")
    return " ".join(words)


def _policy(policy_name: str, rules: Sequence[Rule]) -> Iterator[str]:
    rule = rules[0]
    zones = "from-zone {} to-zone {}".format(*_ZONES[rule.direction])
    policy = f"security policies {zones} policy {policy_name}"
    names = [
        _PING[each.family] if each.protocol == "icmp" else f"probe-{wording.label(each)}"
        for each in rules
    ]
    applications = names[0] if len(names) == 1 else f"[ {' '.join(names)} ]"
    origin, target = wording.ENDS[rule.direction]
    yield f"# {'; '.join(wording.says(each) for each in rules)}."
    yield (
        f"set {policy} match source-address probe-{origin} destination-address probe-{target} "
        f"application {applications}"
    )
    yield f"set {policy} then {'permit' if rule.action is Action.ALLOW else 'deny'}"
    yield f"insert {policy} before policy FIRST-POLICY"
