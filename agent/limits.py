"""How much one run may have an agent send: a bucket of tokens for shots, and one for octets.

Both fill at the rate that was granted and hold what comes in a second, so a short burst is as good
as an even stream. An order that asks for more is refused before any of it is done; what a run then
still asks for in excess (replies count as well) is not sent, and is told as such. Sans-IO: ``now``
is seconds by any clock that does not step.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.model import Check, Limits, Volley
from agent.orders import BadOrder
from agent.wire import codec

NATURAL = 400  # octets: no kind's own size is larger, IP header included
HEADERS = {4: 20, 6: 40}
CONNECTION = 320  # octets that a TCP connection costs beside its payload, at most
FULL = 1.0  # seconds for which a bucket fills until it is full


class OverLimit(BadOrder):
    """An order that asks for more than the agent grants."""


def granted(limits: Limits, asked: Limits | None) -> Limits:
    """What a run gets: what it asks for, as far as the limits go."""
    if asked is None:
        return limits
    return Limits(
        min(limits.shots, asked.shots),
        min(limits.octets, asked.octets),
        min(limits.seconds, asked.seconds),
    )


def octets(check: Check) -> int:
    """Of one shot's whole packets, at most."""
    connection = CONNECTION if codec(check.kind).stream else 0
    return max(check.size or 0, NATURAL) + connection


def gap(limits: Limits, checks: Iterable[Check]) -> float:
    """Seconds between two shots, so that a stream of shots of ``checks`` keeps within limits."""
    sizes = [octets(check) for check in checks]
    if not sizes:
        return 0.0
    return max(1 / limits.shots, max(sizes) / limits.octets)


class Bucket:
    """What is left to one run."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._shots = _Tokens(limits.shots, 1)
        self._octets = _Tokens(limits.octets, 0)

    def take(self, octets: int, now: float) -> bool:
        """One shot of that many octets: False when it must not be sent."""
        if self._shots.level(now) < 1 or self._octets.level(now) < octets:
            return False
        self._shots.spend(1, now)
        self._octets.spend(octets, now)
        return True

    def check_order(
        self, sizes: Iterable[int], before: Iterable[int], seconds: float, now: float
    ) -> None:
        """OverLimit unless shots of ``sizes`` can be sent within ``seconds``, behind ``before``.

        ``before`` are the sizes of what is ordered already and still to be sent.
        """
        ours = list(sizes)
        all_of_them = [*ours, *before]
        if ours and max(ours) > self._octets.most:
            raise OverLimit(
                f"a shot of {max(ours)} octets is more than the agent sends in a second "
                f"({self.limits.octets:.0f}, its --max-octets)"
            )
        room = self._shots.level(now) + seconds * self.limits.shots
        if len(all_of_them) > room + 1e-6:
            raise OverLimit(
                f"{len(all_of_them)} shots in {seconds:.1f} s are more than the agent sends "
                f"({self.limits.shots:g} a second, its --max-shots)"
            )
        if sum(all_of_them) > self._octets.level(now) + seconds * self.limits.octets + 1e-6:
            raise OverLimit(
                f"{sum(all_of_them)} octets in {seconds:.1f} s are more than the agent sends "
                f"({self.limits.octets:.0f} a second, its --max-octets)"
            )


class _Tokens:
    def __init__(self, rate: float, least: float) -> None:
        self._rate = rate
        self.most = max(rate * FULL, least)
        self._level = self.most
        self._at: float | None = None

    def level(self, now: float) -> float:
        if self._at is not None and now > self._at:
            self._level = min(self.most, self._level + (now - self._at) * self._rate)
        self._at = now if self._at is None else max(now, self._at)
        return self._level

    def spend(self, tokens: float, now: float) -> None:
        self._level = self.level(now) - tokens


def sizes(volleys: Iterable[Volley], checks: dict[int, Check]) -> list[int]:
    """Of each shot that is ordered."""
    return [octets(checks[volley.check]) for volley in volleys for _ in range(volley.count)]
