"""Does something in between read the payload? The real message against noise of the same size."""

from __future__ import annotations

from collections.abc import Iterable

from agent.model import Check, Direction, Flow
from probe.result import Conclusion, Outcome
from scenarios import Expect, Row, Scenario

NOISE = {
    "ike": "ike-noise",
    "kerberos-udp": "kerberos-udp-noise",
    "kerberos-tcp": "kerberos-tcp-noise",
}
_NAMES = {
    "ike": ("UDP 500", "IKE"),
    "kerberos-udp": ("UDP 88", "Kerberos"),
    "kerberos-tcp": ("TCP 88", "Kerberos"),
}
_PASSED = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE)
_STOPPED = (Outcome.LOST, Outcome.REFUSED, Outcome.ALTERED)


def with_noise(scenario: Scenario) -> Scenario:
    """``scenario`` with a control shot for each kind that has one; nothing is expected of it."""
    rows = list(scenario.rows)
    kinds = dict.fromkeys(row.kind for row in scenario.rows if row.kind in NOISE)
    for kind in kinds:
        expect = {cell: Expect.ANY for row in scenario.rows for cell in row.cells}
        if kind == "ike" and not any(r.kind == "ike" and r.source_port == "fresh" for r in rows):
            # The noise comes from a fresh port, so the real one must come from there as well.
            rows.append(Row("ike", source_port="fresh", expect=expect, label="IKE, any source"))
        rows.append(Row(NOISE[kind], expect=expect))
    return Scenario(scenario.name, scenario.title, scenario.description, tuple(rows))


def findings(conclusions: Iterable[Conclusion]) -> tuple[str, ...]:
    """One sentence for each port and direction where only the real protocol passes."""
    new = [c for c in conclusions if c.check.flow is Flow.NEW and c.check.size is None]
    told: list[str] = []
    for kind, noise in NOISE.items():
        for direction in Direction:
            real = [c for c in new if _asked(c.check, kind, direction)]
            control = [c for c in new if _asked(c.check, noise, direction)]
            if not real or not control:
                continue
            if real[0].outcome in _PASSED and control[0].outcome in _STOPPED:
                port, name = _NAMES[kind]
                told.append(
                    f"something in between inspects {port} {direction}: real {name} passes, and "
                    f"noise of the same size on the same port does not ({control[0].outcome})"
                )
    return tuple(told)


def _asked(check: Check, kind: str, direction: Direction) -> bool:
    return check.kind == kind and check.direction is direction and check.source_port is None
