"""What a far host that forgets would remember: near keeps it for an agent that is gone after a run.

Kept in near's own ledger, under the tuples as far sees them.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.ledger import TRANSLATED, Ledger, Tuple5
from agent.model import Check, Direction, Event, Flow, Prior, Side, Sighting
from agent.station import moment
from agent.wire import codec

WHAT = {True: "an earlier run", False: "a shot of an earlier run"}  # by whether it crossed


class Remembered:
    """``far``, ``near``: the two addresses, as far has them."""

    def __init__(self, ledger: Ledger, checks: Iterable[Check], far: str, near: str) -> None:
        self._ledger = ledger
        self._near = near.partition("%")[0]  # as packets have it
        self._flows: dict[int, tuple[Check, Tuple5]] = {}
        for check in checks:
            flow = _flow(check, far, near) if check.flow is Flow.NEW else None
            if flow is not None:
                self._flows[check.number] = check, flow

    def priors(self, state_timeout: float) -> list[Prior]:
        """As an agent that stayed would have told them."""
        now = moment()
        found = []
        for number, (_, flow) in self._flows.items():
            for crossed in (True, False):
                known = self._ledger.age(flow, now, crossed=crossed)
                if known is not None and known[0] <= state_timeout:
                    found.append(Prior(number, known[0], known[1], crossed))
        return found

    def saw(self, sightings: Iterable[Sighting]) -> None:
        """What far tells of this run."""
        for crossed in (True, False):
            event = Event.ARRIVED if crossed else Event.LEFT
            direction = Direction.OUTBOUND if crossed else Direction.INBOUND
            found = [s for s in sightings if s.event is event and s.at is Side.FAR]
            translated = {s.check for s in found if crossed and s.source not in ("", self._near)}
            flows = [
                (flow, TRANSLATED if number in translated else WHAT[crossed])
                for number, (check, flow) in self._flows.items()
                if number in {s.check for s in found} and check.direction is direction
            ]
            if flows:
                self._ledger.seen(flows, moment(), crossed=crossed)


def _flow(check: Check, far: str, near: str) -> Tuple5 | None:
    """None where ports are fresh."""
    kind = codec(check.kind)
    protocol = kind.protocol(check.family)
    if kind.port is None:
        return None if protocol in (1, 58) else Tuple5(check.family, protocol, far, 0, near, 0)
    if check.source_port is None or check.destination_port is None:
        return None
    ports = check.source_port, check.destination_port
    here, there = ports if check.direction is Direction.INBOUND else ports[::-1]
    return Tuple5(check.family, protocol, far, here, near, there)
