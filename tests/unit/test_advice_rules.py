"""The rules that follow from a result, before any firewall's language: the fewest, and exact."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Direction, Event, Flow, Fragmenting, Icmp, Side, Sighting
from probe.advise.rule import Action, Mending, Place, Rule, Way
from probe.advise.rules import derive
from probe.result import Conclusion, Outcome, RunResult, Verdict
from scenarios import CELLS, Expect, Row
from tests.samples import judge, lost, only, result, row, whole

PASS, GONE, MOOT = Outcome.DELIVERED, Outcome.LOST, Outcome.NOT_APPLICABLE
HOST, UNSENT = Outcome.HOST_DROPPED, Outcome.NOT_SENT
OUT, IN = Direction.OUTBOUND, Direction.INBOUND


def short(mending: Mending) -> list[str]:
    """ "network allow udp 10.0.0.1:500 > 10.0.0.5:500", with what else there is to say."""
    return [_short(rule) for rule in mending.rules]


def _short(rule: Rule) -> str:
    where = rule.place if rule.place is Place.NETWORK else f"{rule.place}-{rule.way}"
    ends = [
        address + ("" if ports is None else f":{'-'.join(map(str, sorted(set(ports))))}")
        for address, ports in (
            (rule.source, rule.source_port),
            (rule.destination, rule.destination_port),
        )
    ]
    marks = ["reply"] if rule.flow is Flow.REPLY else []
    marks += [m for m in ("foreseen", "fragments", "only_large", "only_new") if getattr(rule, m)]
    return " ".join([where, rule.action, rule.protocol, " > ".join(ends), *marks])


def seen(conclusions: tuple[Conclusion, ...], *sightings: Sighting) -> tuple[Conclusion, ...]:
    return tuple(replace(conclusion, evidence=sightings) for conclusion in conclusions)


def blocked(*kinds: str) -> list[tuple[Conclusion, ...]]:
    """Kinds that must not pass and do."""
    expect = dict.fromkeys(CELLS, Expect.BLOCK)
    return [row(Row(kind, expect=expect), PASS, PASS, PASS, PASS) for kind in kinds]


def test_nothing_failed_nothing_follows() -> None:
    assert derive(result(whole("esp"), whole("kerberos-tcp"))) == Mending()
    told = Row("ah", expect=dict.fromkeys(CELLS, Expect.ANY))
    assert derive(result(row(told, GONE, MOOT, GONE, MOOT))) == Mending()


def test_both_directions_of_esp_are_each_others_reply() -> None:
    assert short(derive(result(lost("esp")))) == [
        "network allow esp 10.0.0.1 > 10.0.0.5",
        "network allow esp 10.0.0.5 > 10.0.0.1",
    ]


def test_kinds_that_share_a_port_share_a_rule() -> None:
    fresh = row(Row("ike", source_port="fresh"), GONE, MOOT, PASS, PASS)
    assert short(derive(result(only(lost("ike"), OUT)[:1], fresh))) == [
        "network allow udp 10.0.0.1 > 10.0.0.5:500"
    ]
    three = [only(lost(kind), OUT)[:1] for kind in ("ike-nat-t", "esp-in-udp", "nat-keepalive")]
    assert short(derive(result(*three))) == ["network allow udp 10.0.0.1 > 10.0.0.5:4500"]


def test_a_source_port_that_was_asked_alone_is_kept() -> None:
    assert short(derive(result(lost("ike"))))[0] == "network allow udp 10.0.0.1:500 > 10.0.0.5:500"


def test_a_new_flow_needs_its_reply_unless_established_flows_were_seen_to_pass() -> None:
    asked = row(Row("kerberos-udp"), GONE, MOOT, PASS, MOOT)
    assert short(derive(result(asked))) == [
        "network allow udp 10.0.0.1 > 10.0.0.5:88",
        "network allow udp 10.0.0.5:88 > 10.0.0.1 reply foreseen",
    ]
    # ESP inbound was dropped cold and passed as a reply: the firewall keeps state.
    kept = row(Row("esp"), PASS, MOOT, GONE, PASS)
    assert "network allow udp 10.0.0.5:88 > 10.0.0.1 reply foreseen" not in short(
        derive(result(asked, kept))
    )


def test_a_reply_that_was_dropped_gets_a_rule_for_replies() -> None:
    dropped = row(Row("kerberos-tcp"), PASS, MOOT, PASS, GONE)
    assert short(derive(result(dropped))) == [
        "network allow tcp 10.0.0.5:88 > 10.0.0.1 reply",
    ]


def test_the_rule_stands_where_the_packet_died() -> None:
    assert short(derive(result(row(Row("ah"), HOST, MOOT, HOST, MOOT)))) == [
        "near-in allow ah 10.0.0.5 > 10.0.0.1",
        "far-in allow ah 10.0.0.1 > 10.0.0.5",
    ]
    stuck = row(Row("esp"), UNSENT, MOOT, PASS, PASS)
    eperm = Sighting(Side.NEAR, Event.UNSENT, 0, 1, 0.0, note="EPERM")
    assert short(derive(result(seen(stuck, eperm)))) == ["near-out allow esp 10.0.0.1 > 10.0.0.5"]
    no_route = replace(eperm, note="ENETUNREACH")
    assert derive(result(seen(stuck, no_route))).rules == ()


def test_who_refused_is_believed_only_if_the_target_saw_it_arrive() -> None:
    refused = row(Row("ah"), Outcome.REFUSED, MOOT, PASS, PASS)
    told = Sighting(Side.NEAR, Event.REFUSED, 0, 1, 0.0, icmp=Icmp(3, 13, "10.0.0.5"))
    (rule,) = derive(result(seen(refused, told))).rules
    assert (rule.place, rule.at) == (Place.NETWORK, "")
    arrived = Sighting(Side.FAR, Event.ARRIVED, 0, 1, 0.0)
    (rule,) = derive(result(seen(refused, told, arrived))).rules
    assert (rule.place, rule.way) == (Place.FAR, Way.IN)
    router = replace(told, icmp=Icmp(3, 13, "10.0.0.254"))
    (rule,) = derive(result(seen(refused, router))).rules
    assert (rule.place, rule.at) == (Place.NETWORK, "10.0.0.254")


def test_a_syn_that_nobody_answered() -> None:
    """Input or output? What became of the other kinds tells."""
    silent = row(Row("kerberos-tcp"), HOST, MOOT, PASS, PASS)
    mute = seen(
        row(Row("kerberos-udp"), PASS, MOOT, UNSENT, UNSENT),
        Sighting(Side.FAR, Event.UNSENT, 0, 1, 0.0, note="EPERM"),
    )
    deaf = row(Row("kerberos-udp"), HOST, MOOT, PASS, PASS)
    answer = "far-out allow tcp 10.0.0.5:88 > 10.0.0.1 reply"
    request = "far-in allow tcp 10.0.0.1 > 10.0.0.5:88"
    assert [r for r in short(derive(result(silent, mute))) if "tcp" in r] == [
        f"{request} foreseen",
        answer,
    ]
    assert [r for r in short(derive(result(silent, deaf))) if "tcp" in r] == [request]
    assert short(derive(result(silent))) == [request, f"{answer} foreseen"]


def test_fragments() -> None:
    cut = Sighting(Side.NEAR, Event.LEFT, 0, 1, 0.0, stage="fragment")
    large = seen(row(Row("ike", size=2000), GONE, MOOT, PASS, PASS), cut)
    assert short(derive(result(whole("ike"), large))) == [
        "network allow udp 10.0.0.1:500 > 10.0.0.5:500 fragments only_large"
    ]
    both = derive(result(row(Row("ike"), GONE, MOOT, PASS, PASS), large))
    assert short(both) == ["network allow udp 10.0.0.1:500 > 10.0.0.5:500 fragments"]


def test_what_is_too_large_for_the_path_gets_no_rule() -> None:
    full = row(Row("esp", size=1500), GONE, MOOT, PASS, PASS)
    assert derive(result(whole("esp"), full)).rules == ()
    back = row(Row("ike", size=2000, fragmenting=Fragmenting.LAST_FIRST), GONE, MOOT, PASS, PASS)
    turned = tuple(
        replace(c, check=replace(c.check, fragmenting=Fragmenting.LAST_FIRST)) for c in back
    )
    assert short(derive(result(whole("ike"), turned)))[0].endswith("fragments only_large")


def test_a_sampled_range_gives_a_rule_for_the_range() -> None:
    sampled = [only(lost(f"tcp:{port}"), OUT)[:1] for port in (5000, 5500, 5999)]
    note = (
        "TCP 5000 to 5999: 3 of 1,000 ports were tried (5000, 5500, 5999); a rule may treat the "
        "others differently"
    )
    found = derive(replace(result(*sampled), notes=(note,)))
    assert short(found) == ["network allow tcp 10.0.0.1 > 10.0.0.5:5000-5999"]


def test_what_passes_and_must_not() -> None:
    assert short(derive(result(*blocked("udp:1701")))) == [
        "network deny udp 10.0.0.1 > 10.0.0.5:1701",
        "network deny udp 10.0.0.5 > 10.0.0.1:1701",
    ]


def test_a_denial_spares_what_must_pass() -> None:
    any_source = Row("ike", source_port="fresh", expect=dict.fromkeys(CELLS, Expect.BLOCK))
    mending = derive(result(whole("ike"), row(any_source, PASS, MOOT, GONE, MOOT)))
    assert short(mending) == [
        "network allow udp 10.0.0.1:500 > 10.0.0.5:500",
        "network deny udp 10.0.0.1 > 10.0.0.5:500",
    ]
    out_only = {(OUT, Flow.NEW): Expect.BLOCK}
    mending = derive(result(row(Row("esp", expect=out_only), PASS, PASS, PASS, PASS)))
    assert short(mending) == ["network deny esp 10.0.0.1 > 10.0.0.5 only_new"]


def test_a_narrow_denial_stands_in_front_of_what_a_wide_one_spares() -> None:
    """Replies that must not pass, inside a flow that must, beside other sources that must not."""
    first = row(Row("ike", expect={(OUT, Flow.REPLY): Expect.BLOCK}), *[PASS] * 4)
    fresh = Row("ike", source_port="fresh", expect={(OUT, Flow.NEW): Expect.BLOCK})
    mending = derive(result(first, row(fresh, *[PASS] * 4)))
    assert [(r.action, r.flow, r.source_port) for r in mending.rules] == [
        (Action.DENY, Flow.REPLY, (500, 500)),
        (Action.ALLOW, Flow.NEW, (500, 500)),
        (Action.DENY, Flow.NEW, None),
    ]


def test_a_reply_that_is_spared_is_not_left_to_a_wide_rule_behind_the_denial() -> None:
    fresh = Row("ike", source_port="fresh", expect={(IN, Flow.REPLY): Expect.BLOCK})
    mending = derive(result(whole("ike"), row(fresh, PASS, PASS, Outcome.REFUSED, PASS)))
    assert [(r.action, r.flow, r.source_port, r.destination_port) for r in mending.rules] == [
        (Action.ALLOW, Flow.REPLY, (500, 500), (500, 500)),
        (Action.DENY, Flow.REPLY, (500, 500), None),
        (Action.ALLOW, Flow.NEW, None, (500, 500)),
    ]


def test_what_is_spared_does_not_open_what_is_rightly_blocked() -> None:
    first = row(Row("ike", expect={(OUT, Flow.REPLY): Expect.BLOCK}), PASS, GONE, PASS, PASS)
    fresh = Row("ike", source_port="fresh", expect={(OUT, Flow.NEW): Expect.BLOCK})
    mending = derive(result(first, row(fresh, *[PASS] * 4)))
    assert (mending.rules[0].action, mending.rules[0].flow) == (Action.DENY, Flow.REPLY)


def test_a_rule_does_not_open_what_is_rightly_blocked() -> None:
    fixed = Row("ike", expect=dict.fromkeys(CELLS, Expect.BLOCK))
    fresh = row(Row("ike", source_port="fresh"), GONE, MOOT, PASS, PASS)
    mending = derive(result(row(fixed, GONE, MOOT, GONE, MOOT), fresh))
    assert short(mending)[:2] == [
        "network deny udp 10.0.0.1:500 > 10.0.0.5:500",
        "network allow udp 10.0.0.1 > 10.0.0.5:500",
    ]


def test_what_no_filter_can_tell_apart_is_said() -> None:
    noise = Row("ike-noise", source_port=500, expect=dict.fromkeys(CELLS, Expect.BLOCK))
    mending = derive(result(whole("ike"), row(noise, PASS, MOOT, GONE, MOOT)))
    assert mending.rules == ()
    assert "no filter rule can tell them apart" in mending.limits[0]


def test_a_host_that_is_seen_by_another_address() -> None:
    """Behind NAT, far's own firewall sees the address that near was given."""
    run = result(row(Row("ike"), HOST, MOOT, MOOT, MOOT))
    run = replace(
        run,
        near=replace(run.near, seen_as="192.0.2.7"),
        path=replace(run.path, near_behind_nat=True),
    )
    assert short(derive(run)) == ["far-in allow udp 192.0.2.7:500 > 10.0.0.5:500"]


def test_a_result_from_a_file_cannot_put_words_into_a_command() -> None:
    for address in ("10.0.0.1; reboot", "$(reboot)", "10.0.0.1\n", "", "fe80::1%eth0;reboot"):
        run = result(lost("esp"))
        run = replace(run, near=replace(run.near, address=address))
        mending = derive(run)
        assert mending.rules == () or mending.rules[0].source == "fe80::1"
        assert mending.rules or mending.limits
    unknown = tuple(replace(c, check=replace(c.check, kind="$(x)")) for c in lost("esp"))
    assert derive(result(unknown)).rules == ()


KINDS = ("esp", "ah", "ike", "ike-nat-t", "esp-in-udp", "kerberos-udp", "kerberos-tcp", "udp:1701")


@st.composite
def results(draw: st.DrawFn) -> RunResult:
    rows = []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5)):
        expect = {cell: draw(st.sampled_from(Expect)) for cell in CELLS}
        fresh = draw(st.booleans()) and kind.startswith("ike")
        asked = Row(kind, source_port="fresh" if fresh else None, expect=expect)
        outcomes = [draw(st.sampled_from(Outcome)) for _ in CELLS]
        rows.append(row(asked, *outcomes))
    return result(*rows)


def fits(rule: Rule, conclusion: Conclusion) -> bool:
    check = conclusion.check
    names = {"esp": "esp", "ah": "ah", "kerberos-tcp": "tcp"}
    return (
        rule.direction is check.direction
        and rule.protocol == names.get(check.kind, "udp")
        and (rule.flow is Flow.NEW or check.flow is Flow.REPLY)
        and not (rule.only_new and check.flow is Flow.REPLY)
        and all(
            ports is None or (port is not None and ports[0] <= port <= ports[1])
            for ports, port in (
                (rule.source_port, check.source_port),
                (rule.destination_port, check.destination_port),
            )
        )
    )


@given(results())
def test_what_failed_is_let_through_and_what_must_not_pass_is_not(run: RunResult) -> None:
    """By the first rule that fits, in the network; but for what no filter can tell apart."""
    mending = derive(run)
    through = [rule for rule in mending.rules if rule.place is Place.NETWORK]
    for conclusion in run.conclusions:
        first = next((rule.action for rule in through if fits(rule, conclusion)), None)
        fails = judge(conclusion.outcome, conclusion.expected) is Verdict.FAIL
        if conclusion.expected is Expect.PASS and not mending.limits:
            assert first is not Action.DENY
            if fails and conclusion.outcome in (Outcome.LOST, Outcome.REFUSED):
                assert first is Action.ALLOW
        if conclusion.expected is Expect.BLOCK and not mending.limits:
            partner = run.conclusions[conclusion.check.partner or 0]
            if conclusion.check.flow is Flow.REPLY and partner.expected is Expect.BLOCK:
                continue  # without the request there is no reply
            assert first is not Action.ALLOW
