"""An abstract firewall, and the same as nftables text.

A case is three hosts' worth of rules: the gateway's forward chain, with loss and NAT, and the input
and output chains of near and far. The oracle reads these records, the kernel reads the text; that
both mean the same is all that this module has to get right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OUTBOUND, INBOUND = "outbound", "inbound"
ACCEPT, DROP, REJECT = "accept", "drop", "reject"
FRESH = 0  # a source port that nobody can name beforehand
CONTROL = 5088
ICMP_TYPES = {
    4: {"request": "icmp type echo-request", "reply": "icmp type echo-reply"},
    6: {"request": "icmpv6 type echo-request", "reply": "icmpv6 type echo-reply"},
}
UDP_BODIES = {  # what tells the three kinds on port 4500 apart: the first four octets, the length
    "ike": "udp length > 12 @th,64,32 0",
    "esp": "udp length > 12 @th,64,32 != 0",
    "keepalive": "udp length 9",
}
GATEWAY = {  # by the way of what a NAT translates: the address that it hides the sender behind
    OUTBOUND: {4: "10.77.2.1", 6: "fd77:2::1"},
    INBOUND: {4: "10.77.1.1", 6: "fd77:1::1"},
}


@dataclass(frozen=True, slots=True)
class Packet:
    protocol: str  # "icmp", "esp", "ah", "udp", "tcp"
    source_port: int | None = None
    destination_port: int | None = None
    body: str = ""  # ICMP: "request", "reply", "error"; port 4500: "ike", "esp", "keepalive"


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule looks at in a packet; None: not at that."""

    protocol: str | None = None
    source_port: int | None = None
    destination_port: int | None = None
    body: str | None = None

    def fits(self, packet: Packet) -> bool:
        return (
            self.protocol in (None, packet.protocol)
            and self.source_port in (None, packet.source_port)
            and self.destination_port in (None, packet.destination_port)
            and self.body in (None, packet.body)
        )

    def nft(self, family: int) -> str:
        if self.protocol is None:
            return ""
        if self.protocol == "icmp":
            return (
                ICMP_TYPES[family][self.body] if self.body else "meta l4proto { icmp, ipv6-icmp }"
            )
        if self.protocol in ("esp", "ah"):
            return f"meta l4proto {self.protocol}"
        words = [f"meta l4proto {self.protocol}"]
        if self.source_port is not None:
            words.append(f"{self.protocol} sport {self.source_port}")
        if self.destination_port is not None:
            words.append(f"{self.protocol} dport {self.destination_port}")
        if self.body is not None:
            words.append(UDP_BODIES[self.body])
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Rule:
    """``way`` is for the gateway; a host's chains know theirs. ``state``: as ct names it."""

    action: str
    match: Match = Match()
    way: str | None = None
    states: tuple[str, ...] = ()
    reject_with: str = "icmpx type admin-prohibited"

    def fits(self, packet: Packet, way: str, state: str) -> bool:
        return (
            self.way in (None, way)
            and (not self.states or state in self.states)
            and self.match.fits(packet)
        )

    def nft(self, family: int) -> str:
        ends = {OUTBOUND: ("near0", "far0"), INBOUND: ("far0", "near0")}
        words = []
        if self.way is not None:
            words.append('iifname "{}" oifname "{}"'.format(*ends[self.way]))
        if self.states:
            words.append(f"ct state {','.join(self.states)}")
        words.append(self.match.nft(family))
        words.append(
            f"reject with {self.reject_with}" if self.action == REJECT else self.action,
        )
        return " ".join(filter(None, words))


@dataclass(frozen=True, slots=True)
class Chain:
    rules: tuple[Rule, ...] = ()
    policy: str = ACCEPT

    def judge(self, packet: Packet, way: str, state: str) -> str:
        return next(
            (rule.action for rule in self.rules if rule.fits(packet, way, state)), self.policy
        )

    @property
    def stateful(self) -> bool:
        return any(rule.states for rule in self.rules)

    def nft(self, name: str, family: int, before: tuple[str, ...]) -> str:
        head = f"type filter hook {name} priority filter; policy {self.policy};"
        lines = [head, *before, *(rule.nft(family) for rule in self.rules)]
        return "\n".join([f"  chain {name} {{", *(f"    {line}" for line in lines), "  }"])


@dataclass(frozen=True, slots=True)
class Host:
    input: Chain = Chain()
    output: Chain = Chain()

    @property
    def stateful(self) -> bool:
        return self.input.stateful or self.output.stateful

    def nft(self, family: int) -> str:
        allowed = (
            'iifname "lo" accept',
            f"tcp dport {CONTROL} accept",
            f"tcp sport {CONTROL} accept",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept",
        )
        chains = [
            self.input.nft("input", family, allowed),
            self.output.nft("output", family, allowed[1:]),
        ]
        return "\n".join(["table inet truth {", *chains, "}", ""])


@dataclass(frozen=True, slots=True)
class Nat:
    """Source NAT of what is begun in one direction, but for the control connection where that is
    inbound. ``protocols``: () is all. ``ports``: does it rewrite ports?
    """

    form: str  # "masquerade", "masquerade random", "snat"
    protocols: tuple[str, ...] = ()
    way: str = OUTBOUND

    @property
    def ports(self) -> bool:
        return self.form != "masquerade"

    def covers(self, protocol: str) -> bool:
        return not self.protocols or protocol in self.protocols

    def nft(self, family: int) -> str:
        lines: list[str] = []
        if self.form == "snat":
            gateway = GATEWAY[self.way][family]
            address = gateway if family == 4 else f"[{gateway}]"
            to = f"snat {'ip' if family == 4 else 'ip6'} to"
            lines += [
                # Below the ports that hosts take: Linux keeps a port that fits the range.
                f"meta l4proto {protocol} {to} {address}:20000-30000"
                for protocol in ("tcp", "udp")
                if self.covers(protocol)
            ]
            plain = f"{to} {gateway}"
        else:
            plain = self.form
        chosen = ", ".join(
            "ipv6-icmp" if p == "icmp" and family == 6 else p for p in self.protocols
        )
        lines.append(f"meta l4proto {{ {chosen} }} {plain}" if chosen else plain)
        head = "type nat hook postrouting priority srcnat;"
        out = {OUTBOUND: "far0", INBOUND: "near0"}[self.way]
        lines = [f'    oifname "{out}" {line}' for line in lines]
        return "\n".join(["  chain postrouting {", f"    {head}", *lines, "  }"])


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    family: int
    kinds: tuple[str, ...]  # as --only takes them
    forward: Chain
    loss: dict[str, int] = field(default_factory=dict)  # way → percent
    nat: Nat | None = None
    near: Host | None = None
    far: Host | None = None
    limited: bool = False  # do the hosts limit how often they send ICMP errors?

    @property
    def stateful(self) -> bool:
        return self.forward.stateful or self.nat is not None

    @property
    def hidden(self) -> bool:
        """Does the control connection pass the NAT as well, so that far knows of it?"""
        return self.nat is not None and self.nat.way == OUTBOUND and self.nat.covers("tcp")

    def gateway_nft(self) -> str:
        before = [f"tcp dport {CONTROL} accept", f"tcp sport {CONTROL} accept"]
        for way, percent in self.loss.items():
            out = "far0" if way == OUTBOUND else "near0"
            before.append(f'oifname "{out}" numgen random mod 100 < {percent} drop')
        chains = [self.forward.nft("forward", self.family, tuple(before))]
        if self.nat is not None:
            chains.insert(0, self.nat.nft(self.family))
        return "\n".join(["table inet truth {", *chains, "}", ""])

    def files(self) -> dict[str, str]:
        """Where → the rules to load there."""
        found = {"fw": self.gateway_nft()}
        for place, host in (("near", self.near), ("far", self.far)):
            if host is not None:
                found[place] = host.nft(self.family)
        return found
