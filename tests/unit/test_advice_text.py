"""What stands around the rules: what is to be known of the addresses, and what no rule mends."""

from __future__ import annotations

from dataclasses import replace

from agent.model import Event, Side, Sighting
from probe.advise import text
from probe.result import Outcome, Verdict
from scenarios import CELLS, Expect, Row
from tests.samples import lost, result, row, whole

PASS, GONE, MOOT = Outcome.DELIVERED, Outcome.LOST, Outcome.NOT_APPLICABLE
NO_ESP = result(whole("ike"), lost("esp"))


def rules(run: object, platform: str = "pf") -> str:
    """As one line."""
    written = text.rules(run, platform)  # type: ignore[arg-type]
    return " ".join(line.removeprefix("#").strip() for line in written.splitlines())


def test_what_no_rule_mends_is_said_beside_the_rules() -> None:
    moved = row(Row("ah"), Outcome.ALTERED, MOOT, PASS, PASS)
    told = rules(result(whole("ike"), lost("esp"), moved))
    assert "pass quick inet proto esp" in told
    assert "No rule mends this: AH was changed on its way" in told


def test_it_is_not_said_twice() -> None:
    moved = row(Row("ah"), Outcome.ALTERED, MOOT, PASS, PASS)
    assert rules(result(whole("esp"), moved)).count("AH cannot cross NAT") == 1


def test_a_firewall_beyond_the_nat_sees_another_address() -> None:
    hidden = replace(
        NO_ESP,
        near=replace(NO_ESP.near, seen_as="192.0.2.7"),
        path=replace(NO_ESP.path, near_behind_nat=True),
    )
    assert "a firewall beyond it sees 192.0.2.7 for 10.0.0.1" in rules(hidden)
    moved = replace(NO_ESP, far=replace(NO_ESP.far, seen_as="192.0.2.9"))
    assert "far is 10.0.0.5, and reached as 192.0.2.9" in rules(moved)
    assert "to 192.0.2.9" in rules(moved)  # what near sends to


def test_an_address_that_stood_for_near() -> None:
    asked = Sighting(Side.FAR, Event.LEFT, 0, 1, 0.0, destination="10.0.0.77")
    run = replace(
        NO_ESP, conclusions=tuple(replace(c, evidence=(asked,)) for c in NO_ESP.conclusions)
    )
    assert "10.0.0.77 stood for near where far asked it: the rules are for 10.0.0.1" in rules(run)
    assert "to 10.0.0.1 " in rules(run)


def test_what_may_have_got_in_as_a_reply_is_asked_again_not_denied() -> None:
    row_ = Row("esp", expect=dict.fromkeys(CELLS, Expect.BLOCK))
    unsure = tuple(
        replace(c, verdict=Verdict.WARN)
        for c in row(row_, Outcome.STATE_POSSIBLE, MOOT, MOOT, MOOT)
    )
    run = result(unsure)
    assert not text.settled(run)
    assert "--fresh wait" in text.sentences(run)
    assert "block" not in rules(run)


def test_nothing_of_a_file_steers_the_terminal() -> None:
    run = replace(NO_ESP, scenario="\x1b[2Jx")
    assert "\x1b" not in text.rules(run, "nftables")
