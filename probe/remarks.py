"""What a reader of the table must know of the two hosts, beside the verdicts."""

from __future__ import annotations

from agent.model import Side
from probe.judge.evidence import Evidence


def of_hosts(evidence: Evidence) -> list[str]:
    """What a reader of the table must know of the two hosts."""
    notes: list[str] = []
    for side in (Side.NEAR, Side.FAR):
        facts = evidence.facts(side)
        if facts is None:
            continue
        for held in facts.held:
            name = "TCP" if held.protocol == 6 else "UDP"
            if not held.taken:
                notes.append(
                    f"{name} {held.port} cannot be opened on the {side} host without "
                    "CAP_NET_BIND_SERVICE; what reaches it is watched by raw sockets, and the "
                    "kernel may refuse it"
                )
                continue
            how = "has come to be held" if held.lately else "is held"
            notes.append(
                f"{name} {held.port} {how} by another program on the {side} host; what reaches "
                "it is watched, and what leaves from it is sent, by raw sockets"
            )
        if facts.strangers:
            notes.append(
                f"{side} passed over {facts.strangers:,} packet{'s' * (facts.strangers > 1)} on "
                "the tested protocols and ports: not of this run, or malformed"
            )
    return notes + troubles(evidence)


def troubles(evidence: Evidence) -> list[str]:
    """What went wrong at either host, in its own words."""
    return [
        f"{side}: {trouble}"
        for side in (Side.NEAR, Side.FAR)
        if (facts := evidence.facts(side)) is not None
        for trouble in facts.troubles
    ]
