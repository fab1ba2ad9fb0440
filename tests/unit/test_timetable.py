from __future__ import annotations

from agent.model import Tag, Volley
from agent.timetable import Timetable


def due(table: Timetable, until: float = 1000.0) -> list[tuple[float, int, int, int | None]]:
    """(when, check, shot, TTL) of all that is due by ``until``."""
    found = []
    while (when := table.next()) is not None and when <= until:
        shot = table.pop(when)
        assert shot is not None
        found.append((when, shot[0].check, shot[0].shot, shot[1]))
    return found


def test_the_checks_take_turns() -> None:
    table = Timetable()
    table.add([Volley(1, 1, 3), Volley(5, 7, 1)], 0.5, 10.0)
    assert due(table) == [
        (10.0, 1, 1, None),
        (10.5, 5, 7, None),
        (11.0, 1, 2, None),
        (11.5, 1, 3, None),
    ]


def test_a_shot_keeps_the_limit_of_its_volley() -> None:
    table = Timetable()
    table.add([Volley(1, 1, 1, ttl=1), Volley(1, 2, 2, ttl=2), Volley(1, 4, 1)], 0.0, 0.0)
    assert [(shot, ttl) for _, _, shot, ttl in due(table)] == [(1, 1), (2, 2), (4, None), (3, 2)]


def test_what_comes_later_waits_its_turn() -> None:
    table = Timetable()
    table.add([Volley(1, 1, 2)], 1.0, 0.0)
    table.add([Volley(2, 1, 1)], 1.0, 0.5)
    assert [when for when, *_ in due(table)] == [0.0, 1.0, 2.0]


def test_nothing_before_its_time() -> None:
    table = Timetable()
    assert table.next() is None
    assert table.pop(5.0) is None
    table.add([Volley(1, 1, 1)], 1.0, 6.0)
    assert table.pop(5.0) is None
    assert table.pop(6.0) == (Tag(1, 1), None)
    table.add([Volley(1, 2, 2)], 1.0, 7.0)
    table.clear()
    assert table.next() is None
