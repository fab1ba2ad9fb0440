"""Results at random, for what must hold of all of them."""

from __future__ import annotations

from hypothesis import strategies as st

from agent.model import Check, Direction, Event, Flow, Fragmenting, Icmp, Side, Sighting
from probe.result import (
    Carriage,
    Conclusion,
    Expect,
    Host,
    Outcome,
    PathFacts,
    PathMtu,
    RunResult,
    Verdict,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNT = st.integers(0, 2**40)
PORT = st.none() | st.integers(0, 65535)
OCTET = st.none() | st.integers(0, 255)
SIZE = st.none() | st.integers(0, 70_000)
MOMENT = st.floats(0, 7e9)


def sightings(check: int) -> st.SearchStrategy[Sighting]:
    return st.builds(
        Sighting,
        at=st.sampled_from(Side),
        event=st.sampled_from(Event),
        check=st.just(check),
        shot=COUNT,
        time=MOMENT,
        source=TEXT,
        destination=TEXT,
        source_port=PORT,
        destination_port=PORT,
        ttl=OCTET,
        size=SIZE,
        digest=TEXT,
        intact=st.booleans(),
        stage=TEXT,
        icmp=st.none()
        | st.builds(
            Icmp, type=st.integers(0, 255), code=st.integers(0, 255), sender=TEXT, mtu=SIZE
        ),
        note=TEXT,
        dscp=OCTET,
        translated=st.none() | st.tuples(st.booleans(), st.booleans()),
        backwards=st.booleans(),
    )


CHECKS = st.builds(
    Check,
    number=COUNT,
    kind=st.sampled_from(("esp", "ike", "kerberos-tcp", "udp:1701")) | TEXT,
    direction=st.sampled_from(Direction),
    flow=st.sampled_from(Flow),
    family=st.sampled_from((4, 6)),
    size=SIZE,
    source_port=PORT,
    destination_port=PORT,
    partner=st.none() | COUNT,
    fragmenting=st.sampled_from(Fragmenting),
)


@st.composite
def conclusions(draw: st.DrawFn) -> Conclusion:
    check = draw(CHECKS)
    return Conclusion(
        check=check,
        outcome=draw(st.sampled_from(Outcome)),
        expected=draw(st.sampled_from(Expect)),
        verdict=draw(st.sampled_from(Verdict)),
        cause=draw(TEXT),
        shots=draw(COUNT),
        arrived=draw(COUNT),
        delivered=draw(COUNT),
        evidence=tuple(draw(st.lists(sightings(check.number), max_size=3))),
        label=draw(TEXT),
    )


HOSTS = st.builds(Host, TEXT, TEXT, TEXT, TEXT)
MTUS = st.builds(PathMtu, octets=COUNT, stopped=SIZE) | st.builds(
    PathMtu, octets=COUNT, stopped=SIZE, told=SIZE, told_by=TEXT.filter(bool)
)
PATHS = st.builds(
    PathFacts,
    rtt_ms=st.none() | st.floats(0, 1e6),
    control=TEXT,
    near_behind_nat=st.booleans(),
    carriage=st.dictionaries(
        st.sampled_from(Direction),
        st.builds(Carriage, COUNT, COUNT, st.floats(0, 1), COUNT, COUNT),
    ),
    mtu=st.dictionaries(st.sampled_from(Direction), st.dictionaries(TEXT, MTUS, max_size=3)),
)
RESULTS = st.builds(
    RunResult,
    scenario=TEXT,
    started=MOMENT,
    seconds=st.floats(0, 1e9),
    complete=st.booleans(),
    near=HOSTS,
    far=HOSTS,
    path=PATHS,
    conclusions=st.lists(conclusions(), max_size=4).map(tuple),
    notes=st.lists(TEXT, max_size=3).map(tuple),
    options=st.lists(TEXT, max_size=3).map(tuple),
    error=TEXT,
)
