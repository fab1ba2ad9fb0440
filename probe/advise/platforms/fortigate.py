"""FortiGate (FortiOS): custom services and one firewall policy for each direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Direction
from probe.advise import wording
from probe.advise.rule import Action, Place, Rule

TITLE = "FortiGate"
COMMENT = "#"
SOURCES = (
    "FortiOS CLI Reference: config firewall service custom (protocol-number, udp-portrange "
    "<destination>:<source>, icmptype)",
    "FortiOS CLI Reference: config firewall address, address6, policy; move in a table",
)

_INTERFACES = {Direction.OUTBOUND: ("NEAR-PORT", "FAR-PORT")}
_INTERFACES[Direction.INBOUND] = ("FAR-PORT", "NEAR-PORT")


def write(rules: Sequence[Rule]) -> Iterator[str]:
    through = [r for r in wording.new(wording.at(rules, Place.NETWORK)) if not r.only_large]
    if through:
        yield (
            "# On the firewall in between. NEAR-PORT and FAR-PORT are its interfaces (or zones) "
            "towards near and far: `get system interface`."
        )
        yield from _objects(through)
        yield "config firewall policy"
        runs = wording.runs(through)
        names = wording.numbered(f"probe-{run[0].direction}-{run[0].action}" for run in runs)
        for name, run in zip(names, runs, strict=True):
            yield from _policy(name, run)
        yield "end"
        yield (
            "# The new policies stand last: `show firewall policy` tells their numbers and that "
            "of the first one for these interfaces. Then, in this order, in `config firewall "
            "policy`: move NEW before FIRST"
        )
    network = wording.at(rules, Place.NETWORK)
    for sentence in (
        *wording.stateful(
            network, "Look for asymmetric routing: diagnose debug flow trace shows the reason."
        ),
        *wording.reassembled(
            network,
            "FortiOS puts them together before its policies look at ports; look for a DoS policy "
            "or an IPS signature that drops them.",
        ),
        *wording.from_one_port(through),
        *wording.not_here(rules),
    ):
        yield f"# {sentence}"


def _objects(rules: Sequence[Rule]) -> Iterator[str]:
    six = "6" if rules[0].family == 6 else ""
    yield f"config firewall address{six}"
    for end, address in zip(("near", "far"), wording.ends(rules), strict=True):
        yield f'    edit "probe-{end}"'
        setting = "ip6" if six else "subnet"
        yield f"        set {setting} {wording.network(rules[0], address)}"
        yield "    next"
    yield "end"
    yield "config firewall service custom"
    for name, rule in {wording.label(rule): rule for rule in rules}.items():
        yield f'    edit "probe-{name}"'
        yield from (f"        set {setting}" for setting in _service(rule))
        yield "    next"
    yield "end"


def _service(rule: Rule) -> list[str]:
    if rule.protocol == "icmp":
        return (
            ["protocol ICMP", "icmptype 8"]
            if rule.family == 4
            else [
                "protocol ICMP6",
                "icmptype 128",
            ]
        )
    if rule.protocol in ("esp", "ah"):
        return ["protocol IP", f"protocol-number {wording.NUMBERS[rule.protocol]}"]
    ports = wording.span(rule.destination_port) if rule.destination_port else "1-65535"
    if rule.source_port:
        ports += f":{wording.span(rule.source_port)}"
    return ["protocol TCP/UDP/SCTP", f"{rule.protocol}-portrange {ports}"]


def _policy(name: str, rules: Sequence[Rule]) -> Iterator[str]:
    rule = rules[0]
    six = "6" if rule.family == 6 else ""
    origin, target = wording.ENDS[rule.direction]
    services = " ".join(f'"probe-{wording.label(each)}"' for each in rules)
    yield f"# {'; '.join(wording.says(each) for each in rules)}."
    yield "    edit 0"
    interfaces = _INTERFACES[rule.direction]
    yield f'        set name "{name}"'
    yield f'        set srcintf "{interfaces[0]}"'
    yield f'        set dstintf "{interfaces[1]}"'
    yield f'        set srcaddr{six} "probe-{origin}"'
    yield f'        set dstaddr{six} "probe-{target}"'
    yield f"        set service {services}"
    yield '        set schedule "always"'
    yield f"        set action {'accept' if rule.action is Action.ALLOW else 'deny'}"
    yield "    next"
