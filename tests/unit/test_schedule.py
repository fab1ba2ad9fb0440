"""Two ends that cannot talk reckon the same hours, the same ports and the same secret."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Direction
from agent.record.asked import KB
from agent.record.schedule import FIRST_PORT, GAP, PORTS, Schedule, moment, written

IN, OUT = Direction.INBOUND, Direction.OUTBOUND
KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC).timestamp()


@given(st.floats(-1, 1), st.floats(0.1, 60), st.integers(1, 30))
def test_inbound_is_over_before_outbound_begins_by_either_clock(
    apart: float, slack: float, shots: int
) -> None:
    """``apart``: of the slack, by which far's clock is ahead of near's."""
    schedule = Schedule(NOW, KB, 4, shots, slack)
    far_is_ahead = apart * slack
    last_inbound = schedule.begins(IN) + len(schedule.requests(IN)) * shots * GAP - far_is_ahead
    assert last_inbound < schedule.begins(OUT)
    # and near listens all the while, and far until near's last has come
    assert schedule.at <= schedule.begins(IN) - far_is_ahead
    last_outbound = schedule.begins(OUT) + len(schedule.requests(OUT)) * shots * GAP
    assert last_outbound + far_is_ahead < schedule.ends


def test_both_ends_draw_the_same_ports_and_none_twice() -> None:
    near, far = (
        Schedule(NOW, "kerberos-tcp kerberos-udp ike+fresh nat-keepalive", 4) for _ in "12"
    )
    secret = near.secret(KEY)
    assert far.secret(KEY) == secret
    for direction in (IN, OUT):
        uses = near.ports(secret, direction)
        assert uses == far.ports(secret, direction)
        assert len(uses) == 4 * near.shots
        drawn = [use.port for use in uses]
        assert len(set(drawn)) == len(drawn)
        assert all(FIRST_PORT <= port < FIRST_PORT + PORTS for port in drawn)


def test_another_hour_another_secret() -> None:
    one, other = Schedule(NOW, KB, 4), Schedule(NOW + 60, KB, 4)
    assert one.secret(KEY) != other.secret(KEY)
    assert one.secret(KEY) != one.secret(bytes(32))
    assert len(one.secret(KEY)) == 32


def test_one_host_tests_two_others_at_the_same_hour() -> None:
    """With one key for all. What one of them shoots must not count for the other."""
    one, other = (Schedule(NOW, KB, 4, run=run) for run in ("00000001", "00000002"))
    assert one.secret(KEY) != other.secret(KEY)


@pytest.mark.parametrize(
    ("text", "ahead"), [("+90", 90), ("+90s", 90), ("+5m", 300), ("+2h", 7200)]
)
def test_from_now_on(text: str, ahead: float) -> None:
    assert moment(text, NOW) == NOW + ahead


def test_the_next_time_the_clock_shows_it() -> None:
    soon = datetime.fromtimestamp(NOW + 3600).strftime("%H:%M")
    assert 0 < moment(soon, NOW) - NOW <= 3600
    gone = datetime.fromtimestamp(NOW - 3600).strftime("%H:%M")
    assert 22 * 3600 <= moment(gone, NOW) - NOW <= 23 * 3600


def test_rfc_3339_there_and_back() -> None:
    assert moment("2026-03-01T12:00:30Z", 0.0) == NOW
    assert moment("2026-03-01T13:00:30+01:00", 0.0) == NOW
    assert written(NOW) == "2026-03-01T12:00:30Z"


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "2026-03-01", "2026-03-01T12:00", "+", "-5m"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="give a time as"):
        moment(text, NOW)
