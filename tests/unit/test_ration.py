"""At most two IKE requests in thirty seconds to one address, whoever sends them."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.ledger import Moment
from agent.ration import LIMIT, MARGIN, SECONDS, Ration

FAR, OTHER = "10.2.0.2", "10.2.0.3"
WINDOW = SECONDS + MARGIN


def at(seconds: float, *, boot: str = "one", wall: float | None = None) -> Moment:
    return Moment(boot, 1000.0 + seconds, 1.7e9 + (seconds if wall is None else wall))


@pytest.fixture
def ration(tmp_path: Path) -> Ration:
    return Ration(tmp_path / "state" / "ike.sqlite")


def test_two_may_go_and_the_third_must_wait(ration: Ration) -> None:
    assert ration.free(FAR, at(0)) == LIMIT == 2
    assert ration.wait(FAR, at(0)) == 0
    assert ration.take(FAR, at(0))
    assert ration.take(FAR, at(10))
    assert not ration.take(FAR, at(11))
    assert ration.free(FAR, at(11)) == 0
    assert ration.wait(FAR, at(11)) == pytest.approx(WINDOW - 11)
    assert not ration.take(FAR, at(WINDOW - 0.1))
    assert ration.take(FAR, at(WINDOW + 0.1))
    assert ration.wait(FAR, at(WINDOW + 0.1)) == pytest.approx(9.9)  # the second one's window


def test_in_no_thirty_seconds_are_there_three(ration: Ration) -> None:
    """However it is asked: by the record of what it allowed."""
    sent = [tenth / 10 for tenth in range(3000) if ration.take(FAR, at(tenth / 10))]
    assert len(sent) >= 18
    assert all(later - earlier >= SECONDS for earlier, later in zip(sent, sent[2:], strict=False))


def test_what_is_refused_is_not_counted(ration: Ration) -> None:
    taken = [ration.take(FAR, at(0)) for _ in range(10)]
    assert taken == [True, True] + [False] * 8
    assert ration.wait(FAR, at(0)) == pytest.approx(WINDOW)


def test_each_address_has_its_own(ration: Ration) -> None:
    assert [ration.take(FAR, at(0)) for _ in range(3)] == [True, True, False]
    assert [ration.take(OTHER, at(0)) for _ in range(3)] == [True, True, False]
    assert [ration.take("fe80::1%eth0", at(0)) for _ in range(2)] == [True, True]
    assert not ration.take("fe80::1%eth1", at(0))  # the daemon is one, by whatever interface


def test_another_run_knows_of_it(ration: Ration) -> None:
    assert ration.take(FAR, at(0))
    ration.close()
    again = Ration(ration.path)
    assert again.free(FAR, at(1)) == 1
    assert again.take(FAR, at(1))
    assert not Ration(ration.path).take(FAR, at(2))


def test_runs_at_once_share_it(ration: Ration) -> None:
    taken: list[bool] = []

    def run() -> None:
        mine = Ration(ration.path)
        taken.extend(mine.take(FAR, at(0)) for _ in range(20))
        mine.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 2


@pytest.mark.parametrize("stepped", [-86_400.0, -20.0, 0.0, 20.0, 86_400.0])
def test_a_clock_that_is_stepped_changes_nothing(ration: Ration, stepped: float) -> None:
    assert ration.take(FAR, at(0))
    assert ration.take(FAR, at(0))
    assert not ration.take(FAR, at(29, wall=29 + stepped))
    assert ration.wait(FAR, at(29, wall=stepped)) == pytest.approx(WINDOW - 29)


def test_after_a_reboot_the_wall_clock_counts(ration: Ration) -> None:
    for _ in range(2):
        assert ration.take(FAR, at(0))
    assert not ration.take(FAR, Moment("two", 5.0, 1.7e9 + 20))
    assert ration.take(FAR, Moment("two", 40.0, 1.7e9 + 60))


def damage(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all" * 100)


def occupy(path: Path) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.write_text("a file where the directory should be")


@pytest.mark.parametrize("spoil", [damage, occupy])
def test_without_a_record_nothing_is_sent(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "state" / "ike.sqlite"
    spoil(path)
    ration = Ration(path)
    assert not ration.take(FAR, at(0))
    assert (ration.free(FAR, at(0)), ration.wait(FAR, at(0))) == (0, math.inf)
    assert "IKE is left out" in ration.trouble
    assert str(path) in ration.trouble


def test_a_record_that_fails_later(ration: Ration) -> None:
    assert ration.take(FAR, at(0))
    with sqlite3.connect(ration.path) as other:
        other.execute("DROP TABLE asked")
    assert not ration.take(FAR, at(1))
    assert ration.trouble
