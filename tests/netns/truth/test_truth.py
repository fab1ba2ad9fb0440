"""Random firewalls, really run, and what is said of them held against an independent oracle.

``make soak`` does this with hundreds. Here the seed is fixed, so that a failure is a failure again.
"""

from __future__ import annotations

import pytest

from tests.netns.truth.generate import generate
from tests.netns.truth.oracle import allowed
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
from tests.netns.truth.trial import conduct, with_loss

SEED = 233256
CASES = 24

STATEFUL = Rule(ACCEPT, states=("established", "related"))
OUT_ONLY = Chain((STATEFUL, Rule(ACCEPT, way=OUTBOUND)), DROP)
KINDS = ("esp", "ike", "kerberos-udp", "kerberos-tcp")


@pytest.mark.netns
@pytest.mark.parametrize("number", range(CASES))
def test_the_program_says_what_the_rules_call_for(number: int) -> None:
    told = [str(disagreement) for disagreement in conduct(generate(SEED, number)).disagreements]
    assert not told, "\n".join([*told, f"python tests/soak.py --seed {SEED} --case {number}"])


@pytest.mark.netns
def test_loss_is_no_drop_and_a_drop_beneath_it_is_found() -> None:
    dropped = Match("ah")
    for outcomes in with_loss(runs=2, percent=30, dropped=dropped, kinds=("esp", "ah")):
        for (kind, _, flow), said in outcomes.items():
            if kind == "ah":
                # Too little measured to tell is honest, and then nothing is known of the reply.
                settled = "lost" if flow == "new" else "not-applicable"
                assert said in (settled, "unobserved")
            else:
                assert said in ("delivered", "state-possible", "lossy")


# -- the oracle itself: cases whose answer is known without it ---------------------------------


def answers(case: Case) -> dict[str, tuple[set[str], ...]]:
    """kind → outbound new, inbound reply, inbound new, outbound reply."""
    right = allowed(case)
    order = ((OUTBOUND, "new"), (INBOUND, "reply"), (INBOUND, "new"), (OUTBOUND, "reply"))
    kinds = dict.fromkeys(kind for kind, _, _ in right)
    return {kind: tuple(set(right[kind, *cell]) for cell in order) for kind in kinds}


@pytest.mark.parametrize("family", [4, 6])
def test_out_only_means_that_nothing_new_comes_in(family: int) -> None:
    told = answers(Case("", family, KINDS, OUT_ONLY))
    shut = {"lost"}, {"not-applicable"}
    assert told["kerberos-udp"] == ({"delivered"}, {"delivered"}, *shut)
    assert told["kerberos-tcp"] == ({"delivered"}, {"delivered"}, *shut)
    assert told["esp"] == ({"delivered", "state-possible"}, {"delivered"}, *shut)


def test_what_only_the_run_itself_opened_is_not_delivered() -> None:
    """In is allowed, out only as a reply: ESP outbound then rides on ESP inbound."""
    chain = Chain((STATEFUL, Rule(ACCEPT, way=INBOUND)), DROP)
    told = answers(Case("", 4, KINDS, chain))
    assert told["esp"][0] == {"state-possible"}
    assert told["ike any"][0] == told["kerberos-udp"][0] == {"lost"}
    # The same, with far's own firewall as the one that remembers.
    closed = Host(input=Chain((STATEFUL,), DROP))
    told = answers(Case("", 4, KINDS, OUT_ONLY, far=closed))
    assert told["esp"][0] == {"state-possible"}
    assert told["kerberos-udp"][0] == {"host-dropped"}


def test_without_state_a_reply_needs_a_rule_of_its_own() -> None:
    told = answers(Case("", 4, KINDS, Chain((Rule(ACCEPT, way=OUTBOUND),), DROP)))
    assert told["kerberos-udp"][:2] == ({"delivered"}, {"lost"})
    assert told["kerberos-tcp"][:2] == ({"delivered"}, {"lost"})


def test_a_host_that_refuses_itself_and_one_that_cannot_send() -> None:
    udp = Match("udp", None, 88)
    far = Host(input=Chain((Rule(REJECT, udp),)))
    near = Host(output=Chain((Rule(DROP, Match("esp")),)))
    told = answers(Case("", 4, KINDS, Chain(), near=near, far=far))
    assert told["kerberos-udp"][0] == {"refused"}
    assert told["esp"] == ({"not-sent"}, {"not-applicable"}, {"delivered"}, {"not-sent"})


def test_nat_hides_near_breaks_ah_and_moves_port_500() -> None:
    told = answers(Case("", 4, ("ah", "ike"), OUT_ONLY, nat=Nat("snat")))
    assert told["ah"][:2] == ({"altered"}, {"altered"})
    assert told["ike"][:2] == ({"altered"}, {"delivered"})
    assert told["ike any"][:2] == ({"delivered"}, {"delivered"})
    assert told["ike"][2] == {"not-applicable"}


def test_what_a_nat_translated_inbound_is_in_the_way_outbound() -> None:
    nat = Nat("masquerade", ("esp",), INBOUND)
    told = answers(Case("", 4, ("icmp-echo", "esp"), Chain(), nat=nat))
    assert told["esp"][0] == {"unobserved"}
    assert told["esp"][2:] == ({"delivered"}, {"delivered"})
    closed = Chain((Rule(DROP, Match("esp"), INBOUND),))
    told = answers(Case("", 4, ("icmp-echo", "esp"), closed, nat=nat))
    assert told["esp"][0] == {"delivered", "state-possible"}


def test_where_a_ping_shows_such_a_nat_outbound_is_asked_first() -> None:
    told = answers(Case("", 4, ("icmp-echo", "esp"), Chain(), nat=Nat("masquerade", (), INBOUND)))
    assert told["esp"][:2] == ({"delivered"}, {"delivered"})
    assert told["esp"][2] == {"delivered", "state-possible"}


@pytest.mark.parametrize("policy", [ACCEPT, DROP])
def test_under_loss_an_allowed_check_is_never_lost_nor_a_forbidden_one_delivered(
    policy: str,
) -> None:
    case = Case("", 4, KINDS, Chain((), policy), loss={OUTBOUND: 30, INBOUND: 30})
    wrong = "lost" if policy == ACCEPT else "delivered"
    assert all(wrong not in outcomes for outcomes in allowed(case).values())


def test_a_case_depends_on_its_seed_and_number_alone() -> None:
    assert generate(1, 2) == generate(1, 2)
    assert generate(1, 2) != generate(1, 3) != generate(2, 3)
