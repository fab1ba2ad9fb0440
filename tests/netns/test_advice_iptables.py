"""iptables and ip6tables rules that were advised, given to the real tools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from probe.lab import Lab
from tests.netns import mending

pytestmark = pytest.mark.netns

ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


def closed(chain: str, *more: str) -> str:
    """A script that closes a built-in chain of both tools to all but the control connection."""
    lines = ["set -eu"]
    for tool in ("iptables", "ip6tables"):
        lines += [
            f"{tool} -A {chain} -p tcp --dport 5088 -j ACCEPT",
            f"{tool} -A {chain} -p tcp --sport 5088 -j ACCEPT",
            *(f"{tool} -A {chain} {rule}" for rule in more),
        ]
    lines += [
        f"ip6tables -A {chain} -p icmpv6 --icmpv6-type {kind} -j ACCEPT" for kind in (135, 136)
    ]
    lines += [f"{tool} -P {chain} DROP" for tool in ("iptables", "ip6tables")]
    return "\n".join(lines) + "\n"


def at(**scripts: str) -> Callable[[Lab], None]:
    def install(lab: Lab) -> None:
        for where, script in scripts.items():
            mending.shell(lab, where, script)

    return install


follow = mending.by_section(mending.shell)

CASES = {
    "closed": at(fw=closed("FORWARD")),
    "stateful": at(fw=closed("FORWARD", ESTABLISHED)),
    "reject": at(fw=closed("FORWARD", ESTABLISHED, "-j REJECT")),
    "far-in": at(far=closed("INPUT", ESTABLISHED)),
    "near-both": at(near=closed("INPUT") + closed("OUTPUT")),
}


@pytest.mark.parametrize(("case", "family"), mending.both(CASES))
def test_every_row_that_failed_passes_and_nothing_else(case: str, family: int) -> None:
    trial = mending.conduct("iptables", CASES[case], follow, family=family, stranger=family == 4)
    assert trial.still_failing() == [], trial.advice
    assert trial.opened() == [], trial.advice


@pytest.mark.parametrize("family", [4, 6])
def test_fragments(family: int) -> None:
    scenario = 'title = "large"\n' + mending.rows("ike")
    scenario += mending.rows("ike", "kerberos-udp", more="size = 2000")
    trial = mending.conduct(
        "iptables",
        at(fw="iptables -A FORWARD -f -j DROP\nip6tables -A FORWARD -m frag --fraglast -j DROP\n"),
        follow,
        scenario=scenario,
        family=family,
        stranger=False,
    )
    assert sum(c.outcome == "lost" for c in trial.before.conclusions) >= 2
    assert trial.still_failing() == [], trial.advice


def test_what_must_not_pass_is_blocked() -> None:
    scenario = 'title = "deny"\n' + mending.rows("esp", "ike")
    scenario += mending.rows("udp:1701", expect="block")
    trial = mending.conduct(
        "iptables", lambda _lab: None, follow, scenario=scenario, stranger=False
    )
    assert sum(c.verdict == "fail" for c in trial.before.conclusions) == 4
    assert all(c.verdict != "fail" for c in trial.after.conclusions), trial.advice
