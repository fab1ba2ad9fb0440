"""What a run asked of the agent, what it was granted, and what that has changed about it."""

from __future__ import annotations

from collections.abc import Iterable

from agent.control import Welcome
from probe.drive import Drive
from probe.result import Agreed


def agreed(drives: Iterable[Drive], welcome: Welcome | None) -> Agreed | None:
    """Of the drive that asked for most; None where none came to ask."""
    told = [
        Agreed(drive.asked, drive.granted, welcome.sessions if welcome else 0)
        for drive in drives
        if drive.asked is not None
    ]
    return max(told, key=lambda found: found.asked.octets, default=None)


def sentences(found: Agreed | None) -> list[str]:
    """Where the limits have made a difference that is worth a word."""
    if found is None or found.granted is None:
        return []
    asked, granted = found.asked, found.granted
    if 2 * granted.shots > asked.shots and 2 * granted.octets > asked.octets:
        return []
    return [
        f"the agent sends at most {granted.shots:,g} shots and {granted.octets:,.0f} octets a "
        f"second for a run ({asked.shots:,g} and {asked.octets:,.0f} were asked for), so the "
        "shots were spaced further apart"
    ]
