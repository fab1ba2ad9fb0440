"""Who shoots when, where the two ends have no contact: both reckon it from one moment.

Inbound goes first, as always, and is over before outbound begins, also by the clock that is ahead.
Between, before and behind lies ``slack``: as far as the two hosts' clocks may be apart. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from agent.model import Check, Direction, Flow, PortUse, Tag, Volley
from agent.record.asked import checks, read
from agent.wire import codec

GAP = 0.02  # seconds between two shots
WAIT = 2.0  # for what is still on its way when the last shot was fired
SHOTS = 16  # of each check: without contact nobody asks again, and silence has to count
SLACK = 5.0
_AHEAD = re.compile(r"\+([0-9]{1,5})([smh]?)")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}")
_UNITS = {"s": 1, "m": 60, "h": 3600}
RUN = re.compile(r"[0-9a-f]{8}")  # the name of a run
FIRST_PORT, PORTS = 20_000, 12_000  # below those that Linux gives out by itself


@dataclass(frozen=True, slots=True)
class Terms:
    """What both ends must be told. ``at``: seconds since the epoch; ``slack``: seconds."""

    at: float
    shots: int = SHOTS
    slack: float = SLACK


@dataclass(frozen=True)
class Schedule:
    """``at``: seconds since the epoch. ``asked``: see :mod:`agent.record.asked`. ``run``: what near
    drew to tell this run from others with the same key at the same hour.
    """

    at: float
    asked: str
    family: int
    shots: int = SHOTS
    slack: float = SLACK
    run: str = ""

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        found = checks(read(self.asked), self.family)
        return tuple(check for _, *pair in found for check in pair)

    def requests(self, direction: Direction) -> tuple[Check, ...]:
        new = (check for check in self.checks if check.flow is Flow.NEW)
        return tuple(check for check in new if check.direction is direction)

    def volleys(self, direction: Direction) -> tuple[Volley, ...]:
        return tuple(Volley(check.number, 1, self.shots) for check in self.requests(direction))

    def _lasts(self, direction: Direction) -> float:
        return len(self.requests(direction)) * self.shots * GAP + WAIT

    def begins(self, direction: Direction) -> float:
        """When the end that sends fires, by its own clock."""
        if direction is Direction.INBOUND:
            return self.at + self.slack
        return self.begins(Direction.INBOUND) + self._lasts(Direction.INBOUND) + self.slack

    @property
    def ends(self) -> float:
        """When each end may stop to listen, by its own clock."""
        return self.begins(Direction.OUTBOUND) + self._lasts(Direction.OUTBOUND) + self.slack

    def secret(self, key: bytes) -> bytes:
        """32 octets that only this run's shots are keyed with.

        Where one near tests many hosts at the same hour, what one of them shoots is not another's.
        """
        asked = f"{self.family}/{self.shots}/{self.asked}"
        words = f"ipsec-probe record/{self.at:.3f}/{self.run}/{asked}"
        return hmac.digest(key, words.encode(), hashlib.sha256)

    def ports(self, secret: bytes, direction: Direction) -> list[PortUse]:
        """The port that each shot with a fresh one leaves from: both ends draw the same."""
        taken: set[int] = set()
        found: list[PortUse] = []
        for check in self.requests(direction):
            if check.destination_port is None or check.source_port is not None:
                continue
            stream = codec(check.kind).stream
            for shot in range(1, self.shots + 1):
                tag = Tag(check.number, shot)
                found.append(PortUse(check.number, shot, _draw(secret, tag, stream, taken)))
        return found


def moment(text: str, now: float) -> float:
    """Seconds since the epoch of "+5m", "18:30" (the next by local time) or RFC 3339.

    ValueError for anything else, with words for whoever typed it.
    """
    if ahead := _AHEAD.fullmatch(text):
        return float(round(now + int(ahead[1]) * _UNITS[ahead[2] or "s"]))
    try:
        if _CLOCK.fullmatch(text):
            today = datetime.fromtimestamp(now).replace(second=0, microsecond=0)
            hour, minute = map(int, text.split(":"))
            at = today.replace(hour=hour, minute=minute).timestamp()
            return at if at > now else at + 86_400
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise ValueError(
            f"{text}: give a time as +5m, as 18:30 (local), or as 2026-01-31T18:30:00Z"
        )
    return parsed.timestamp()


def written(at: float) -> str:
    """RFC 3339 in UTC, to be typed on any host."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _draw(secret: bytes, tag: Tag, stream: bool, taken: set[int]) -> int:
    words = b"port/%d/%d/%d" % (stream, tag.check, tag.shot)
    port = int.from_bytes(hmac.digest(secret, words, hashlib.sha256)[:4], "big") % PORTS
    while port in taken:
        port = (port + 1) % PORTS
    taken.add(port)
    return FIRST_PORT + port
