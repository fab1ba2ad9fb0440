"""What to do: the rule that is missing, and the diagnosis that only two findings together give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Event, Icmp, Side, Sighting
from probe.advise import advise
from probe.result import Conclusion, Outcome, Verdict
from scenarios import CELLS, Expect, Row
from tests.samples import lost, result, row, whole

PASS, GONE, MOOT = Outcome.DELIVERED, Outcome.LOST, Outcome.NOT_APPLICABLE
BOTH = "in both directions between 10.0.0.1 and 10.0.0.5"


def seen(conclusions: tuple[Conclusion, ...], *sightings: Sighting) -> tuple[Conclusion, ...]:
    """The same, each with these sightings as its evidence."""
    return tuple(replace(conclusion, evidence=sightings) for conclusion in conclusions)


def test_nothing_to_mend() -> None:
    assert advise(result(whole("esp"), whole("ike"))) == ()
    assert advise(result()) == ()


def test_what_is_only_told_asks_for_no_rule() -> None:
    told = Row("ah", expect=dict.fromkeys(CELLS, Expect.ANY))
    assert advise(result(whole("esp"), row(told, GONE, MOOT, GONE, MOOT))) == ()


def test_one_sentence_for_all_rules_of_a_direction() -> None:
    inbound_only = [row(Row(kind), PASS, MOOT, GONE, PASS) for kind in ("ah", "kerberos-udp")]
    assert advise(result(*inbound_only, whole("icmp-echo"))) == (
        "On the network firewall, allow inbound from 10.0.0.5 to 10.0.0.1, as new flows: "
        "IP protocol 51 (AH), UDP port 88 (Kerberos).",
    )


def test_ike_without_esp_is_a_tunnel_that_carries_nothing() -> None:
    assert advise(result(whole("ike"), lost("esp"))) == (
        "IKE passes, ESP does not: the tunnel will come up and carry nothing. On the network "
        f"firewall, allow IP protocol 50 (ESP) {BOTH}, or force UDP encapsulation on port 4500.",
    )


def test_udp_encapsulation_is_offered_as_far_as_it_passes() -> None:
    (sentence,) = advise(result(whole("ike"), lost("esp"), whole("esp-in-udp")))
    assert sentence.endswith("or force UDP encapsulation on port 4500, which passes.")
    first, second = advise(result(whole("ike"), lost("esp"), lost("esp-in-udp")))
    assert first.endswith("or allow UDP port 4500 and force UDP encapsulation.")
    assert second.endswith("as new flows: UDP port 4500 (IPsec NAT traversal).")


def test_esp_alone_is_no_tunnel() -> None:
    (sentence,) = advise(result(lost("ike"), lost("esp"), whole("ah")))
    assert sentence == (
        f"On the network firewall, allow {BOTH}, as new flows: UDP port 500 (IKE), "
        "IP protocol 50 (ESP)."
    )


@pytest.mark.parametrize(
    ("control", "begins"),
    [
        ("records", "and nothing else is known to: look at addresses, routes"),
        ("ssh", "and nothing else is known to"),  # it may go through a third host
        ("inband", ""),
    ],
)
def test_what_never_was_is_no_witness(control: str, begins: str) -> None:
    """There is a control connection by TCP alone; and only who talks knows of a way."""
    run = result(lost("icmp-echo"), lost("esp"))
    first = advise(replace(run, path=replace(run.path, control=control)))[0]
    assert "control connection" not in first
    assert begins in first
    gone = result(row(Row("kerberos-tcp"), *[Outcome.NOT_SENT] * 4))
    talks = control == "inband"
    told = advise(replace(gone, path=replace(gone.path, control=control)))
    assert any("in its own output rules" in text for text in told) is talks


def test_nothing_crosses_but_the_control_connection() -> None:
    sentences = advise(result(lost("icmp-echo"), lost("esp"), lost("ike")))
    assert "routes and IP forwarding are right" in sentences[0]
    assert "a filter drops whatever no rule" in sentences[0]
    assert "Nothing that was asked" not in advise(result(whole("icmp-echo"), lost("esp")))[0]


def test_replies_that_are_dropped() -> None:
    (sentence,) = advise(result(row(Row("kerberos-udp"), PASS, MOOT, MOOT, GONE)))
    assert sentence == (
        "On the network firewall, let replies through inbound from 10.0.0.5 to 10.0.0.1, by "
        "connection tracking or by a rule of their own: UDP from port 88 (Kerberos)."
    )


def test_a_rule_for_new_flows_serves_the_replies_where_no_port_tells_them_apart() -> None:
    for kind in ("esp", "ike"):
        *_, sentence = advise(result(row(Row(kind), PASS, MOOT, GONE, GONE)))
        assert "as new flows" in sentence
    assert len(advise(result(row(Row("kerberos-udp"), PASS, MOOT, GONE, GONE)))) == 2


def test_the_hosts_own_firewall() -> None:
    dropped = row(Row("esp"), Outcome.HOST_DROPPED, MOOT, PASS, PASS)
    (sentence,) = advise(result(dropped))
    assert sentence.startswith("On far itself (10.0.0.5), in its own firewall, allow outbound from")


def test_whoever_refuses_is_named() -> None:
    refused = row(Row("ah"), Outcome.REFUSED, MOOT, PASS, PASS)

    def by(sender: str, *more: Sighting) -> str:
        told = Sighting(Side.NEAR, Event.REFUSED, 0, 1, 0.0, icmp=Icmp(3, 13, sender))
        (sentence,) = advise(result(seen(refused, told, *more)))
        return sentence

    arrived = Sighting(Side.FAR, Event.ARRIVED, 0, 1, 0.0)
    assert by("10.0.0.254").startswith("On the firewall at 10.0.0.254, allow outbound")
    assert by("10.0.0.5", arrived).startswith("On far itself (10.0.0.5), which refuses it, allow")
    at_far = replace(arrived, check=7)  # far reports, and this is not among what it saw
    told = Sighting(Side.NEAR, Event.REFUSED, 0, 1, 0.0, icmp=Icmp(3, 13, "10.0.0.5"))
    (sentence,) = advise(result(seen(refused, told), seen(whole("icmp-echo"), at_far)))
    assert sentence.startswith("On a firewall that answers in far's name (10.0.0.5), allow")
    assert "far itself (10.0.0.5), or on a firewall that answers in its name" in by("10.0.0.5")


def test_ah_cannot_cross_nat() -> None:
    (sentence,) = advise(result(row(Row("ah"), *[Outcome.ALTERED] * 4)))
    assert "AH cannot cross NAT" in sentence


def test_nat_and_inspection_are_told_apart() -> None:
    altered = row(Row("ike"), *[Outcome.ALTERED] * 4)
    left = Sighting(Side.NEAR, Event.LEFT, 0, 1, 0.0, source="10.0.0.1", source_port=500)
    arrived = replace(left, at=Side.FAR, event=Event.ARRIVED)
    (nat,) = advise(result(seen(altered, left, replace(arrived, source_port=1024))))
    assert nat.startswith("NAT on the path changes the source of UDP port 500 (IKE)")
    (gateway,) = advise(result(seen(altered, left, arrived)))
    assert "turn off its inspection" in gateway


def test_a_rule_is_narrowed_to_what_it_still_stops() -> None:
    fresh = row(Row("ike", source_port="fresh"), GONE, MOOT, PASS, PASS)
    assert advise(result(whole("ike"), fresh))[0].endswith(
        "UDP port 500 (IKE) from any source port."
    )
    cut = Sighting(Side.NEAR, Event.LEFT, 0, 1, 0.0, stage="fragment")
    large = seen(row(Row("kerberos-udp", size=2000), GONE, MOOT, PASS, PASS), cut)
    assert advise(result(whole("kerberos-udp"), large))[0].endswith(
        "UDP port 88 (Kerberos) in packets of 2000 octets, fragments included."
    )
    keepalive = row(Row("nat-keepalive"), GONE, MOOT, PASS, PASS)
    assert advise(result(whole("esp-in-udp"), keepalive))[0].endswith("whatever it carries.")


def test_what_is_too_large_and_not_cut_up_is_no_rules_affair() -> None:
    large = row(Row("esp", size=1500), GONE, MOOT, PASS, PASS)
    (sentence,) = advise(result(whole("esp"), large))
    assert sentence.startswith("ESP of 1,500 octets does not fit through the path outbound.")
    assert "(fragmentation needed) back to the sender" in sentence


def test_what_never_left_its_own_host() -> None:
    stuck = row(Row("esp"), Outcome.NOT_SENT, MOOT, PASS, PASS)
    unsent = Sighting(Side.NEAR, Event.UNSENT, 0, 1, 0.0, note="EPERM")
    assert advise(result(seen(stuck, unsent))) == (
        "On near itself (10.0.0.1), allow IP protocol 50 (ESP) to 10.0.0.5 in its own output "
        "rules.",
    )
    assert advise(result(seen(stuck, replace(unsent, note="ENETUNREACH")))) == (
        "On near itself (10.0.0.1), add a route to 10.0.0.5.",
    )
    (silent,) = advise(result(stuck))  # the control connection has the same next hop
    assert silent.endswith("allow IP protocol 50 (ESP) to 10.0.0.5 in its own output rules.")


def test_what_passes_and_must_not() -> None:
    clear = Row("udp:1701", expect=dict.fromkeys(CELLS, Expect.BLOCK))
    assert advise(result(row(clear, PASS, GONE, GONE, PASS)))[0] == (
        "On the network firewall, deny UDP port 1701 (L2TP) in both directions between 10.0.0.1 "
        "and 10.0.0.5: it passes, and must not."
    )
    assert advise(result(row(clear, GONE, MOOT, GONE, MOOT))) == ()


def test_measure_again() -> None:
    (sentence,) = advise(result(row(Row("esp"), *[Outcome.LOSSY] * 4)))
    assert "--shots" in sentence
    strict = tuple(
        replace(c, verdict=Verdict.FAIL) for c in row(Row("esp"), *[Outcome.STATE_POSSIBLE] * 4)
    )
    (sentence,) = advise(result(strict))
    assert "--fresh wait" in sentence


def test_without_an_agent_a_reset_that_was_refused_is_a_firewalls() -> None:
    """Far's own would have been proof that the request got there."""
    refused = row(Row("kerberos-tcp"), Outcome.REFUSED, MOOT, MOOT, MOOT)
    reset = Sighting(Side.NEAR, Event.REFUSED, 1, 1, 0.0, "10.0.0.5", "10.0.0.1", stage="rst")
    told = result(seen(refused, reset))
    alone = replace(told, path=replace(told.path, control="none"))
    assert advise(alone)[0].startswith("On the firewall on the way that answers in far's name,")
    assert "or on a firewall that answers in its name" in advise(told)[0]
    error = replace(reset, stage="", icmp=Icmp(3, 13, "10.0.0.5"))
    asked = replace(alone, conclusions=result(seen(refused, error)).conclusions)
    assert "far itself (10.0.0.5), or on a firewall that answers in its name" in advise(asked)[0]
