"""Scenario → checks, in the order in which they are safe to ask.

Inbound goes first, on a quiet path: it is the direction more likely to be denied, and a shot that
was dropped leaves no state behind. The reply to each shot follows it at once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from agent.model import Check, Direction, Flow, Fragmenting
from agent.wire import Codec, codec
from probe.opening import tuple_of
from scenarios import Expect, Row, Scenario, ScenarioError

ORDER = (Direction.INBOUND, Direction.OUTBOUND)
OPPOSITE = {Direction.INBOUND: Direction.OUTBOUND, Direction.OUTBOUND: Direction.INBOUND}


@dataclass(frozen=True, slots=True)
class Planned:
    check: Check
    expected: Expect
    label: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    planned: tuple[Planned, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(planned.check for planned in self.planned)

    def requests(self, direction: Direction) -> tuple[Check, ...]:
        """The checks that open a flow, in the order in which they are sent."""
        return tuple(
            check
            for check in self.checks
            if check.flow is Flow.NEW and check.direction is direction
        )


def part(plan: Plan, direction: Direction) -> Plan:
    """The requests of one direction, and the replies to them."""
    wanted = {check.number for check in plan.requests(direction)}
    wanted |= {check.partner or 0 for check in plan.requests(direction)}
    return Plan(tuple(planned for planned in plan.planned if planned.check.number in wanted))


def without(plan: Plan, tuples: Container[tuple[object, ...]]) -> Plan:
    """What does not travel on one of ``tuples`` (:func:`probe.opening.tuple_of`)."""
    left = tuple(p for p in plan.planned if tuple_of(p.check) not in tuples)
    return Plan(left)


# What is large in real life: IKE_AUTH with certificates, Kerberos with a large ticket, a full ESP.
LARGE = {
    "esp": (1400,),
    "ike": (1400, 2000),
    "ike-nat-t": (1400, 2000),
    "kerberos-udp": (1400, 2000),
}
FULL = ("esp", "ah")  # kinds that fill the MTU as well, and are never sent in fragments
COMMON_MTU = 1500


def with_sizes(scenario: Scenario, mtu: int) -> Scenario:
    """``scenario`` with every kind that can be large in real life tried large as well.

    ``mtu``: of the two hosts' interfaces towards each other the smaller, in octets. A row that has
    a size stays as it is, and so does one for which nothing is expected: only what must work must
    work large. What travels in fragments is tried with the last of them first as well: not every
    path keeps their order.
    """
    rows: list[Row] = []
    for row in scenario.rows:
        rows.append(row)
        if row.size is None and set(row.expect.values()) <= {Expect.PASS}:
            full = (mtu,) if row.kind in FULL else ()
            sizes = (*LARGE.get(row.kind, ()), *full)
            rows += [replace(row, size=size) for size in sizes]
            rows += [
                replace(row, size=size, fragmenting=Fragmenting.LAST_FIRST)
                for size in sizes
                if size > COMMON_MTU
            ]
    return replace(scenario, rows=tuple(rows))


def with_kinds(scenario: Scenario, kinds: Iterable[str]) -> Scenario:
    """``scenario`` with a plain row for each of ``kinds`` that it has none for."""
    has = {row.kind for row in scenario.rows}
    return replace(
        scenario, rows=(*scenario.rows, *(Row(kind) for kind in kinds if kind not in has))
    )


def only(scenario: Scenario, kinds: Iterable[str]) -> Scenario:
    """``scenario`` with the rows of ``kinds`` alone; whole where none are named."""
    wanted = set(kinds)
    rows = tuple(row for row in scenario.rows if not wanted or row.kind in wanted)
    return replace(scenario, rows=rows)


def make(
    scenario: Scenario,
    family: int,
    directions: Iterable[Direction] = ORDER,
    only: Iterable[str] = (),
) -> Plan:
    """The checks of ``scenario``: each request with the reply that answers it.

    ``directions`` are those of the requests; ``only`` keeps these kinds alone.
    """
    wanted = set(only)
    asked = set(directions)
    planned: list[Planned] = []
    for direction in ORDER:
        if direction not in asked:
            continue
        for row in scenario.rows:
            if wanted and row.kind not in wanted:
                continue
            if row.direction in ("both", direction):
                planned += _pair(row, direction, family, len(planned) + 1)
    return Plan(tuple(planned))


def _check_source(row: Row, kind: Codec) -> None:
    """A fixed source port needs shots that tell themselves apart on one and the same tuple."""
    if isinstance(row.source_port, int) and (kind.stream or not kind.tagged):
        what = "a TCP connection" if kind.stream else "one octet"
        raise ScenarioError(
            f"{row.kind}: source_port = {row.source_port}: {what} is known by a source port of its "
            'own for every shot, so that it cannot be fixed; leave source_port out, or say "fresh"'
        )


def _pair(row: Row, direction: Direction, family: int, number: int) -> tuple[Planned, Planned]:
    kind = codec(row.kind)
    _check_source(row, kind)
    source_port = kind.port if kind.fixed_source else None
    if row.source_port is not None:
        source_port = row.source_port if isinstance(row.source_port, int) else None
    request = Check(
        number=number,
        kind=row.kind,
        direction=direction,
        flow=Flow.NEW,
        family=family,
        size=row.size,
        fragmenting=row.fragmenting,
        source_port=source_port if kind.port is not None else None,
        destination_port=kind.port,
        partner=number + 1,
    )
    reply = Check(
        number=number + 1,
        kind=row.kind,
        direction=OPPOSITE[direction],
        flow=Flow.REPLY,
        family=family,
        size=row.size,  # as large as the request: answers are large in real life too
        fragmenting=row.fragmenting,
        source_port=kind.port,
        destination_port=request.source_port,
        partner=number,
    )
    return (
        Planned(request, row.expected(request.direction, request.flow), row.label),
        Planned(reply, row.expected(reply.direction, reply.flow), row.label),
    )
