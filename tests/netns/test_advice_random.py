"""Random firewalls, advised on and mended with the real nft: what failed passes, nothing else does.

Several of these firewalls may stand in a row (a host's output, the gateway, the other host's
input), and one that is behind the first that drops cannot be seen before that one is mended. So a
rule that was followed is never asked for again; and in the end all is as expected, or the advice
says that no rule helps (NAT breaks AH, for one).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from probe.advise import text, wording
from probe.advise.diagnosis import beyond_rules
from probe.advise.rule import Rule
from probe.advise.rules import derive
from probe.advise.stopped import mendable
from probe.lab import Lab
from probe.result import RunResult, Verdict
from tests.netns import mending
from tests.netns.test_advice_nftables import follow
from tests.netns.truth.generate import generate
from tests.netns.truth.rules import Case

pytestmark = pytest.mark.netns

SEED = 88
CASES = 12
ROUNDS = 6  # three firewalls there, and three back for the replies
NO_LIMIT = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit"
USUAL = mending.rows("icmp-echo", expect="any")


def case(number: int) -> Case:
    return replace(generate(SEED, number), loss={}, limited=False)


def scenario(drawn: Case) -> str:
    asked = [kind for kind in drawn.kinds if kind != "icmp-echo"]
    return f'title = "{drawn.name}"\n' + USUAL + mending.rows(*asked)


@cache
def conduct(number: int) -> list[tuple[RunResult, str]]:
    """The runs, each with the advice that followed from it; the last one is the mended state."""
    drawn = case(number)
    runs: list[tuple[RunResult, str]] = []
    for _ in range(ROUNDS + 1):
        with Lab(None, drawn.family) as lab:
            for place, rules in drawn.files().items():
                lab.load(place, rules)
            for place in ("near", "far"):
                lab.run(place, ["sh", "-c", NO_LIMIT])
            for _result, advice in runs:
                follow(lab, advice)
            result = mending.ask(lab, scenario(drawn))
        runs.append((result, text.rules(result, "nftables")))
        if not derive(result).rules:
            break
    return runs


@pytest.mark.parametrize("number", range(CASES))
def test_advice_mends_it_or_says_that_no_rule_does(number: int) -> None:
    runs = conduct(number)
    for (before, advice), (after, _) in pairwise(runs):
        assert again(before, after) == [], advice
        assert mending.Trial(before, advice, after, None).opened() == [], advice
    last, _ = runs[-1]
    assert not [mending.name(c.check) for c in last.conclusions if mendable(last, c)]
    failing = [mending.name(c.check) for c in last.conclusions if c.verdict is Verdict.FAIL]
    assert not failing or beyond_rules(last), failing


def again(before: RunResult, after: RunResult) -> list[str]:
    """Rules that were asked for, given, and are asked for once more."""
    given = derive(before).rules
    return [
        wording.says(rule) for rule in derive(after).rules if any(covers(g, rule) for g in given)
    ]


def covers(given: Rule, rule: Rule) -> bool:
    return given.action is rule.action and given.covers(rule) and not rule.foreseen


def test_the_drawn_cases_have_something_to_mend() -> None:
    assert sum(bool(derive(conduct(n)[0][0]).rules) for n in range(CASES)) > CASES // 2
