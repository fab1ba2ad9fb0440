"""What a run concludes: outcomes, verdicts, and the whole result. Records without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.model import Check, Direction, Limits, Sighting
from probe.reel import Reel
from scenarios import Expect

__all__ = [
    "Agreed",
    "Conclusion",
    "Expect",
    "Host",
    "Outcome",
    "PathFacts",
    "PathMtu",
    "RunResult",
    "Verdict",
]


class Outcome(StrEnum):
    """What the correlator concludes for one check."""

    DELIVERED = "delivered"
    STATE_POSSIBLE = "state-possible"
    LOSSY = "lossy"
    ALTERED = "altered"
    REFUSED = "refused"
    LOST = "lost"
    HOST_DROPPED = "host-dropped"
    NOT_SENT = "not-sent"
    UNOBSERVED = "unobserved"
    NOT_APPLICABLE = "not-applicable"


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    ERROR = "error"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One check, judged. ``cause`` is one sentence, empty only for a plain ``delivered``."""

    check: Check
    outcome: Outcome
    expected: Expect
    verdict: Verdict
    cause: str
    shots: int  # sent, or tried
    arrived: int
    delivered: int
    evidence: tuple[Sighting, ...] = ()
    label: str = ""  # the scenario row's own name for it, for the table


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    address: str
    version: str
    seen_as: str = ""  # the address by which the other end reaches or sees this host


@dataclass(frozen=True, slots=True)
class Carriage:
    """How a path carried what it let through at all, in one direction. TCP is left out."""

    sent: int  # shots of checks of which something arrived
    missing: int
    at_most: float  # the highest loss rate that this leaves possible, at 99 % confidence
    duplicates: int  # shots that the receiving end saw more than once
    reordered: int  # shots that arrived behind a later one of their check


@dataclass(frozen=True, slots=True)
class PathMtu:
    """Of one kind in one direction, in octets of whole IP packets."""

    octets: int  # the largest that crossed whole
    stopped: int | None = None  # the smallest that did not; None: none was stopped on the way
    told: int | None = None  # the MTU that an ICMP error named
    told_by: str = ""


@dataclass(frozen=True, slots=True)
class PathFacts:
    rtt_ms: float | None
    control: str = "tcp"
    near_behind_nat: bool = False
    carriage: Mapping[Direction, Carriage] = field(default_factory=dict)
    mtu: Mapping[Direction, Mapping[str, PathMtu]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What near asked of the agent and what it was granted; None: as much as one likes."""

    asked: Limits
    granted: Limits | None
    sessions: int  # that the agent serves at once; 0: it did not say


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything a report needs. ``notes`` are sentences about the run as a whole.

    ``options``: what was asked for beyond the usual, in the words of the command line.
    """

    scenario: str
    started: float  # seconds since the epoch
    seconds: float
    complete: bool
    near: Host
    far: Host
    path: PathFacts
    conclusions: tuple[Conclusion, ...]
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # "--strict", "--only=esp,ike"; not the peer, nor places of files
    error: str = ""  # why it is not complete
    reels: tuple[Reel, ...] = ()  # the packets themselves, where the run was asked for them
    agreed: Agreed | None = None  # None: it did not come to that
