"""Control in-band: any captured bytes yield a box or none; any box yields words, an answer that may
be given, or nothing. Never anything else, before authentication and after it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inband.box import NONCE, PUBLIC, Shared
from agent.inband.call import STALE_SECONDS, Call
from agent.inband.carriers import Ridden, is_marked, unwrap
from agent.inband.door import Admitted, Door
from agent.inband.session import Session
from agent.inband.ways import FIXED, HARMLESS, answering, new_flow
from agent.model import Side
from agent.wire import ip
from agent.wire.base import Packet
from tests.pair.carried import ENDS, KEY

SHARED = Shared(KEY)
MARKERS = SHARED.markers
KEYS = SHARED.session(bytes(PUBLIC), bytes(PUBLIC), bytes(PUBLIC))
PATHS = {way: new_flow(way, *ENDS[4], 50_000) for way in (*HARMLESS, *FIXED)}
RIDDEN = PATHS[HARMLESS[0]]

many = settings(max_examples=300, deadline=None)
octets = st.binary(max_size=700)
ports = st.sampled_from([None, 88, 500, 4500, 9, 40_000])
# As near to our own messages as may be, and yet anything: what msgpack can say.
values: st.SearchStrategy[Any] = st.recursive(
    st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=8)
    | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
numbers = st.integers(-4, 300) | st.integers(-(1 << 63), (1 << 63) - 1)


def drawn(n: int) -> bytes:
    return bytes(n)


@many
@given(
    family=st.sampled_from([4, 6]),
    protocol=st.sampled_from([ip.ICMP, ip.UDP, ip.ESP, ip.AH, ip.ICMPV6, ip.TCP]),
    source=ports,
    destination=ports,
    payload=octets,
    marked=st.booleans(),
    at=st.integers(0, 240),
)
def test_any_packet(
    family: int,
    protocol: int,
    source: int | None,
    destination: int | None,
    payload: bytes,
    marked: bool,
    at: int,
) -> None:
    if marked:
        payload = payload[:at] + next(iter(MARKERS)) + payload[at + 4 :]
    packet = Packet(family, protocol, *ENDS[family], payload, source, destination)
    found = unwrap(packet, MARKERS)
    is_marked(packet, MARKERS)
    if found is None:
        return
    ridden, box = found
    answering(ridden)
    assert Door((KEY,), lambda _: True, drawn, lambda: 0.0).receive(box, ridden, 0.0) == []
    assert Call(SHARED, PATHS, ENDS[4][0], 0.0, 0.0, drawn).receive(box, 0.0) is None
    assert Session(Side.NEAR, KEYS, PATHS, (0, 0), 0.0).receive(box, "", 0.0) is None


@many
@given(plain=octets | values.map(msgspec.msgpack.encode), session=st.booleans())
def test_anything_that_is_sealed_rightly(plain: bytes, session: bool) -> None:
    door = Door((KEY,), lambda _: True, drawn, lambda: 0.0)
    call = Call(SHARED, PATHS, ENDS[4][0], 0.0, 0.0, drawn)
    call.due(0.0)
    for side in Side:
        box = KEYS.seal(side, 1, plain) if session else SHARED.seal(side, plain, bytes(NONCE))
        answer = door.receive(box, RIDDEN, 0.0)
        assert not isinstance(answer, Admitted)
        call.receive(box, 0.0)
        read(box, RIDDEN)


@many
@given(
    frame=st.tuples(
        numbers,
        numbers,
        numbers,
        numbers,
        numbers,
        st.integers(-(1 << 63), (1 << 64) - 1),
        numbers,
        st.lists(st.tuples(numbers, st.binary(max_size=30)), max_size=4),
        st.booleans(),
    )
)
def test_frames_that_count_as_they_like(frame: tuple[Any, ...]) -> None:
    read(KEYS.seal(Side.FAR, 1, msgspec.msgpack.encode(frame)), RIDDEN)


def read(box: bytes, ridden: Ridden) -> None:
    """A session that has said something hears that, and goes on."""
    session = Session(Side.NEAR, KEYS, PATHS, (0, 0), 0.0)
    session.write(bytes(5000))
    session.due(0.0)
    session.receive(box, ridden.path.source, 0.1)
    for step in range(1, 20):
        session.due(0.3 * step)
        assert session.deadline() > 0.0


@many
@given(
    public=st.binary(min_size=PUBLIC, max_size=PUBLIC) | st.binary(max_size=20),
    time=st.integers(-9000, 9000) | numbers,
    way=numbers,
    level=numbers,
    near=st.text(max_size=12) | st.just(ENDS[4][0]),
)
def test_openings_that_say_what_they_like(
    public: bytes, time: int, way: int, level: int, near: str
) -> None:
    plain = msgspec.msgpack.encode((public, time, way, level, near))
    box = SHARED.seal(Side.NEAR, plain, bytes(NONCE))
    answer = Door((KEY,), lambda _: True, drawn, lambda: 0.0).receive(box, RIDDEN, 0.0)
    assert not isinstance(answer, Admitted)
    assert sum(len(send.box) for send in answer) <= 3 * len(box)
    assert not answer or abs(time) <= STALE_SECONDS
    assert {send.ridden.path.destination for send in answer} <= {RIDDEN.path.source}
