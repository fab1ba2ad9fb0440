"""Random firewalls. The same seed and number give the same case, whatever else was drawn before."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.netns.truth.rules import (
    ACCEPT,
    DROP,
    INBOUND,
    OUTBOUND,
    REJECT,
    Case,
    Chain,
    Host,
    Match,
    Nat,
    Rule,
)

KINDS = (
    "icmp-echo",
    "esp",
    "ah",
    "ike",
    "ike-nat-t",
    "esp-in-udp",
    "nat-keepalive",
    "kerberos-udp",
    "kerberos-tcp",
)
ERRORS = ("admin-prohibited", "port-unreachable", "host-unreachable", "no-route")
STATES = (("new",), ("established",), ("new", "established"), ("established", "related"))
EVERYTHING = Match()

# What rules are written about. A stateless firewall must name the way back as well.
SUBJECTS = {
    "icmp-echo": (Match("icmp", body="request"), Match("icmp", body="reply")),
    "esp": (Match("esp"),),
    "ah": (Match("ah"),),
    "ike": (
        Match("udp", None, 500),
        Match("udp", 500, None),
        Match("udp", 500, 500),
    ),
    "ike-nat-t": (Match("udp", None, 4500, "ike"), Match("udp", 4500, None, "ike")),
    "esp-in-udp": (Match("udp", None, 4500, "esp"), Match("udp", 4500, None, "esp")),
    "nat-keepalive": (Match("udp", None, 4500, "keepalive"), Match("udp", 4500, None, "keepalive")),
    "kerberos-udp": (Match("udp", None, 88), Match("udp", 88, None)),
    "kerberos-tcp": (Match("tcp", None, 88), Match("tcp", 88, None)),
}
WIDE = (Match("udp"), Match("tcp"), Match("udp", None, 4500), Match("udp", 4500, None))


def generate(seed: int, number: int) -> Case:
    random = Random(f"{seed}/{number}")
    kinds = tuple(sorted(random.sample(KINDS, random.randint(3, 6)), key=KINDS.index))
    stateful = random.random() < 0.6
    forward = _chain(random, kinds, stateful, 0.8, (OUTBOUND, INBOUND))
    nat = _nat(random) if random.random() < 0.25 else None
    case = Case(
        name=f"{seed}/{number}",
        family=random.choice((4, 6)),
        kinds=kinds,
        forward=forward,
        loss=_loss(random) if random.random() < 0.2 else {},
        nat=nat,
        near=_host(random, kinds) if random.random() < 0.3 else None,
        far=_host(random, kinds) if random.random() < 0.4 else None,
        limited=random.random() < 0.3,
    )
    if nat is None and random.random() < 0.2:
        return replace(case, nat=replace(_nat(random), way=INBOUND))
    return case


def _chain(
    random: Random,
    kinds: tuple[str, ...],
    stateful: bool,
    density: float,
    ways: tuple[str | None, ...],
    open_share: float = 0.35,
) -> Chain:
    rules: list[Rule] = []
    for kind in kinds:
        for match in SUBJECTS[kind]:
            rules += [
                _rule(random, match, way, stateful) for way in ways if random.random() < density
            ]
    if random.random() < 0.15:
        rules.append(_rule(random, random.choice(WIDE), random.choice(ways), stateful))
    random.shuffle(rules)
    before: list[Rule] = []
    if stateful and random.random() < 0.7:
        before.append(Rule(ACCEPT, EVERYTHING, None, ("established", "related")))
    if stateful and random.random() < 0.2:
        before.append(Rule(DROP, EVERYTHING, None, ("invalid",)))
    policy = ACCEPT if random.random() < open_share else DROP
    if policy == DROP and random.random() < 0.3:
        rules.append(Rule(REJECT, EVERYTHING, reject_with=_error(random)))
    return Chain((*before, *rules), policy)


def _rule(random: Random, match: Match, way: str | None, stateful: bool) -> Rule:
    states: tuple[str, ...] = ()
    if stateful and random.random() < 0.6:
        states = random.choices(STATES, (6, 2, 1, 1))[0]
    action = random.choices((ACCEPT, DROP, REJECT), (6, 3, 2))[0]
    error = _error(random)
    if match.protocol == "tcp" and random.random() < 0.4:
        error = "tcp reset"
    return Rule(action, match, way, states, error)


def _error(random: Random) -> str:
    return f"icmpx type {random.choice(ERRORS)}"


def _loss(random: Random) -> dict[str, int]:
    percent = random.choice((2, 5, 10, 20, 30, 30, 40))
    ways = random.choice(((OUTBOUND,), (INBOUND,), (OUTBOUND, INBOUND)))
    return dict.fromkeys(ways, percent)


def _nat(random: Random) -> Nat:
    form = random.choice(("masquerade", "masquerade", "masquerade random", "snat"))
    protocols = random.choice(
        ((), (), ("udp",), ("esp", "ah"), ("udp", "tcp"), ("esp", "ah", "icmp"))
    )
    return Nat(form, protocols)


def _host(random: Random, kinds: tuple[str, ...]) -> Host:
    stateful = random.random() < 0.6
    which = random.choice(("input", "input", "output", "both"))
    closed, half = Chain(), 0.6
    chains = {
        name: _chain(random, kinds, stateful, 0.5, (None,), half) for name in ("input", "output")
    }
    return Host(
        input=chains["input"] if which != "output" else closed,
        output=chains["output"] if which != "input" else closed,
    )
