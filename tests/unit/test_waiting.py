"""A thousand that say nothing: bounded, and never in the way of one who has something to say."""

from __future__ import annotations

from agent.access.waiting import Waiting


def test_the_oldest_of_an_address_makes_room() -> None:
    waiting: Waiting[int] = Waiting(room=10, each=3)
    assert [waiting.come(number, "10.0.0.1") for number in range(5)] == [None, None, None, 0, 1]
    assert len(waiting) == 3


def test_a_flood_from_one_address_costs_no_other_its_place() -> None:
    waiting: Waiting[str] = Waiting(room=10, each=10)
    assert waiting.come("good", "10.0.0.9") is None
    gone = [waiting.come(f"flood {n}", "10.0.0.1") for n in range(1000)]
    assert "good" not in gone
    assert len(waiting) == 10
    assert waiting.come("good as well", "10.0.0.8") not in (None, "good")
    assert len(waiting) == 10


def test_many_addresses_with_one_connection_each_go_oldest_first() -> None:
    waiting: Waiting[int] = Waiting(room=4, each=2)
    gone = [waiting.come(number, f"10.0.0.{number}") for number in range(8)]
    assert gone == [None] * 4 + [0, 1, 2, 3]


def test_who_was_let_in_takes_no_room_and_cannot_be_sent_away() -> None:
    waiting: Waiting[str] = Waiting(room=2, each=2)
    waiting.come("a", "10.0.0.1")
    waiting.go("a")
    waiting.go("a")
    assert len(waiting) == 0
    assert [waiting.come(name, "10.0.0.1") for name in "bc"] == [None, None]
    assert waiting.come("d", "10.0.0.1") == "b"


def test_a_host_with_many_ipv6_addresses_is_one() -> None:
    waiting: Waiting[int] = Waiting(room=10, each=2)
    assert waiting.come(1, "fd00::1") is None
    assert waiting.come(2, "fd00::2%eth0") is None
    assert waiting.come(3, "fd00::abcd:3") == 1
    assert waiting.come(4, "fd00:0:0:1::3") is None
