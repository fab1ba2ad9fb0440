"""Azure: rules of a network security group, by the Azure CLI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from probe.advise import endpoint, wording
from probe.advise.rule import Action, Place, Rule

TITLE = "Azure network security group"
COMMENT = "#"
SOURCES = (
    "Azure CLI reference: az network nsg rule create (--protocol Ah, Esp, Icmp, Tcp, Udp)",
    "Azure documentation, Network security groups: priorities 100 to 4096, flow records",
    "Azure documentation, Load Balancer: rules and outbound SNAT are for TCP and UDP, no other "
    "IP protocol",
    "Azure documentation, Troubleshoot NAT gateway connectivity: TCP and UDP only",
    "Azure documentation, TCP/IP performance tuning: fragments out of order are dropped",
)

_PROTOCOLS = {"esp": "Esp", "ah": "Ah", "udp": "Udp", "tcp": "Tcp", "icmp": "Icmp"}
_FIRST = 100  # the lowest priority number there is; it is tried first


def write(rules: Sequence[Rule]) -> Iterator[str]:
    between = wording.at(rules, Place.NETWORK)
    wanted = [rule for rule in wording.new(between) if not rule.only_large]
    for each in endpoint.entrances(wanted):
        yield (
            f"# The network security group of {each.host} ({each.address}), if that host is in "
            "Azure. The priorities must be free; `az network nsg rule list` shows those that are "
            "taken."
        )
        yield f"group=RESOURCE-GROUP nsg=NSG-OF-{each.host.upper()}"
        for number, rule in enumerate(each.rules, _FIRST):
            if (rule.family, rule.protocol) != (6, "icmp"):
                yield f"# {wording.says(rule)}."
                yield command(rule, number)
    for sentence in _remarks(rules, between, wanted):
        yield f"# {sentence}"


def command(rule: Rule, priority: int) -> str:
    ports = [
        wording.span(ports) if ports else "'*'"
        for ports in (rule.source_port, rule.destination_port)
    ]
    return " ".join(
        [
            "az network nsg rule create --resource-group $group --nsg-name $nsg",
            f"--name probe-{rule.action}-{wording.label(rule)} --priority {priority}",
            "--direction Inbound",
            f"--access {'Allow' if rule.action is Action.ALLOW else 'Deny'}",
            f"--protocol {_PROTOCOLS[rule.protocol]}",
            f"--source-address-prefixes {wording.network(rule, rule.source)}",
            f"--source-port-ranges {ports[0]}",
            f"--destination-address-prefixes {wording.network(rule, rule.destination)}",
            f"--destination-port-ranges {ports[1]}",
        ]
    )


def _remarks(
    rules: Sequence[Rule], between: Sequence[Rule], wanted: Sequence[Rule]
) -> Iterator[str]:
    if any((rule.family, rule.protocol) == (6, "icmp") for rule in wanted):
        yield "ICMPv6 cannot be named in a rule (Icmp is that of IPv4): ping in IPv6 has no rule."
    yield from endpoint.exits(wanted, "--direction Outbound")
    yield from wording.stateful(
        between, "Look for another security group (of the subnet, of the interface) and for routes."
    )
    yield from wording.reassembled(
        between,
        "No rule of a security group is about fragments, and Azure drops those that come out of "
        "order: let the peers fragment IKE themselves (RFC 7383), and Kerberos use TCP.",
    )
    yield from wording.from_one_port(wanted)
    yield from wording.no_tunnel(
        wanted,
        "A security group knows Esp and Ah; the Azure Load Balancer and the NAT gateway carry "
        "TCP and UDP alone.",
    )
    yield from wording.not_here(rules)
