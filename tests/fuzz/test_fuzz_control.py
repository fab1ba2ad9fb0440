"""The control port before and after somebody has proved to hold a key.

Before: whatever is said, the answer is a TLS alert or nothing. While somebody may pair: the answer
is one element, and no key comes of it. After: whatever is ordered, the answer is a message or an
AgentError, and no packet goes to another address than the one that the orders came from, nor more
of them than the limits allow. Never anything else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.access import tls
from agent.access.keyring import identifier
from agent.access.pairing import LIFETIME, Far, Near, Offer, PairingError, new_code, read_code
from agent.control import (
    Answer,
    AnyMessage,
    Await,
    Close,
    Collect,
    Fire,
    Hello,
    Message,
    Oops,
    Open,
    Prepare,
)
from agent.errors import AgentError
from agent.events import Captured, Connect, Received, Transmit, Write
from agent.ledger import Ledger
from agent.linux.host import Host
from agent.model import (
    Check,
    Direction,
    Flow,
    Late,
    Limits,
    PortUse,
    Side,
    Sighting,
    Tag,
    Volley,
)
from agent.station import Station
from agent.wire import KINDS, codec
from agent.wire.base import Keys, Packet
from agent.wire.base import Path as Way
from tests.unit.test_door import client_hello

many = settings(max_examples=300, deadline=None)
some = settings(max_examples=100, deadline=None)
octets = st.binary(max_size=400)

# -- before ------------------------------------------------------------------------------------

FRONT = tls.Front()
HELLO = client_hello(identifier(bytes(32)))


def is_an_alert_at_most(said: bytes) -> bool:
    return said == b"" or (len(said) == 7 and said[0] == 0x15)


@many
@given(octets)
def test_any_first_words_get_an_alert_at_most(words: bytes) -> None:
    name, said = FRONT.read(words)
    assert is_an_alert_at_most(said)
    assert name is None or isinstance(name, str)
    assert 0 <= tls.hello_length(words[:5]) <= 5 + tls.LARGEST_RECORD


@many
@given(st.data())
def test_a_damaged_hello_gets_an_alert_at_most(data: st.DataObject) -> None:
    words = bytearray(HELLO)
    for _ in range(data.draw(st.integers(1, 4))):
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(words)))
    assert is_an_alert_at_most(FRONT.read(bytes(words[:cut]))[1])


# -- while somebody may pair -------------------------------------------------------------------


def far(seed: int = 1) -> Far:
    chance = random.Random(seed).randbytes
    return Far(Offer(new_code(chance), LIFETIME), b"binding", chance)


@many
@given(st.lists(octets, max_size=4))
def test_any_words_of_somebody_without_the_code_make_no_key(words: list[bytes]) -> None:
    end, said = far(), b""
    try:
        for word in words:
            said += end.receive(word, 0.0)
    except PairingError:
        pass
    assert end.paired is None
    assert len(said) <= 34, "one element: it is shorter than what asked for it"


@some
@given(st.data())
def test_a_damaged_pairing_makes_no_key_at_far_that_near_does_not_hold(data: st.DataObject) -> None:
    end = far()
    near = Near(read_code(end._offer.code), b"binding", "alice", random.Random(2).randbytes)

    def carried(words: bytes) -> bytes:
        if not words or not data.draw(st.booleans()):
            return words
        damaged = bytearray(words)
        damaged[data.draw(st.integers(0, len(words) - 1))] ^= data.draw(st.integers(1, 255))
        return bytes(damaged)

    try:
        proof = near.receive(carried(end.receive(carried(near.begin()), 0.0)))
        end.receive(carried(proof), 0.0)
        if end.paired is not None:
            near.receive(carried(end.confirm("alice")))
    except PairingError:
        pass
    if near.paired is not None:
        assert end.paired is not None
        assert near.paired.key == end.paired.key


@many
@given(st.lists(octets, min_size=1, max_size=3))
def test_any_answer_of_somebody_without_the_code_makes_no_key_at_near(words: list[bytes]) -> None:
    near = Near("482915034", b"binding", "alice", random.Random(2).randbytes)
    near.begin()
    try:
        for word in words:
            near.receive(word)
    except PairingError:
        pass
    assert near.paired is None


# -- after -------------------------------------------------------------------------------------

NEAR, FAR = "10.1.0.2", "10.2.0.2"
LIMITS = Limits(shots=50, octets=50_000, seconds=60)


class Sockets:
    """Writes down what should leave, instead of sending it."""

    def __init__(self) -> None:
        self.sent: list[Transmit | Connect] = []
        self.malformed = 0
        self.joined = 0
        self._port = 40_000

    def join(self, _run: object) -> None:
        self.joined += 1

    def leave(self, _run: object) -> None:
        self.joined -= 1

    def open_fresh(self, *_: object) -> int:
        self._port += 1
        if self._port > 40_200:
            raise OSError(24, "no more of them")
        return self._port

    def transmit(self, action: Transmit) -> str:
        self.sent.append(action)
        return ""

    def connect(self, _run: object, action: Connect) -> None:
        self.sent.append(action)

    def write(self, _action: Write) -> str:
        return ""

    def captured(self) -> tuple[int, int]:
        return 0, 0

    def overflowed(self) -> int:
        return 0

    def held(self) -> tuple[()]:
        return ()

    def tracked(self) -> int:
        return 0

    def catch_up(self) -> None:
        pass

    def give_way(self) -> None:
        pass

    def serves(self, *_: object, **__: object) -> bool:
        return False


numbers = st.one_of(
    st.integers(-2, 6), st.sampled_from([0, 100, 65_535, 65_536, 1 << 40, -1 << 40])
)
floats = st.one_of(st.sampled_from([0.0, 0.001, 1.0, -1.0, 1e9]), st.floats())
maybe = st.one_of(st.none(), numbers)
kinds = st.sampled_from([*KINDS, "udp:1701", "tcp:445", "nonsense", ""])
checks = st.builds(
    Check,
    numbers,
    kinds,
    st.sampled_from(Direction),
    st.sampled_from(Flow),
    st.sampled_from([4, 6, 0]),
    maybe,
    maybe,
    maybe,
    maybe,
)


def right_checks() -> list[Check]:
    """A pair for each direction, as a run has them, so that orders get somewhere."""
    found = []
    for number, (asks, answers) in ((1, list(Direction)), (3, list(Direction)[::-1])):
        found += [
            Check(number, "esp", asks, Flow.NEW, 4, None, None, None, number + 1),
            Check(number + 1, "esp", answers, Flow.REPLY, 4, None, None, None, number),
        ]
    return [*found, Check(5, "kerberos-udp", Direction.INBOUND, Flow.NEW, 4, None, None, 88)]


volleys = st.lists(st.builds(Volley, numbers, numbers, numbers, maybe), max_size=3)
good_volleys = st.lists(st.builds(Volley, st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)))
ports = st.lists(st.builds(PortUse, numbers, numbers, numbers), max_size=3)
limits = st.one_of(st.none(), st.builds(Limits, floats, floats, floats))
lates = st.builds(Late, st.builds(Tag, numbers, numbers), numbers, numbers, numbers, st.booleans())
orders = st.one_of(
    st.builds(
        Open,
        st.one_of(st.just(bytes(32)), octets),
        st.one_of(st.just(right_checks()), st.lists(checks, max_size=3)),
        st.just(FAR),
        st.just(NEAR),
        floats,
        limits,
    ),
    st.builds(Prepare, st.one_of(volleys, good_volleys)),
    st.builds(Await, ports),
    st.builds(Fire, st.one_of(volleys, good_volleys), floats),
    st.builds(Answer, lates, floats),
    st.builds(Collect),
    st.builds(Close),
    st.builds(Hello, numbers, st.text(), st.text()),
    st.builds(Oops, st.text(), st.text()),
)
OPENING = Open(bytes(32), right_checks(), FAR, NEAR, 600.0)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    found = Ledger(tmp_path_factory.mktemp("state") / "flows.sqlite")
    yield found
    found.close()


def shots(sources: list[str]) -> list[Packet]:
    """What may reach far while it runs: a true shot, from whoever says that it is his."""
    esp, found = codec("esp"), []
    for number, source in enumerate(sources, 1):
        data = esp.request(Keys(bytes(32)), Tag(1, number), Way(4, source, FAR), None)
        found.append(Packet(4, 50, source, FAR, data))
    return found


@some
@given(
    st.lists(orders, max_size=12),
    st.lists(st.sampled_from([NEAR, "192.0.2.66", FAR]), max_size=60),
    st.booleans(),
)
def test_any_orders_send_to_whoever_gave_them_and_within_limits(
    ledger: Ledger, told: list[AnyMessage], sources: list[str], opened: bool
) -> None:
    host = Sockets()
    seen: list[Sighting] = []

    async def session() -> None:
        station = Station(Side.FAR, cast(Host, host), ledger, seen.extend, limits=LIMITS)
        begin: list[Any] = [OPENING] if opened else []
        for order in [*begin, *told]:
            try:
                answer = station.handle(order)
            except AgentError:
                continue
            assert isinstance(answer, Message)
        if station._joined:
            for packet in shots(sources):
                station.feed(Captured(packet, outgoing=False, time=0.0))
                station.feed(Received(packet, 0.0))
        station.close()
        station.close()

    asyncio.run(session())
    assert host.joined == 0
    assert {action.path.destination for action in host.sent} <= {NEAR}
    runs = 1 + sum(isinstance(order, Open) for order in told)
    assert len(host.sent) <= runs * (LIMITS.shots + 5), "a bucket, and the moments that this took"
