from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.ledger import MOST_TROUBLES, Ledger, Moment, Tuple5, state_directory

ESP = Tuple5(4, 50, "10.0.0.1", 0, "10.0.0.2", 0)
NOW = Moment("boot-a", 1_000.0, 1_700_000_000.0)


def later(seconds: float) -> Moment:
    return replace(NOW, uptime=NOW.uptime + seconds, wall=NOW.wall + seconds)


def test_what_was_seen_is_known_with_its_age(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")
    assert ledger.age(ESP, NOW) is None
    ledger.seen([(ESP, "an earlier run")], NOW)
    assert ledger.age(ESP, later(42.0)) == (42.0, "an earlier run")
    assert ledger.age(replace(ESP, remote="10.0.0.3"), NOW) is None
    assert ledger.age(replace(ESP, protocol=51), NOW) is None


def test_what_may_have_been_dropped_is_kept_beside_what_crossed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")
    ledger.seen([(ESP, "crossed")], NOW)
    ledger.seen([(ESP, "left")], later(10.0), crossed=False)
    assert ledger.age(ESP, later(12.0)) == (12.0, "crossed")
    assert ledger.age(ESP, later(12.0), crossed=False) == (2.0, "left")


def test_it_survives_a_restart(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "flows.sqlite")
    first.seen([(ESP, "x")], NOW)
    first.close()
    assert Ledger(tmp_path / "flows.sqlite").age(ESP, later(1.0)) == (1.0, "x")


def test_two_at_once_do_not_spoil_it(tmp_path: Path) -> None:
    one, two = (Ledger(tmp_path / "flows.sqlite") for _ in range(2))
    for number in range(50):
        for ledger in (one, two):
            flow = replace(ESP, remote=f"10.0.{number}.1")
            ledger.seen([(flow, "x")], NOW)
    assert one.age(replace(ESP, remote="10.0.49.1"), NOW) is not None
    assert not one.troubles
    assert not two.troubles


def test_a_stepped_clock_changes_no_age_within_a_boot(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")
    ledger.seen([(ESP, "x")], NOW)
    for step in (-3600.0, 3600.0):
        moment = Moment("boot-a", NOW.uptime + 5.0, NOW.wall + 5.0 + step)
        assert ledger.age(ESP, moment) == (5.0, "x")


def test_after_a_reboot_the_wall_clock_is_what_there_is(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")
    ledger.seen([(ESP, "x")], NOW)
    assert ledger.age(ESP, Moment("boot-b", 3.0, NOW.wall + 60.0)) == (60.0, "x")


def test_a_damaged_file_is_set_aside_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "flows.sqlite"
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 50)
    ledger = Ledger(path)
    assert "set aside" in ledger.troubles[0]
    ledger.seen([(ESP, "x")], NOW)
    assert ledger.age(ESP, NOW) == (0.0, "x")
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_a_place_that_cannot_be_written_is_a_trouble_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "flows.sqlite")
    assert ledger.troubles
    ledger.seen([(ESP, "x")], NOW)
    assert ledger.age(ESP, NOW) is None
    ledger.close()


def test_a_disk_that_stays_full_for_weeks_is_told_once_and_takes_no_memory(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")

    def fail(times: int) -> None:
        assert ledger._database is not None
        ledger._database.execute("PRAGMA query_only=ON")
        for number in range(times):
            ledger.seen([(ESP, "x")], later(number))
            ledger.fresh(b"%d" % number)
        ledger._database.execute("PRAGMA query_only=OFF")

    fail(1000)
    (told,) = ledger.troubles
    assert "could not be written" in told
    assert ledger.news() == [told]
    assert ledger.news() == []
    ledger.seen([(ESP, "x")], later(2000.0))
    fail(3)
    assert ledger.news() == [told], "the log hears of it when it comes back"
    assert ledger.troubles == [told]


def test_only_the_last_of_many_troubles_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "flows.sqlite")
    for number in range(3 * MOST_TROUBLES):
        ledger._trouble(f"trouble {number}")
    last = [f"trouble {number}" for number in range(2 * MOST_TROUBLES, 3 * MOST_TROUBLES)]
    assert ledger.troubles == last
    assert ledger.news() == last


def test_where_state_lives() -> None:
    assert state_directory({"PROBE_STATE_DIR": "/a", "XDG_STATE_HOME": "/b"}) == Path("/a")
    assert state_directory({"XDG_STATE_HOME": "/b", "HOME": "/c"}) == Path("/b/probe")


def test_an_opening_is_fresh_once_also_after_a_restart(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "flows.sqlite")
    assert first.fresh(b"one")
    assert not first.fresh(b"one")
    assert first.fresh(b"two")
    first.close()
    again = Ledger(tmp_path / "flows.sqlite")
    assert not again.fresh(b"two")
    assert again.fresh(b"three")


def test_without_a_file_openings_are_known_as_long_as_the_program_runs(tmp_path: Path) -> None:
    (tmp_path / "flows.sqlite").mkdir()
    ledger = Ledger(tmp_path / "flows.sqlite")
    assert ledger.troubles
    assert ledger.fresh(b"one")
    assert not ledger.fresh(b"one")


def test_without_a_file_no_opening_is_ever_fresh_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather none at all, once there is no room to remember them."""
    monkeypatch.setattr("agent.ledger.REMEMBERED_OPENINGS", 10)
    (tmp_path / "flows.sqlite").mkdir()
    ledger = Ledger(tmp_path / "flows.sqlite")
    found = [ledger.fresh(b"%d" % number) for number in range(20)]
    assert found == [True] * 10 + [False] * 10
    assert not any(ledger.fresh(b"%d" % number) for number in range(20))


def test_more_openings_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.ledger.KEEP_OPENINGS", 50)
    ledger = Ledger(tmp_path / "flows.sqlite")
    for number in range(100):
        assert ledger.fresh(b"%d" % number)
    assert not ledger.fresh(b"99")
    assert not ledger.fresh(b"60")
