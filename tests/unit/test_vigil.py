"""What crosses while nobody tests is known to the next run; nothing grows, nothing else is kept."""

from __future__ import annotations

import pytest

from agent.ledger import Tuple5
from agent.vigil import FRESH_ENOUGH, MOST, WHAT, Vigil
from agent.wire.base import Packet

HERE, THERE = "10.0.0.5", "10.0.0.1"


def packet(protocol: int = 50, ports: tuple[int | None, int | None] = (None, None)) -> Packet:
    return Packet(4, protocol, THERE, HERE, b"secret", *ports)


def test_what_comes_in_has_crossed_and_what_goes_out_may_not() -> None:
    vigil = Vigil()
    assert vigil.see(packet(), False, 0.0)
    back = Packet(4, 50, HERE, THERE, b"secret")
    assert vigil.see(back, True, 0.0)
    flow = Tuple5(4, 50, HERE, 0, THERE, 0)
    assert vigil.take(0.0) == {True: [(flow, WHAT)], False: [(flow, WHAT)]}
    assert vigil.take(0.0) == {True: [], False: []}


@pytest.mark.parametrize("ports", [(500, 500), (4500, 4500)])
def test_ike_from_its_own_port_is_a_flow(ports: tuple[int, int]) -> None:
    vigil = Vigil()
    assert vigil.see(packet(17, ports), False, 0.0)
    ((flow, _),) = vigil.take(0.0)[True]
    assert flow == Tuple5(4, 17, HERE, ports[0], THERE, ports[0])


@pytest.mark.parametrize(
    ("protocol", "ports"), [(17, (40_000, 500)), (17, (53, 53)), (6, (500, 500)), (1, (None, None))]
)
def test_nothing_else_is_kept(protocol: int, ports: tuple[int | None, int | None]) -> None:
    assert not Vigil().see(packet(protocol, ports), False, 0.0)


def test_a_busy_tunnel_is_written_down_now_and_then() -> None:
    vigil = Vigil()
    assert vigil.see(packet(), False, 0.0)
    assert not vigil.see(packet(), False, 0.1)
    vigil.take(1.0)
    assert not vigil.see(packet(), False, 0.9 + FRESH_ENOUGH)
    assert vigil.see(packet(), False, 1.0 + FRESH_ENOUGH)


def test_any_number_of_peers_needs_no_more_memory() -> None:
    vigil = Vigil()
    for round_ in range(3):
        for number in range(MOST):
            source = f"10.{round_}.{number >> 8}.{number & 255}"
            vigil.see(Packet(4, 50, source, HERE, b""), False, float(round_))
        assert len(vigil.take(float(round_))[True]) == MOST
    assert len(vigil._written) == MOST
