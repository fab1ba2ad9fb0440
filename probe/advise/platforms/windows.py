"""Windows Defender Firewall: ``New-NetFirewallRule``, in PowerShell, on the host itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from probe.advise import endpoint, wording
from probe.advise.rule import Action, Place, Rule, Way

TITLE = "Windows Defender Firewall (PowerShell)"
COMMENT = "#"
SOURCES = (
    "Microsoft Learn, NetSecurity: New-NetFirewallRule (-Direction, -Protocol, -LocalPort, "
    "-RemotePort, -IcmpType, -Action)",
    "Microsoft Learn, Windows Firewall rules: explicit block rules take precedence over allow "
    "rules; outbound is allowed by default",
)

_PROTOCOLS = {"esp": "50", "ah": "51", "udp": "UDP", "tcp": "TCP"}
_DIRECTIONS = {Way.IN: "Inbound", Way.OUT: "Outbound"}


def write(rules: Sequence[Rule]) -> Iterator[str]:
    wanted = [rule for rule in wording.new(rules) if not rule.only_large]
    for rule in wording.hosts(wanted):
        yield f"# On {wording.owner(rule)}, in PowerShell as administrator: {wording.says(rule)}."
        yield command(rule)
    between = wording.at(wanted, Place.NETWORK)
    if between:
        yield (
            "# The following was dropped before it reached the interface of either host, so "
            "neither host's own firewall did it, unless a Windows host stands where the run had "
            "another one in its place. Then, in PowerShell as administrator:"
        )
    for each in endpoint.entrances(between):
        yield f"# On {each.host} ({each.address}), if it is the Windows host."
        for rule in each.rules:
            yield f"# {wording.says(rule)}."
            yield command(rule)
    for sentence in _remarks(rules, wanted):
        yield f"# {sentence}"


def command(rule: Rule) -> str:
    inbound = rule.way is Way.IN
    local, remote = (rule.destination, rule.source) if inbound else (rule.source, rule.destination)
    words = [
        "New-NetFirewallRule",
        f"-DisplayName 'ipsec-probe {wording.label(rule)} {_DIRECTIONS[rule.way].lower()}'",
        f"-Direction {_DIRECTIONS[rule.way]}",
        f"-Action {'Allow' if rule.action is Action.ALLOW else 'Block'}",
        f"-LocalAddress {local} -RemoteAddress {remote}",
    ]
    if rule.protocol == "icmp":
        icmp = "-Protocol ICMPv4 -IcmpType 8" if rule.family == 4 else "-Protocol ICMPv6"
        words.append(icmp if rule.family == 4 else f"{icmp} -IcmpType 128")
    else:
        words.append(f"-Protocol {_PROTOCOLS[rule.protocol]}")
    there, here = (
        (rule.source_port, rule.destination_port)
        if inbound
        else (rule.destination_port, rule.source_port)
    )
    words += [f"-LocalPort {wording.span(here)}"] if here else []
    words += [f"-RemotePort {wording.span(there)}"] if there else []
    return " ".join(words)


def _remarks(rules: Sequence[Rule], wanted: Sequence[Rule]) -> Iterator[str]:
    if any(rule.action is Action.ALLOW for rule in wanted):
        yield "A rule that blocks wins over these: Get-NetFirewallRule -Action Block -Enabled True."
    yield from endpoint.exits(
        wording.at(wanted, Place.NETWORK),
        "-Direction Outbound, with the addresses and ports swapped",
    )
    yield from wording.stateful(rules, "Look for a rule that blocks, and for the network.")
    yield from wording.reassembled(
        rules, "Windows sees datagrams put together: a firewall on the way drops the fragments."
    )
    yield from wording.from_one_port(wanted)
