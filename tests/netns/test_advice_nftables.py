"""nftables rules that were advised, given to the real nft in the firewall they are for."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from probe.lab import Lab, load_firewall
from tests.netns import mending

pytestmark = pytest.mark.netns

STATELESS = """
table inet {table} {{
    chain {chain} {{
        type filter hook {hook} priority filter; policy drop;
        tcp dport 5088 accept
        tcp sport 5088 accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    }}
}}
"""
STATEFUL = STATELESS.replace("icmpv6", "ct state established,related accept\n        icmpv6")
CLOSED_FORWARD = STATELESS.format(table="site", chain="transit", hook="forward")
STATEFUL_FORWARD = STATEFUL.format(table="site", chain="transit", hook="forward")
REJECTING = CLOSED_FORWARD.replace(
    "    }\n}", "        reject with icmpx admin-prohibited\n    }\n}"
)
INPUT = STATEFUL.format(table="own", chain="mine", hook="input")
OUTPUT = STATELESS.format(table="own2", chain="sent", hook="output")
# An explicit drop, far in front of what is allowed: advice must come before it.
NO_ESP = CLOSED_FORWARD.replace("policy drop", "policy accept").replace(
    "    }\n}", "        meta l4proto { esp, ah } drop\n        udp dport 500 drop\n    }\n}"
)


def at(**rules: str) -> Callable[[Lab], None]:
    """Loads rules in near, fw or far."""

    def install(lab: Lab) -> None:
        for where, text in rules.items():
            lab.load(where, text)

    return install


def follow(lab: Lab, advice: str) -> None:
    """As its reader would: the chain is the one with that hook."""
    for where, script in mending.sections(advice):
        rules = lab.run(where, ["nft", "list", "ruleset"]).stdout
        hook = re.search(r"inet filter (\w+)'", script)
        assert hook, script
        found = re.search(
            rf"table (\w+) (\w+) {{(?:(?!\ntable).)*?chain (\w+) {{\s*type filter hook {hook[1]}",
            rules,
            re.DOTALL,
        )
        if found is None:  # nothing is to be done there, it says
            continue
        mending.shell(lab, where, script, {"chain": " ".join(found.groups())})


CASES = {
    "closed": at(fw=CLOSED_FORWARD),
    "stateful": at(fw=STATEFUL_FORWARD),
    "reject": at(fw=REJECTING),
    "no-esp": at(fw=NO_ESP),
    "far-in": at(far=INPUT),
    "near-in": at(near=INPUT),
    "far-out": at(far=OUTPUT),
    "near-both": at(near=INPUT + OUTPUT),
}


@pytest.mark.parametrize(("case", "family"), mending.both(CASES))
def test_every_row_that_failed_passes_and_nothing_else(case: str, family: int) -> None:
    trial = mending.conduct("nftables", CASES[case], follow, family=family, stranger=family == 4)
    assert trial.still_failing() == [], trial.advice
    assert trial.opened() == [], trial.advice


@pytest.mark.parametrize(
    "name", ["esp-missing", "udp500-missing", "one-way-in", "one-way-out", "outbound-only"]
)
def test_the_ready_made_firewalls(name: str) -> None:
    path = load_firewall(name).path
    trial = mending.conduct("nftables", lambda lab: lab.load("fw", path), follow, stranger=False)
    assert trial.still_failing() == [], trial.advice
    assert trial.opened() == [], trial.advice


@pytest.mark.parametrize("family", [4, 6])
def test_fragments(family: int) -> None:
    path = load_firewall("no-fragments").path
    scenario = 'title = "large"\n' + mending.rows("ike", "kerberos-udp")
    scenario += mending.rows("ike", "kerberos-udp", more="size = 2000")
    scenario += mending.rows("ike", more='size = 2000\nfragmenting = "last-first"')
    trial = mending.conduct(
        "nftables",
        lambda lab: lab.load("fw", path),
        follow,
        scenario=scenario,
        family=family,
        stranger=False,
    )
    assert sum(c.outcome == "lost" for c in trial.before.conclusions) >= 4
    assert trial.still_failing() == [], trial.advice


def test_what_must_not_pass_is_blocked_and_its_neighbours_are_not() -> None:
    scenario = 'title = "deny"\n' + mending.rows("esp", "ike", "udp:1702")
    scenario += mending.rows("udp:1701", expect="block")
    scenario += mending.rows("ah", expect="block", more='direction = "inbound"')
    path = load_firewall("open").path
    trial = mending.conduct("nftables", lambda lab: lab.load("fw", path), follow, scenario=scenario)
    assert len([c for c in trial.before.conclusions if c.verdict == "fail"]) >= 3
    assert trial.still_failing() == [], trial.advice
    assert all(c.verdict != "fail" for c in trial.after.conclusions), trial.advice
