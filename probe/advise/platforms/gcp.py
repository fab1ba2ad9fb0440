"""Google Cloud: VPC firewall rules, by gcloud."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from probe.advise import endpoint, wording
from probe.advise.rule import Place, Rule

TITLE = "Google Cloud VPC firewall"
COMMENT = "#"
SOURCES = (
    "gcloud reference: gcloud compute firewall-rules create (--rules, --direction, --priority, "
    "--source-ranges, --destination-ranges)",
    "Google Cloud documentation, VPC firewall rules: protocols tcp, udp, icmp, esp, ah, sctp, "
    "ipip or a number; destination ports only; stateful for every protocol",
    "Google Cloud documentation, Cloud NAT: TCP, UDP and ICMP",
)

_PRIORITY = 100  # the default is 1000, and the lower number is tried first


def write(rules: Sequence[Rule]) -> Iterator[str]:
    between = wording.at(rules, Place.NETWORK)
    wanted = [rule for rule in wording.new(between) if not rule.only_large]
    for each in endpoint.entrances(wanted):
        yield f"# The network of {each.host} ({each.address}), if that host is in Google Cloud."
        yield f"network=NETWORK-OF-{each.host.upper()}"
        for number, found in enumerate(wording.runs(each.rules)):
            yield f"# {'; '.join(wording.says(rule) for rule in found)}."
            yield command(found, number)
    for sentence in _remarks(rules, between, wanted):
        yield f"# {sentence}"


def command(rules: Sequence[Rule], number: int) -> str:
    rule, action = rules[0], rules[0].action
    name = f"probe-{rule.direction}-{action}" + (f"-{number}" if number else "")
    source, target = (wording.network(rule, a) for a in (rule.source, rule.destination))
    return (
        f"gcloud compute firewall-rules create {name} --network=$network "
        f"--direction=INGRESS --priority={_PRIORITY + number} "
        f"--action={action.upper()} --rules={','.join(map(_what, rules))} "
        f"--source-ranges={source} --destination-ranges={target}"
    )


def _what(rule: Rule) -> str:
    if rule.protocol == "icmp":
        return "icmp" if rule.family == 4 else "58"
    ports = f":{wording.span(rule.destination_port)}" if rule.destination_port else ""
    return f"{rule.protocol}{ports}"


def _remarks(
    rules: Sequence[Rule], between: Sequence[Rule], wanted: Sequence[Rule]
) -> Iterator[str]:
    if any(rule.protocol == "icmp" for rule in wanted):
        yield "ICMP can be named as a whole only: the rule lets more in than echo."
    yield from endpoint.exits(wanted, "--direction=EGRESS")
    yield from wording.stateful(
        between, "Look for a hierarchical or network firewall policy, and for routes."
    )
    yield from wording.reassembled(
        between,
        "VPC firewall rules with ports say nothing of later fragments: let the peers fragment IKE "
        "themselves (RFC 7383), and Kerberos use TCP.",
    )
    yield from wording.any_source_port(wanted)
    yield from wording.no_tunnel(
        wanted, "VPC firewall rules know esp and ah; Cloud NAT carries TCP, UDP and ICMP alone."
    )
    yield from wording.not_here(rules)
