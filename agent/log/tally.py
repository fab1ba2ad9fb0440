"""What an agent did so far: for the line in the log at a session's end, and for ``--status``.

Sans-IO: messages and sightings go in, numbers come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.control import Open
from agent.log.journal import Value
from agent.model import Event, Facts, Flow, Sighting

_NAMES = {6: "TCP", 17: "UDP"}


@dataclass(slots=True)
class Session:
    """One operator's connection. ``began`` in seconds by a clock that does not step."""

    peer: str
    began: float
    key: str | None = None  # the name of the key that it proved to hold
    control: str = "tcp"  # by which way it came: tcp, inband or ssh
    host: str | None = None  # what it calls itself
    version: str | None = None
    runs: int = 0
    checks: int = 0
    sent: int = 0  # shots of new flows
    received: int = 0  # shots that came in on an interface, of either flow
    answered: int = 0  # replies that were sent
    strangers: int = 0
    outcome: str = "closed"  # how it ended
    held: tuple[str, ...] = ()  # ports that other programs hold here: "UDP 500"
    _kinds: dict[str, None] = field(default_factory=dict)
    _flows: dict[int, Flow] = field(default_factory=dict)
    _arrived: set[tuple[int, int]] = field(default_factory=set)

    def opened(self, run: Open, facts: Facts) -> None:
        """A run begins; a session may have several, one after the other."""
        self.runs += 1
        self.held = tuple(f"{_NAMES.get(h.protocol)} {h.port}" for h in facts.held if h.taken)
        self.checks += len(run.checks)
        self._kinds |= dict.fromkeys(check.kind for check in run.checks)
        self._flows = {check.number: check.flow for check in run.checks}
        self._arrived.clear()

    def saw(self, sightings: Iterable[Sighting]) -> None:
        for sighting in sightings:
            if sighting.event is Event.SENT:
                reply = self._flows.get(sighting.check) is Flow.REPLY
                self.answered += reply
                self.sent += not reply
            elif sighting.event is Event.ARRIVED:
                shot = (sighting.check, sighting.shot)  # TCP's arrives in several segments
                self.received += shot not in self._arrived
                self._arrived.add(shot)

    def line(self, now: float) -> dict[str, Value]:
        """For the log, the most telling first."""
        return {
            "peer": self.peer,
            "key": self.key,
            "control": self.control,
            "host": self.host,
            "version": self.version,
            "runs": self.runs,
            "checks": self.checks,
            "kinds": ",".join(self._kinds),
            "sent": self.sent,
            "received": self.received,
            "answered": self.answered,
            "strangers": self.strangers,
            "outcome": self.outcome,
            "seconds": round(now - self.began, 3),
        }


@dataclass(slots=True)
class Totals:
    """Since the agent started, of sessions that are over."""

    sessions: int = 0
    refused: int = 0  # connections of those who are not allowed, or were one too many
    sent: int = 0
    received: int = 0
    answered: int = 0
    strangers: int = 0
    held: tuple[str, ...] = ()  # as the last run found them

    def add(self, session: Session) -> None:
        self.sessions += 1
        self.sent += session.sent
        self.received += session.received
        self.answered += session.answered
        self.strangers += session.strangers
        self.held = session.held if session.runs else self.held
