"""Scenario → checks, in the order in which they are safe to ask.

Inbound goes first, on a quiet path: it is the direction more likely to be denied, and a shot that
was dropped leaves no state behind. The reply to each shot follows it at once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from agent.model import Check, Direction, Flow, Fragmenting
from agent.record.asked import ORDER, Asked, WrongQuestion, checks
from probe.judge.opening import tuple_of
from scenarios import Expect, Row, Scenario, ScenarioError

__all__ = ["ORDER", "Plan", "Planned", "asked", "make", "part", "with_sizes", "without"]


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
    """What does not travel on one of ``tuples`` (:func:`probe.judge.opening.tuple_of`)."""
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
    rows = [row for row in scenario.rows if not wanted or row.kind in wanted]
    planned: list[Planned] = []
    try:
        found = checks([asked(row) for row in rows], family, tuple(directions))
    except WrongQuestion as error:
        raise ScenarioError(str(error)) from None
    for place, *pair in found:
        row = rows[place]
        planned += [Planned(c, row.expected(c.direction, c.flow), row.label) for c in pair]
    return Plan(tuple(planned))


def asked(row: Row) -> Asked:
    """What both ends must know of a row."""
    return Asked(row.kind, row.direction, row.source_port, row.size, row.fragmenting)
