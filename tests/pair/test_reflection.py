"""Nobody but the two hosts of a run ever gets a packet out of it, whatever is played to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.engine import Engine
from agent.events import Action, Captured, FireVolleys, Received, Requested, Tick, Transmit, Write
from agent.limits import Bucket, OverLimit
from agent.model import Direction, Event, Flow, Limits, Side, Sighting, Tag, Volley
from agent.wire.base import Keys, Packet, Path
from probe import plan as planning
from probe.correlate import correlate
from probe.result import Outcome
from scenarios import load
from tests.pair.fakelink import FAR, NEAR, SECRET, Link

VICTIM = {4: "192.0.2.66", 6: "2001:db8::66"}
ANSWERED = ("esp", "ah", "ike", "ike-nat-t", "esp-in-udp", "kerberos-udp")


def plan(family: int, *only: str) -> planning.Plan:
    return planning.make(load("all"), family, only=only)


def recorded(family: int, *only: str) -> tuple[Link, list[Packet]]:
    """A link whose requests were written down and lost, all of them."""
    found: list[Packet] = []

    def record(packet: Packet) -> list[Packet]:
        found.append(packet)
        return []

    link = Link(plan(family, *only), outbound=record)
    link.fire(Direction.OUTBOUND, 2)
    assert found
    return link, found


def told(engine: Engine, packet: Packet) -> list[Action]:
    """Everything that an engine does about a packet that reaches its interface and its socket."""
    return [
        *engine.handle(Captured(packet, outgoing=False, time=1.0), 1.0),
        *engine.handle(Received(packet, 1.0), 1.0),
    ]


def sent(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Sighting)]


@pytest.mark.parametrize("family", [4, 6])
def test_a_shot_that_is_played_once_more_gets_no_second_answer(family: int) -> None:
    link, shots = recorded(family, *ANSWERED)
    engine = link.hosts[Side.FAR].engine
    for shot in shots:
        first = sent(told(engine, shot))
        assert len(first) == 1, shot
        assert isinstance(first[0], Transmit)
        assert first[0].path.destination == NEAR[family]
        for _ in range(3):
            assert sent(told(engine, shot)) == []


@pytest.mark.parametrize("family", [4, 6])
def test_a_shot_in_a_victims_name_gets_none_and_spoils_nothing(family: int) -> None:
    """It was taken off the path and is played with another source: not even the first time."""
    link, shots = recorded(family, *ANSWERED)
    engine = link.hosts[Side.FAR].engine
    for shot in shots:
        forged = told(engine, replace(shot, source=VICTIM[family]))
        assert sent(forged) == [], shot
        assert len(sent(told(engine, shot))) == 1, "the true one is answered all the same"


def test_what_was_not_answered_for_its_source_is_told_as_that() -> None:
    link = Link(plan(4, "esp"), outbound=lambda packet: [replace(packet, source="192.0.2.66")])
    link.fire(Direction.OUTBOUND, 3)
    found = {(c.check.direction, c.check.flow): c for c in correlate(link.plan, link.evidence())}
    reply = found[Direction.INBOUND, Flow.REPLY]
    assert reply.outcome is Outcome.NOT_SENT
    assert "came from 192.0.2.66" in reply.cause


def test_what_the_runs_own_connection_vouches_for_is_answered_as_well() -> None:
    """A NAT gives ESP another address than TCP; near saw that its own shots come from there."""
    link, shots = recorded(4, *ANSWERED)
    engine = link.hosts[Side.FAR].engine
    for shot in shots:
        assert sent(told(engine, replace(shot, source="192.0.2.1"))) == []
    engine.answers.vouch(["192.0.2.1"])
    for shot in shots:
        assert sent(told(engine, replace(shot, source=VICTIM[4]))) == []
        answers = sent(told(engine, replace(shot, source="192.0.2.1")))
        assert [type(action) for action in answers] == [Transmit]
        assert sent(told(engine, shot)) == [], "once, wherever it comes from"


def test_a_far_host_behind_a_translation_is_answered_by_either_of_its_addresses() -> None:
    """near asks for it by its public address; what far begins itself is not translated."""
    found: list[Packet] = []
    link = Link(plan(4, *ANSWERED), inbound=lambda packet: found.append(packet) or [])  # type: ignore[func-returns-value]
    link.fire(Direction.INBOUND, 1)
    checks = link.plan.checks
    near = Engine(Side.NEAR, Keys(SECRET), checks, NEAR[4], "10.1.0.1", peer_own=FAR[4])
    assert found
    for shot in found:
        assert sent(told(near, replace(shot, source=VICTIM[4]))) == []
        assert len(sent(told(near, shot))) == 1
        assert sent(told(near, replace(shot, source="10.1.0.1"))) == [], "once is enough"


@pytest.mark.parametrize("family", [4, 6])
def test_shots_of_another_run_get_none(family: int) -> None:
    """A run that is over, or somebody else's: by this run's secret every MAC is wrong."""
    link, shots = recorded(family, *ANSWERED)
    checks = link.plan.checks
    engine = Engine(Side.FAR, Keys(bytes(32)), checks, FAR[family], NEAR[family])
    for shot in shots:
        assert sent(told(engine, shot)) == []
        assert engine.strangers


def request(link: Link) -> bytes:
    """The message of a TCP request that near would make."""
    engine = link.hosts[Side.NEAR].engine
    check = next(c for c in link.plan.requests(Direction.OUTBOUND))
    path = Path(4, NEAR[4], FAR[4], 50_000, check.destination_port)
    return engine.codecs[check.kind].request(engine.keys, Tag(check.number, 1), path, None)


def test_a_tcp_request_is_answered_to_its_own_host_and_once() -> None:
    link = Link(plan(4, "kerberos-tcp"))
    far, data = link.hosts[Side.FAR].engine, request(link)

    def asked(connection: int, source: str) -> list[Action]:
        path = Path(4, source, FAR[4], 50_000, 88)
        return sent(far.handle(Requested(connection, path, data, 1.0), 1.0))

    assert asked(1, VICTIM[4]) == []
    assert [type(action) for action in asked(2, NEAR[4])] == [Write]
    assert asked(3, NEAR[4]) == []


# -- several runs at one agent ---------------------------------------------------------------------


def other_run(link: Link, peer: str) -> Engine:
    """Another operator's run of the same plan at the same far host, which knows of the first."""
    return Engine(
        Side.FAR,
        Keys(bytes(reversed(SECRET))),
        link.plan.checks,
        FAR[4],
        peer,
        others=lambda address: address == NEAR[4],
    )


def test_a_port_that_two_runs_use_is_each_runs_own() -> None:
    """The octet of a NAT keepalive carries no tag: the same source port comes from two hosts."""
    found: list[Packet] = []
    link = Link(plan(4, "nat-keepalive"), outbound=lambda packet: found.append(packet) or [])  # type: ignore[func-returns-value]
    other = other_run(link, "10.9.0.2")
    check = next(c for c in link.plan.requests(Direction.OUTBOUND))
    link.fire(Direction.OUTBOUND, 1)
    for shot in found:
        other.peer_port(Tag(check.number, 1), shot.source_port or 0)
        assert told(other, shot) == [], "the first run's shot"
        assert not other.nameless
        ours = [a for a in told(other, replace(shot, source="10.9.0.2")) if isinstance(a, Sighting)]
        assert {sighting.event for sighting in ours} == {Event.ARRIVED, Event.DELIVERED}
        seen = [a for a in told(link.hosts[Side.FAR].engine, shot) if isinstance(a, Sighting)]
        assert len(seen) == 2


def test_no_sighting_of_one_run_is_the_others() -> None:
    link, shots = recorded(4)
    other = other_run(link, "10.9.0.2")
    for shot in shots:
        for outgoing in (False, True):
            assert other.handle(Captured(shot, outgoing=outgoing, time=1.0), 1.0) == []
        assert other.handle(Received(shot, 1.0), 1.0) == []
    assert not other.live
    assert not other.nameless


# -- limits ------------------------------------------------------------------------------------


def limited(link: Link, shots: float, octets: float = 1e6) -> Engine:
    bucket = Bucket(Limits(shots, octets, 60))
    return Engine(Side.FAR, Keys(SECRET), link.plan.checks, FAR[4], NEAR[4], bucket)


def test_answers_count_and_what_is_over_is_not_sent_and_told() -> None:
    shots: list[Packet] = []
    link = Link(plan(4, "esp"), outbound=lambda packet: shots.append(packet) or [])  # type: ignore[func-returns-value]
    link.fire(Direction.OUTBOUND, 10)
    engine = limited(link, 4)
    actions = [action for shot in shots for action in told(engine, shot)]
    assert len(sent(actions)) == 4
    unsent = [a for a in actions if isinstance(a, Sighting) and a.event is Event.UNSENT]
    assert len(unsent) == 6
    assert "limits" in unsent[0].note


def test_an_order_over_the_limit_is_refused_and_one_at_the_granted_pace_is_not() -> None:
    link = Link(plan(4, "esp"))
    check = next(c for c in link.plan.requests(Direction.INBOUND))
    engine = limited(link, 10)
    with pytest.raises(OverLimit, match="--max-shots"):
        engine.check_room([Volley(check.number, 1, 100)], 0.0, 0.0)
    engine.check_room([Volley(check.number, 1, 100)], 0.1, 0.0)
    engine.handle(FireVolleys([Volley(check.number, 1, 100)], 0.1), 0.0)
    with pytest.raises(OverLimit, match="119 shots"):
        engine.check_room([Volley(check.number, 101, 20)], 0.0, 0.0)
    count, now = 1, 0.0
    while (deadline := engine.deadline()) is not None:
        now = deadline
        for action in engine.handle(Tick(), now):
            assert isinstance(action, Transmit), "at the granted pace nothing is held back"
            count += 1
    assert count == 100
    assert now == pytest.approx(9.9)


def test_shots_that_are_over_the_limit_are_told_as_unsent() -> None:
    """Where no order was checked first: the bucket itself holds."""
    link = Link(plan(4, "esp"))
    check = next(c for c in link.plan.requests(Direction.INBOUND))
    engine = limited(link, 10)
    actions = engine.handle(FireVolleys([Volley(check.number, 1, 50)], 0.0), 0.0)
    assert len(sent(actions)) == 10
    assert len([a for a in actions if isinstance(a, Sighting)]) == 40
