"""Results at random, for what must hold of all of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from hypothesis import strategies as st

from agent.model import Check, Direction, Event, Flow, Fragmenting, Icmp, Limits, Side, Sighting
from probe.result import (
    Agreed,
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

Record = TypeVar("Record")


def every(record: type[Record], **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    """A record with all its members at random.

    Whoever adds a member finds that these tests fail until it is here, and then until it is saved.
    """
    missing = {member.name for member in fields(record)} - set(members)  # type: ignore[arg-type]
    assert not missing, f"{record.__name__}: {missing}"
    return st.builds(record, **members)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNT = st.integers(0, 2**40)
PORT = st.none() | st.integers(0, 65535)
OCTET = st.none() | st.integers(0, 255)
SIZE = st.none() | st.integers(0, 70_000)
MOMENT = st.floats(0, 7e9)


def sightings(check: int) -> st.SearchStrategy[Sighting]:
    return every(
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
        says=TEXT,
    )


CHECKS = every(
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


def conclusions(check: Check) -> st.SearchStrategy[Conclusion]:
    return every(
        Conclusion,
        check=st.just(check),
        outcome=st.sampled_from(Outcome),
        expected=st.sampled_from(Expect),
        verdict=st.sampled_from(Verdict),
        cause=TEXT,
        shots=COUNT,
        arrived=COUNT,
        delivered=COUNT,
        evidence=st.lists(sightings(check.number), max_size=3).map(tuple),
        label=TEXT,
    )


HOSTS = every(Host, name=TEXT, address=TEXT, version=TEXT, seen_as=TEXT)
MTUS = st.builds(PathMtu, octets=COUNT, stopped=SIZE) | every(
    PathMtu, octets=COUNT, stopped=SIZE, told=SIZE, told_by=TEXT.filter(bool)
)
PATHS = every(
    PathFacts,
    rtt_ms=st.none() | st.floats(0, 1e6),
    control=TEXT,
    near_behind_nat=st.booleans(),
    carriage=st.dictionaries(
        st.sampled_from(Direction),
        every(
            Carriage,
            sent=COUNT,
            missing=COUNT,
            at_most=st.floats(0, 1),
            duplicates=COUNT,
            reordered=COUNT,
        ),
    ),
    mtu=st.dictionaries(st.sampled_from(Direction), st.dictionaries(TEXT, MTUS, max_size=3)),
)
LIMITS = every(Limits, shots=st.floats(0, 1e6), octets=st.floats(0, 1e9), seconds=st.floats(0, 1e5))
RESULTS = every(
    RunResult,
    scenario=TEXT,
    started=MOMENT,
    seconds=st.floats(0, 1e9),
    complete=st.booleans(),
    near=HOSTS,
    far=HOSTS,
    path=PATHS,
    conclusions=st.lists(CHECKS.flatmap(conclusions), max_size=4).map(tuple),
    notes=st.lists(TEXT, max_size=3).map(tuple),
    agreed=st.none() | every(Agreed, asked=LIMITS, granted=st.none() | LIMITS, sessions=COUNT),
    reels=st.just(()),  # packets are never saved in the JSON
    options=st.lists(TEXT, max_size=3).map(tuple),
    error=TEXT,
)
