"""Invariant: whatever the firewall, what is said of its memory is true, or it is called unclear.

A firewall is played, with a clock of its own: minutes of silence take microseconds.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.state.hold import Held
from probe.state.memory import (
    Asked,
    Cold,
    Exchange,
    Finding,
    Measurement,
    OneWay,
    Replies,
    Silence,
    State,
    Step,
    Told,
    Wanted,
    Way,
)

SLACK = 0.5  # seconds that asking may take, beside the silence itself
GROWN = 2.0  # seconds until both ends of a UDP flow have spoken long enough (Linux)


@dataclass
class Wall:
    """Remembers a flow for ``young`` seconds, for ``grown`` once it is answered (and of age)."""

    grown: float
    young: float | None = None  # None: as long as the other
    open: bool = False  # to anything
    out: bool = True
    back: bool = True
    ages: bool = False  # an answered flow counts as grown after two seconds only
    shared: bool = True
    loss: float = 0.0
    near_drops_after: float = 1e9  # near's own firewall, which forgets by itself
    seed: int = 1
    spoils: type | None = None
    now: float = 0.0
    born: float = 0.0
    until: float = -1.0
    last: float = 0.0
    steps: Counter[type] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def _crosses(self) -> bool:
        return self.chance.random() >= self.loss

    def _request(self) -> bool:
        if not (self._crosses() and self.out):
            return False
        if self.now >= self.until:
            self.born = self.now
        self._touch(answered=False)
        return True

    def _touch(self, *, answered: bool) -> None:
        young = self.grown if self.young is None else self.young
        aged = not self.ages or self.now - self.born >= GROWN
        lasts = self.grown if answered and aged else young
        self.until = max(self.until, self.now + lasts)
        self.last = self.now

    def _reply(self) -> bool:
        if not self._crosses():
            return False
        if self.open:
            return True
        if not self.back or self.now >= self.until:
            return False
        self._touch(answered=True)
        return True

    def play(self, step: Step) -> Told:
        self.steps[type(step)] += 1
        spoiled = "something else was seen" if isinstance(step, self.spoils or ()) else ""
        match step:
            case Cold(shots):
                came = sum(self._reply() for _ in range(shots))
                return Told(back=Way(shots, came, came), spoiled=spoiled)
            case Exchange(shots, gap):
                there, back = 0, Way()
                for shot in range(shots):
                    self.now += gap if shot else 0.0
                    if self._request():
                        there += 1
                        came = int(self._reply())
                        back += Way(1, came, came)
                self.now += 0.01
                return Told(Way(shots, there, there), back, spoiled=spoiled)
            case OneWay():
                if not self.shared:
                    self.until = -1.0
                came = int(self._request())
                return Told(Way(1, came, came), spoiled=spoiled)
            case Silence(seconds):
                self.now = max(self.now, self.last + seconds + 0.01)
                return Told(spoiled=spoiled)
            case Replies(shots):
                low = self.now - self.last
                self.now += 0.05
                came = sum(self._reply() for _ in range(shots))
                kept = came if low < self.near_drops_after else 0
                return Told(back=Way(shots, came, kept), quiet=(low, low + 0.1), spoiled=spoiled)


def measure(wall: Wall, bound: float = 60.0, **wanted: object) -> Finding:
    asked = Wanted(bound, shared=wall.shared, ages=wall.ages, **wanted)  # type: ignore[arg-type]
    measurement = Measurement(asked)
    course = measurement.steps()
    step = next(course)
    for _ in range(2000):
        assert measurement.remaining() >= 0
        assert measurement.finding().state in State
        try:
            step = course.send(wall.play(step))
        except StopIteration:
            return measurement.finding()
    raise AssertionError("it does not end")


def holds(held: Held | None, truth: float, bound: float) -> bool:
    assert held is not None
    assert held.at_least < truth + SLACK
    if held.less_than is None:
        return held.at_least >= bound
    return held.less_than > truth - SLACK and held.at_least < held.less_than


@given(st.floats(0.2, 400.0), st.floats(1.0, 200.0), st.booleans())
def test_the_time_is_found(timeout: float, bound: float, ages: bool) -> None:
    found = measure(Wall(timeout, ages=ages), bound)
    assert found.state is State.REPLY_ONLY
    assert holds(found.held, timeout, bound)
    assert found.missing == 0


@given(
    st.floats(3.0, 100.0), st.floats(0.5, 1.0), st.booleans(), st.booleans(), st.floats(1.0, 60.0)
)
def test_a_flow_without_an_answer_is_told_apart(
    grown: float, share: float, shared: bool, ages: bool, bound: float
) -> None:
    young = max(1.5, grown * share)
    wall = Wall(grown, young, shared=shared, ages=ages)
    found = measure(wall, bound, one_way=True)
    assert found.state is State.REPLY_ONLY
    assert holds(found.held, grown, bound)
    if found.one_way is None:
        assert shared
        assert "--max" in " ".join(found.remarks)
    elif found.one_way.less_than is None:
        assert found.held is not None
        assert found.held.at_least <= found.one_way.at_least < young + SLACK
    else:
        assert holds(found.one_way, young, bound)


@given(st.floats(3.0, 100.0), st.floats(0.05, 0.3), st.integers(0, 10_000), st.booleans())
def test_loss_is_not_taken_for_forgetting(
    timeout: float, rate: float, seed: int, shared: bool
) -> None:
    wall = Wall(timeout, loss=rate, seed=seed, shared=shared)
    found = measure(wall, 40.0, one_way=not shared)
    if found.state is not State.UNCLEAR:
        assert found.state is State.REPLY_ONLY
        assert holds(found.held, timeout, 40.0)


def test_linux_as_it_is() -> None:
    """UDP: 30 s until a flow of two seconds has been answered, 120 s from then on."""
    wall = Wall(120.0, 30.0, ages=True, shared=False)
    found = measure(wall, 300.0, one_way=True)
    assert holds(found.held, 120.0, 300.0)
    assert holds(found.one_way, 30.0, 300.0)
    assert found.interval is not None
    assert 20 <= found.interval <= 25


def test_what_is_open_to_anything_is_asked_no_further() -> None:
    wall = Wall(30.0, open=True)
    found = measure(wall)
    assert (found.state, found.held) == (State.OPEN, None)
    assert wall.steps == {Cold: 1}


def test_earlier_traffic_may_have_opened_what_seems_open() -> None:
    found = measure(Wall(30.0, open=True), prior="ESP crossed 5 s ago")
    assert found.state is State.UNCLEAR
    assert "ESP crossed 5 s ago" in found.cause
    assert "--wait" in found.cause


def test_earlier_traffic_does_not_matter_to_what_is_shut() -> None:
    found = measure(Wall(30.0), prior="ESP crossed 5 s ago")
    assert found.state is State.REPLY_ONLY


def test_shut_even_for_replies() -> None:
    wall = Wall(30.0, back=False)
    found = measure(wall)
    assert (found.state, found.held) == (State.CLOSED, None)
    assert wall.steps[Silence] == 0


def test_nothing_gets_out() -> None:
    found = measure(Wall(30.0, out=False))
    assert found.state is State.NO_WAY_OUT
    assert "none of 12 requests" in found.cause


@pytest.mark.parametrize("spoils", [Cold, Exchange, Silence, Replies, OneWay])
def test_what_is_spoiled_is_unclear(spoils: type) -> None:
    found = measure(Wall(30.0, spoils=spoils, shared=False), one_way=True)
    assert (found.state, found.cause) == (State.UNCLEAR, "something else was seen")


def test_what_is_open_in_spite_of_a_spoiler_needs_no_quiet() -> None:
    assert measure(Wall(30.0, open=True, spoils=Cold)).state is State.OPEN


def test_behind_nat_nothing_is_sent_to_the_gateway_first() -> None:
    wall = Wall(30.0)
    found = measure(wall, behind_nat=True)
    assert wall.steps[Cold] == 0
    assert found.state is State.REPLY_ONLY
    assert any("NAT" in remark for remark in found.remarks)


def test_nears_own_firewall_is_not_the_networks() -> None:
    found = measure(Wall(30.0, near_drops_after=7.0))
    assert holds(found.held, 30.0, 60.0)
    assert any("near's own firewall" in remark for remark in found.remarks)


def test_a_host_that_cannot_send_is_not_blamed_on_the_path() -> None:
    measurement = Measurement(Wanted(60.0))
    course = measurement.steps()
    next(course)
    with pytest.raises(StopIteration):
        course.send(Told(back=Way(0, 0, 0)))
    assert measurement.finding().state is State.UNCLEAR
    assert "far's own firewall" in measurement.finding().cause


def test_what_a_host_would_not_send_is_told_in_its_own_words() -> None:
    """A NAT that gives the kind another address than the control connection's, for one."""
    measurement = Measurement(Wanted(60.0))
    course = measurement.steps()
    next(course)
    course.send(Told(back=Way(sent=7)))
    said = "far could not send it (its request came from 10.77.2.1)"
    with pytest.raises(StopIteration):
        course.send(Told(there=Way(3, 3, 3), back=Way(refused=said)))
    assert measurement.finding().state is State.UNCLEAR
    assert measurement.finding().cause == said


def test_interrupted_it_tells_what_is_known() -> None:
    measurement, wall = Measurement(Wanted(60.0)), Wall(100.0)
    course = measurement.steps()
    step = next(course)
    for _ in range(10):
        step = course.send(wall.play(step))
    found = measurement.finding()
    assert found.state is State.REPLY_ONLY
    assert found.held is not None
    assert found.held.at_least >= 1.0
    assert found.held.less_than is None
    assert found.trials[0].asked is Asked.COLD
