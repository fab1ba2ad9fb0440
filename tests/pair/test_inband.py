"""Near calls, far answers, and a stream of octets comes through whatever the path does to them."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inband.box import NONCE, OPENING, PUBLIC, Shared, session_of
from agent.inband.call import OPENING_LENGTH, Challenge, Opening
from agent.inband.carriers import unwrap
from agent.inband.door import FACTOR, MOST_WAITING
from agent.inband.session import LOST_SECONDS
from agent.inband.ways import LAST
from agent.model import Side
from agent.wire.base import Packet
from tests.pair.carried import ENDS, KEY, Link, Rule, loses, name_of, only

WORDS = b"a question"
MATRIX = random.Random(7).randbytes(30_000)  # as large, packed, as all that a whole run has to say

HARMLESS = ("esp-in-udp", "ike-nat-t", "ike", "icmp-echo", "kerberos-udp", "kerberos-tcp")
FIXED = ("ike-nat-t fixed", "esp-in-udp fixed", "ike fixed", "ah", "esp")


def talk(link: Link, seconds: float = 60.0) -> float:
    """A question and its long answer; returns the seconds that they took."""
    assert link.run(lambda: link.near.session is not None, 20.0), "no session"
    began = link.now
    assert link.near.session is not None
    link.near.session.write(WORDS)
    assert link.run(lambda: bytes(link.far.got) == WORDS, seconds)
    assert link.far.session is not None
    link.far.session.write(MATRIX)
    assert link.run(lambda: bytes(link.near.got) == MATRIX, seconds)
    return link.now - began


def both(*rules: Rule) -> Rule:
    def rule(packet: Packet) -> list[Packet]:
        packets = [packet]
        for each in rules:
            packets = [out for one in packets for out in each(one)]
        return packets

    return rule


@pytest.mark.parametrize("back", [*HARMLESS, *FIXED])
@pytest.mark.parametrize("out", [*HARMLESS, *FIXED])
def test_one_way_each_way_is_enough(out: str, back: str) -> None:
    talk(Link(outbound=only(out), inbound=only(back), family=6 if out < back else 4))


@pytest.mark.parametrize("kind", HARMLESS[:-1])
def test_the_way_back_may_be_for_replies_alone(kind: str) -> None:
    link = Link(outbound=only(kind), inbound=only(f"{kind} reply"))
    talk(link)
    assert not link.call.stage  # nothing that does harm was tried


def test_on_an_open_path_nothing_travels_on_a_fixed_tuple() -> None:
    link = Link()
    talk(link)
    assert not {name_of(packet) for _, packet in link.sent} & set(FIXED)


def test_on_an_open_path_near_does_not_knock_at_tcp_88() -> None:
    """Where far would listen for it, and a run wants to listen as well."""
    link = Link()
    talk(link)
    assert "kerberos-tcp" not in {name_of(packet) for _, packet in link.sent}


def test_far_uses_fixed_tuples_before_near_does() -> None:
    link = Link(outbound=only("ike"), inbound=only("esp"))
    talk(link)
    near = {name_of(packet) for side, packet in link.sent if side is Side.NEAR}
    assert not near & set(FIXED)


def test_no_esp_where_ah_does() -> None:
    link = Link(outbound=only("ah"), inbound=only("ah"))
    talk(link)
    assert "esp" not in {name_of(packet) for side, packet in link.sent if side is Side.NEAR}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("out", "back"), [("icmp-echo", "icmp-echo reply"), ("esp", "esp")])
def test_three_in_ten_lost_on_the_only_way(out: str, back: str, seed: int) -> None:
    link = Link(
        outbound=both(only(out), loses(0.3, seed)),
        inbound=both(only(back), loses(0.3, seed + 100)),
        seed=seed,
    )
    link.latency = lambda: 0.03
    assert talk(link) < 40.0


@settings(max_examples=40, deadline=None)
@given(
    lost=st.floats(0, 0.3),
    doubled=st.floats(0, 0.5),
    spread=st.floats(0, 0.4),
    seed=st.integers(0, 1 << 16),
)
def test_whatever_the_path_does(lost: float, doubled: float, spread: float, seed: int) -> None:
    chance = random.Random(seed)

    def rough(packet: Packet) -> list[Packet]:
        if chance.random() < lost:
            return []
        return [packet, packet] if chance.random() < doubled else [packet]

    link = Link(outbound=rough, inbound=rough, seed=seed)
    link.latency = lambda: 0.005 + chance.random() * spread
    talk(link, 120.0)


def test_a_translated_address_and_port_does_not_matter() -> None:
    outside = "198.51.100.7"
    ports: dict[int, int] = {}

    def out(packet: Packet) -> list[Packet]:
        if packet.source_port is None:
            return [replaced(packet, source=outside)]
        port = ports.setdefault(packet.source_port, 1024 + len(ports))
        return [replaced(packet, source=outside, source_port=port)]

    def back(packet: Packet) -> list[Packet]:
        inside = {port: own for own, port in ports.items()}
        if packet.destination_port is None:
            return [replaced(packet, destination=ENDS[4][0])]
        if packet.destination_port not in inside:
            return []  # a new flow ends at the gateway
        own = inside[packet.destination_port]
        return [replaced(packet, destination=ENDS[4][0], destination_port=own)]

    link = Link(outbound=out, inbound=back)
    talk(link)
    assert link.far.peer == outside
    # At the gateway they would leave state that is in the way of near's own.
    far = Counter(name_of(packet) for side, packet in link.sent if side is Side.FAR)
    assert not set(far) & {"ah", "ike fixed"}


@pytest.mark.parametrize("kind", ["icmp-echo", "kerberos-udp"])
def test_a_nat_for_one_kind_which_alone_is_answered_does_not_matter(kind: str) -> None:
    """Others come first, from another address, and nothing that answers them gets back."""
    outside = "198.51.100.7"

    def out(packet: Packet) -> list[Packet]:
        return [replaced(packet, source=outside) if name_of(packet) == kind else packet]

    def back(packet: Packet) -> list[Packet]:
        if name_of(packet) != f"{kind} reply" or packet.destination != outside:
            return []
        return [replaced(packet, destination=ENDS[4][0])]

    link = Link(outbound=out, inbound=back)
    talk(link)
    assert link.far.peer == outside


def replaced(packet: Packet, **changes: object) -> Packet:
    from dataclasses import replace

    return replace(packet, **changes)  # type: ignore[arg-type]


def test_a_way_that_stops_is_left_for_another() -> None:
    closed = {"esp-in-udp"}

    def rule(packet: Packet) -> list[Packet]:
        name = name_of(packet).split()[0]
        return [] if name in closed and link.now > 1.0 else [packet]

    link = Link(outbound=rule, inbound=rule)
    link.run(lambda: link.now > 2.0, 2.1)
    took = talk(link)
    assert took < 10.0


def test_near_gives_up_where_nothing_comes_back() -> None:
    link = Link(outbound=lambda _: [])
    assert not link.run(lambda: link.near.session is not None, 30.0)
    assert link.now < 12.0
    assert link.call.stage == LAST
    assert not [1 for side, _ in link.sent if side is Side.FAR]


def test_either_end_notices_that_the_other_has_gone() -> None:
    gone = False
    link = Link(outbound=lambda p: [] if gone else [p], inbound=lambda p: [] if gone else [p])
    talk(link)
    gone = True
    near, far = link.near.session, link.far.session
    assert near is not None
    assert far is not None
    assert link.run(lambda: near.lost and far.lost, 2 * LOST_SECONDS)


def test_an_idle_session_lives() -> None:
    link = Link()
    talk(link)
    link.run(lambda: False, 120.0)
    assert link.near.session is not None
    assert link.far.session is not None
    assert not link.near.session.lost
    assert not link.far.session.lost
    link.far.session.write(b"more")
    assert link.run(lambda: link.near.got.endswith(b"more"), 5.0)


# -- who is at the door ----------------------------------------------------------------------------


def test_another_key_gets_no_answer() -> None:
    link = Link(far_keys=(bytes(32),))
    assert not link.run(lambda: link.near.session is not None, 20.0)
    assert not [1 for side, _ in link.sent if side is Side.FAR]


def test_one_of_several_keys_is_enough() -> None:
    talk(Link(far_keys=(bytes(32), b"x" * 32, KEY)))


def test_a_replayed_session_gets_no_answer_and_no_run() -> None:
    """Everything that near ever sent, once more, to the same agent after a restart."""
    link = Link()
    talk(link)
    recorded = [packet for side, packet in link.sent if side is Side.NEAR]
    again = Link(seed=2)
    again.nonces = link.nonces  # which the ledger keeps
    for packet in recorded:
        again.put(Side.FAR, packet)
    again.near.rule = lambda _: []
    again.run(lambda: False, 15.0)
    assert again.far.session is None
    assert not [1 for side, _ in again.sent if side is Side.FAR]


def test_an_opening_that_far_never_saw_gets_challenges_and_no_run() -> None:
    """Held back by somebody on the way, and sent later: fresh, but nobody stands behind it."""
    link = Link(outbound=lambda _: [])
    link.run(lambda: link.now > 1.0, 1.1)
    recorded = [packet for side, packet in link.sent if side is Side.NEAR]
    again = Link(seed=2)
    again.near.rule = lambda _: []
    for packet in recorded:
        again.put(Side.FAR, packet)
    again.run(lambda: False, 60.0)
    assert again.far.session is None
    answered = [packet for side, packet in again.sent if side is Side.FAR]
    assert answered
    assert size(answered) <= FACTOR * size(recorded)


HOUR = 3600.0


@pytest.mark.parametrize("ahead", [-2 * HOUR + 1, -HOUR, HOUR, 2 * HOUR - 1])
def test_clocks_that_are_each_an_hour_off_either_way(ahead: float) -> None:
    talk(Link(far_ahead=ahead))


@pytest.mark.parametrize("ahead", [-3 * HOUR, 2 * HOUR + 60, 24 * HOUR, 1e9, -1e9])
def test_an_opening_of_another_hour_gets_no_answer(ahead: float) -> None:
    """Recorded, held back, and sent for the first time when near is long gone; or from a host
    whose clock is as wrong as that, of which far's log is told.
    """
    link = Link(outbound=lambda _: [])
    link.run(lambda: link.now > 8.0, 8.1)
    recorded = [packet for side, packet in link.sent if side is Side.NEAR]
    later = Link(seed=2, far_ahead=ahead)
    later.near.rule = lambda _: []
    for packet in recorded:
        later.put(Side.FAR, packet)
    later.run(lambda: False, 60.0)
    assert later.far.session is None
    assert not [packet for side, packet in later.sent if side is Side.FAR]
    assert not later.nonces, "nor does it take any memory"
    assert len(later.stale) == len(recorded)
    peer, told = later.stale[0]
    assert peer == later.near_address
    assert told == pytest.approx(-ahead, abs=10.0)


def test_who_recorded_a_session_and_gets_the_key_cannot_read_it() -> None:
    """All that crossed, and the shared key: the opening is read, and no packet of the session."""
    link = Link()
    talk(link)
    shared = Shared(KEY)
    boxes = [found[1] for _, packet in link.sent if (found := unwrap(packet, shared.markers))]
    opened = [(side, shared.open(side, box)) for side in Side for box in boxes]
    plains = {side: [found[0] for at, found in opened if at is side and found] for side in Side}
    openings = [msgspec.msgpack.decode(plain, type=Opening) for plain in plains[Side.NEAR]]
    challenges = [msgspec.msgpack.decode(plain, type=Challenge) for plain in plains[Side.FAR]]
    assert openings
    assert challenges
    sessions = [box for box in boxes if session_of(box) != OPENING]
    assert len(sessions) > 30
    public = [openings[0].public, challenges[0].far]
    assert link.near.session is not None
    for agreed in (b"", bytes(PUBLIC), *public):  # what a listener could put in place of it
        keys = shared.session(public[0], public[1], agreed)
        assert not any(keys.open(side, box) for side in Side for box in sessions)
    assert any(link.near.session.keys.open(side, sessions[-1]) for side in Side)


def test_who_names_a_public_key_of_small_order_gets_no_answer() -> None:
    """Its holder would share the secret with everybody; so it has nothing to hold."""
    link = Link()
    for packet in _opened_with(link, bytes(PUBLIC)):
        link.put(Side.FAR, packet)
    link.near.rule = lambda _: []
    link.run(lambda: False, 5.0)
    assert link.nonces, "it came and was fresh"
    assert not [packet for side, packet in link.sent if side is Side.FAR]


def _opened_with(link: Link, public: bytes) -> list[Packet]:
    """Openings of ``link`` with another public key."""
    link.call._public = public
    link.send(Side.NEAR, link.call.due(0.0))
    return [packet for _, packet in link.sent]


def test_a_session_that_is_over_is_forgotten() -> None:
    link = Link()
    talk(link)
    assert link.far.session is not None
    assert link.door._waiting
    link.door.forget(link.far.session.keys.id)
    assert not link.door._waiting


def size(packets: list[Packet]) -> int:
    return sum(packet.size or 0 for packet in packets)


def test_far_never_gives_much_more_than_it_got() -> None:
    """Each moment of a call whose answers are all lost."""
    link = Link(inbound=lambda _: [])
    given = got = 0

    def watch() -> bool:
        nonlocal given, got
        for side, packet in link.sent:
            if side is Side.FAR:
                given += packet.size or 0
            else:
                got += packet.size or 0
        link.sent.clear()
        assert given <= FACTOR * got
        return False

    link.run(watch, 20.0)
    assert given


def test_from_another_address_a_session_hears_nothing() -> None:
    """Who copies a packet and sends it in a third one's name has far send nothing there."""
    link = Link()
    talk(link)
    assert link.near.session is not None
    link.near.session.write(b"!")
    link.near.rule = lambda packet: [replaced(packet, source="203.0.113.9")]
    link.sent.clear()
    link.run(lambda: False, 5.0)
    assert not [p for side, p in link.sent if p.destination == "203.0.113.9"]


def test_packets_mirrored_to_their_sender_change_nothing() -> None:
    def mirrored(packet: Packet) -> list[Packet]:
        back = replaced(
            packet,
            source=packet.destination,
            destination=packet.source,
            source_port=packet.destination_port,
            destination_port=packet.source_port,
        )
        link.put(Side.NEAR if packet.source == link.near_address else Side.FAR, back)
        return [packet]

    link = Link(outbound=mirrored, inbound=mirrored)
    talk(link)


def test_a_flood_of_peers_takes_no_more_room() -> None:
    link = Link()
    for number in range(3 * MOST_WAITING):
        peer = Link(seed=1000 + number)
        peer.near.rule = lambda packet: [packet]
        peer.send(Side.NEAR, peer.call.due(0.0))
        for _, packet in peer.sent:
            found = unwrap(packet, Shared(KEY).markers)
            assert found is not None
            link.door.receive(found[1], found[0], number * 0.01)
    assert len(link.door._waiting) <= MOST_WAITING
    talk(link)


def test_a_key_that_is_revoked_while_its_holder_waits_is_of_no_use() -> None:
    link = Link(inbound=lambda _: [])
    link.run(lambda: link.now > 0.5, 0.6)
    assert link.door._waiting
    link.door.take_keys([bytes(32)])
    assert not link.door._waiting


def test_an_opening_is_longer_than_a_challenge() -> None:
    shared = Shared(KEY)
    assert len(shared.seal(Side.NEAR, bytes(OPENING_LENGTH), bytes(NONCE))) >= 2 * 320
