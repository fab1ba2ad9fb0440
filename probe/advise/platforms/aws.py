"""AWS: security groups, which keep state and only allow; network ACLs for what is to be denied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Flow
from probe.advise import endpoint, wording
from probe.advise.rule import Action, Place, Rule

TITLE = "AWS security group"
COMMENT = "#"
SOURCES = (
    "AWS CLI Command Reference: ec2 authorize-security-group-ingress and -egress (IpProtocol: a "
    "name or a protocol number), create-network-acl-entry",
    "Amazon VPC User Guide, Security group rules; Network ACLs (stateless)",
    "Amazon VPC User Guide, NAT gateway basics: TCP, UDP and ICMP are supported",
    "Elastic Load Balancing, Network Load Balancers, Listeners: TCP, TLS, UDP, TCP_UDP",
)

_PROTOCOLS = {"esp": "50", "ah": "51", "udp": "udp", "tcp": "tcp"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    between = wording.at(rules, Place.NETWORK)
    allow = [
        rule for rule in wording.new(between) if rule.action is Action.ALLOW and not rule.only_large
    ]
    for each in endpoint.entrances(allow):
        yield f"# The security group of {each.host} ({each.address}), if that host is in AWS."
        yield f"group=sg-OF-{each.host.upper()}"
        for rule in each.rules:
            yield f"# {wording.says(rule)}."
            yield (
                "aws ec2 authorize-security-group-ingress --group-id $group "
                f"--ip-permissions '{permission(rule)}'"
            )
    deny = [rule for rule in between if rule.action is Action.DENY]
    for each in endpoint.entrances(deny):
        yield (
            "# A security group cannot deny. The network ACL of the subnet of "
            f"{each.host} ({each.address}) can; choose numbers below those of its other entries."
        )
        yield f"acl=acl-OF-{each.host.upper()}"
        for number, rule in enumerate(each.rules, 1):
            yield f"# {wording.says(rule)}."
            yield acl_entry(rule, number)
    for sentence in _remarks(rules, between, allow):
        yield f"# {sentence}"


def permission(rule: Rule) -> str:
    """One IpPermission in the CLI's shorthand."""
    words = []
    if rule.protocol == "icmp":
        kind = ("icmp", 8) if rule.family == 4 else ("icmpv6", 128)
        words.append(f"IpProtocol={kind[0]},FromPort={kind[1]},ToPort=-1")
    elif rule.protocol in ("udp", "tcp"):
        first, last = rule.destination_port or (0, 65535)
        words.append(f"IpProtocol={rule.protocol},FromPort={first},ToPort={last}")
    else:
        words.append(f"IpProtocol={_PROTOCOLS[rule.protocol]}")
    peer = wording.network(rule, rule.source)
    ranges = "IpRanges=[{CidrIp=" if rule.family == 4 else "Ipv6Ranges=[{CidrIpv6="
    return f"{words[0]},{ranges}{peer}}}]"


def acl_entry(rule: Rule, number: int) -> str:
    peer = wording.network(rule, rule.source)
    words = [
        "aws ec2 create-network-acl-entry --network-acl-id $acl --ingress",
        f"--rule-number {number} --rule-action {rule.action}",
        f"--{'cidr-block' if rule.family == 4 else 'ipv6-cidr-block'} {peer}",
    ]
    if rule.protocol == "icmp":
        number_, kind = (1, 8) if rule.family == 4 else (58, 128)
        words.append(f"--protocol {number_} --icmp-type-code Code=-1,Type={kind}")
    else:
        words.append(f"--protocol {wording.NUMBERS[rule.protocol]}")
    if rule.protocol in ("udp", "tcp"):
        first, last = rule.destination_port or (0, 65535)
        words.append(f"--port-range From={first},To={last}")
    return " ".join(words)


def _remarks(
    rules: Sequence[Rule], between: Sequence[Rule], allow: Sequence[Rule]
) -> Iterator[str]:
    yield from endpoint.exits(allow, "authorize-security-group-egress, to the other host's address")
    yield from wording.stateful(
        between,
        "A network ACL keeps no state: it must let the replies through in both directions, TCP "
        "and UDP to ports 1024-65535, by `aws ec2 create-network-acl-entry`.",
    )
    if any(rule.action is Action.DENY and rule.flow is Flow.NEW for rule in between):
        yield "A network ACL looks at each packet by itself: it stops replies as well."
    yield from wording.reassembled(
        between,
        "A security group keeps state and lets them through with their first one; look for a "
        "network ACL, and for a load balancer or a firewall of your own on the path.",
    )
    yield from wording.any_source_port(allow)
    yield from wording.no_tunnel(
        allow,
        "Security groups and network ACLs carry IP 50 and 51; a NAT gateway (TCP, UDP, ICMP) and "
        "a Network Load Balancer (TCP, UDP) do not.",
    )
    yield from wording.not_here(rules)
