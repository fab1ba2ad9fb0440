"""What was seen of the shots, in words: sender first, and shots that fared alike in one line."""

from __future__ import annotations

from dataclasses import replace

from agent.model import TAKEN, Event, Icmp, Side, Sighting
from probe.report.evidence import render
from probe.result import Outcome
from scenarios import Row
from tests.samples import result, row, whole

START = 1_700_000_000.25


def seen(shot: int, at: Side, event: Event, **more: object) -> Sighting:
    ends = {"source": "10.0.0.1", "destination": "10.0.0.5"}
    return Sighting(at, event, 1, shot, START + shot, **{**ends, **more})  # type: ignore[arg-type]


def through(shot: int) -> list[Sighting]:
    return [
        seen(shot, Side.FAR, Event.ARRIVED, size=140, ttl=63),
        seen(shot, Side.NEAR, Event.SENT),
        seen(shot, Side.NEAR, Event.LEFT, size=140, ttl=64),
        seen(shot, Side.FAR, Event.DELIVERED),
    ]


def told(*sightings: Sighting, kind: str = "esp", width: int = 80) -> str:
    first, *others = whole(kind)
    return render(result((replace(first, evidence=sightings), *others)), width)


def test_the_sender_comes_first_and_equal_stories_share_a_line() -> None:
    lost = [seen(5, Side.NEAR, Event.SENT), seen(5, Side.NEAR, Event.LEFT, size=140, ttl=64)]
    shots = [s for number in (1, 2, 4) for s in through(number)]
    assert told(*shots, *lost, width=200).splitlines() == [
        "ESP IP 50, outbound new: delivered",
        "  shots 1-2, 4, 22:13:21.250 UTC, near: left (10.0.0.1 → 10.0.0.5, 140 octets, TTL 64); "
        "far: arrived (10.0.0.1 → 10.0.0.5, 140 octets, TTL 63), a socket got it",
        "  shot 5, 22:13:25.250 UTC, near: left (10.0.0.1 → 10.0.0.5, 140 octets, TTL 64)",
    ]


def test_what_never_left_keeps_its_only_witness() -> None:
    assert told(seen(1, Side.NEAR, Event.SENT)).endswith("near: handed to the kernel")
    refused = seen(1, Side.NEAR, Event.UNSENT, note="EPERM")
    assert told(refused).endswith("near: not sent (EPERM)")


def test_who_refused_and_why() -> None:
    error = seen(1, Side.NEAR, Event.REFUSED, icmp=Icmp(3, 13, "10.0.0.254"))
    text = told(seen(1, Side.NEAR, Event.LEFT), error, width=200)
    assert "refused by 10.0.0.254: communication administratively prohibited (ICMP 3/13)" in text


def test_an_answer_of_anothers_is_told_at_either_end() -> None:
    text = told(
        seen(1, Side.NEAR, Event.REPLIED, size=64),
        seen(1, Side.FAR, Event.REPLIED, size=64),
        seen(1, Side.FAR, Event.REPLIED, stage=TAKEN),
        width=200,
    )
    assert text.endswith(
        "near: another program answered (64 octets); "
        "far: another answer came (64 octets), a socket got that answer"
    )


def test_the_failing_checks_stand_first() -> None:
    good, *others = whole("esp")
    bad = row(Row("ike"), Outcome.DELIVERED, Outcome.DELIVERED, Outcome.LOST, Outcome.DELIVERED)
    shots = tuple(through(1))
    run = result(
        (replace(good, evidence=shots), *others),
        tuple(replace(conclusion, evidence=shots) for conclusion in bad),
    )
    assert render(run).splitlines()[0].endswith(": lost")


def test_nothing_that_a_host_says_steers_the_terminal_or_is_wider_than_it() -> None:
    text = told(seen(1, Side.NEAR, Event.UNSENT, note="\x1b[2J" + "word " * 40))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_seen_nothing_said() -> None:
    assert told() == ""
