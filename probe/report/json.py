"""The result for programs: one JSON object, schema 1, always whole.

Keys are only ever added within a schema. Times are RFC 3339 in UTC, by the clock of the host that
``at`` names; ports stand beside the addresses, null where there are none (or, for a check, where
every shot has a fresh one). What a sighting says beyond the usual stands there only where it says
something. Nothing is lost but digits: :mod:`probe.report.saved` makes the same result of it again.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

from agent.model import Limits, Sighting
from probe.result import Agreed, Conclusion, Host, PathMtu, RunResult, Verdict

SCHEMA = 1

_Object = dict[str, object]


def render(result: RunResult) -> str:
    """The whole object, in ASCII, without a newline at its end."""
    verdicts = Counter(conclusion.verdict for conclusion in result.conclusions)
    return json.dumps(
        {
            "schema": SCHEMA,
            "complete": result.complete,
            "scenario": result.scenario,
            "started": rfc3339(result.started),
            "seconds": round(result.seconds, 3),
            "near": _host(result.near),
            "far": _host(result.far),
            "path": {
                "rtt_ms": None if result.path.rtt_ms is None else round(result.path.rtt_ms, 3),
                "control": result.path.control,
                "near_behind_nat": result.path.near_behind_nat,
                "loss": {
                    direction.value: {
                        "sent": found.sent,
                        "missing": found.missing,
                        "at_most": round(found.at_most, 4),
                        "duplicates": found.duplicates,
                        "reordered": found.reordered,
                    }
                    for direction, found in result.path.carriage.items()
                },
                "mtu": {
                    direction.value: {kind: _mtu(mtu) for kind, mtu in by_kind.items()}
                    for direction, by_kind in result.path.mtu.items()
                },
            },
            "limits": None if result.agreed is None else _agreed(result.agreed),
            "checks": [check(conclusion) for conclusion in result.conclusions],
            "summary": {verdict.value: verdicts[verdict] for verdict in Verdict},
            "notes": list(result.notes),
            "options": list(result.options),
            "error": result.error or None,
        },
        indent=1,
        allow_nan=False,
    )


def _agreed(agreed: Agreed) -> _Object:
    granted = None if agreed.granted is None else _limits(agreed.granted)
    return {"asked": _limits(agreed.asked), "granted": granted, "sessions": agreed.sessions}


def _limits(limits: Limits) -> _Object:
    return {
        "shots_per_second": round(limits.shots, 3),
        "octets_per_second": round(limits.octets, 3),
        "seconds": round(limits.seconds, 3),
    }


def _host(host: Host) -> _Object:
    return {
        "host": host.name,
        "address": host.address,
        "version": host.version,
        "seen_as": host.seen_as,
    }


def _mtu(mtu: PathMtu) -> _Object:
    told = {"mtu": mtu.told, "from": mtu.told_by} if mtu.told_by else None
    return {"octets": mtu.octets, "stopped": mtu.stopped, "icmp": told}


def check(conclusion: Conclusion) -> _Object:
    """One of the checks."""
    asked = conclusion.check
    return {
        "kind": asked.kind,
        "direction": asked.direction,
        "flow": asked.flow,
        "family": asked.family,
        "size": asked.size,
        "fragmenting": asked.fragmenting,
        "source_port": asked.source_port,
        "destination_port": asked.destination_port,
        "shots": conclusion.shots,
        "arrived": conclusion.arrived,
        "delivered": conclusion.delivered,
        "outcome": conclusion.outcome,
        "expected": conclusion.expected,
        "verdict": conclusion.verdict,
        "cause": conclusion.cause,
        "number": asked.number,
        "partner": asked.partner,
        "label": conclusion.label,
        "evidence": [_sighting(sighting) for sighting in conclusion.evidence],
    }


def _sighting(sighting: Sighting) -> _Object:
    seen: _Object = {
        "at": sighting.at,
        "event": sighting.event,
        "shot": sighting.shot,
        "time": rfc3339(sighting.time),
        "source": sighting.source,
        "destination": sighting.destination,
        "source_port": sighting.source_port,
        "destination_port": sighting.destination_port,
        "ttl": sighting.ttl,
        "dscp": sighting.dscp,
        "size": sighting.size,
    }
    if sighting.icmp is not None:
        icmp = sighting.icmp
        told = {"type": icmp.type, "code": icmp.code, "from": icmp.sender}
        seen["icmp"] = told if icmp.mtu is None else {**told, "mtu": icmp.mtu}
    return seen | {
        name: value
        for name, (value, usual) in {
            "digest": (sighting.digest, ""),
            "intact": (sighting.intact, True),
            "stage": (sighting.stage, ""),
            "note": (sighting.note, ""),
            "translated": (sighting.translated, None),
            "backwards": (sighting.backwards, False),
            "says": (sighting.says, ""),
        }.items()
        if value != usual
    }


def rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
