"""``probe trace`` for a person and for programs: hop by hop, the direction where it dies first.

The JSON is one object, schema 1, always whole. Keys are only ever added within a schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from agent.model import Direction
from probe.naming import service
from probe.report.text import plain, sentence, wrap
from probe.result import Host, Outcome
from probe.trace.conclusion import TraceResult, Way
from probe.trace.hops import ARRIVED, DEAD, ORIGIN, TARGET, Got, Hop

SCHEMA = 1

_CELLS = {Got.YES: "yes", Got.NO: "NO", Got.UNKNOWN: "?"}
_WORDS = {
    Outcome.DELIVERED: "passes",
    Outcome.STATE_POSSIBLE: "passes*",
    Outcome.LOSSY: "LOSSY",
    Outcome.ALTERED: "ALTERED",
    Outcome.REFUSED: "REFUSED",
    Outcome.LOST: "DIES",
    Outcome.HOST_DROPPED: "HOST",
    Outcome.NOT_SENT: "not sent",
    Outcome.UNOBSERVED: "?",
    Outcome.NOT_APPLICABLE: "-",
}
_GOOD = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE)
_UNTESTED = (Outcome.NOT_SENT, Outcome.UNOBSERVED)
_NAME_WIDTH = 44
_SGR = {"fail": "1;31", "pass": "32", "error": "35"}

_Object = dict[str, object]


# -- the table -----------------------------------------------------------------------------------


def render(result: TraceResult, *, colour: bool, width: int = 80) -> str:
    """The whole report, without a newline at its end."""
    ways = sorted(result.ways, key=_rank)
    parts = [_header(result, width)]
    parts += [_table(result, way, width, colour) for way in ways if way.hops or way.outcome in DEAD]
    parts.append("\n".join(_sentence(result, way, width) for way in ways))
    parts.append("\n".join(wrap(sentence(note), width, "NOTE  ") for note in result.run.notes))
    parts.append(_summary(result, width, colour))
    return "\n\n".join(part for part in parts if part)


def _rank(way: Way) -> int:
    if way.outcome in (*_GOOD, Outcome.NOT_APPLICABLE):
        return 2
    return 1 if way.outcome in _UNTESTED else 0


def _header(result: TraceResult, width: int) -> str:
    near, far = (
        f"{side} {host.address}" + (f" ({host.name})" if host.name else "")
        for side, host in (("near", result.run.near), ("far", result.run.far))
    )
    family = 6 if ":" in result.run.near.address else 4
    about = f"trace of {service(result.kind).title}, IPv{family}, {result.run.seconds:.1f} s"
    one_line = f"{plain(near)} → {plain(far)}   {about}"
    if len(one_line) <= width:
        return one_line
    return f"{wrap(f'{near} → {far}', width)}\n{about}"


def _table(result: TraceResult, way: Way, width: int, colour: bool) -> str:
    from tabulate import tabulate

    subject = service(result.kind).title
    other = result.references.get(way.direction)
    first, last = _ends(result, way.direction)
    rows = [[_end(*first), "sent", "sent"]]
    rows += [
        [f"{hop.number:>3}  {_address(result, hop)}", _CELLS[hop.subject], _CELLS[hop.reference]]
        for hop in way.hops
    ]
    rows.append([_end(*last), _arrival(way), _reference_arrival(result, way)])
    headers = [way.direction.upper(), subject, service(other).title if other else ""]
    if other is None:
        headers, rows = headers[:2], [row[:2] for row in rows]
    text = tabulate(
        rows, headers, tablefmt="simple", disable_numparse=True, preserve_whitespace=True
    )
    lines = [line.rstrip()[:width] for line in text.splitlines()]
    if colour:
        lines = [line.replace("  NO ", f"  {_paint('NO', 'fail')} ") for line in lines]
    return "\n".join(lines)


def _end(side: str, host: Host) -> str:
    return f"     {side} {plain(host.address)}"


def _ends(result: TraceResult, direction: Direction) -> tuple[tuple[str, Host], tuple[str, Host]]:
    near, far = ("near", result.run.near), ("far", result.run.far)
    return (near, far) if direction is Direction.OUTBOUND else (far, near)


def _address(result: TraceResult, hop: Hop) -> str:
    if not hop.addresses:
        return "?  silent"
    told = [
        address + (f" ({result.names[address]})" if address in result.names else "")
        for address in hop.addresses
    ]
    text = plain(", ".join(told))
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 1] + "…"


def _arrival(way: Way) -> str:
    if way.outcome in ARRIVED:
        return {Outcome.HOST_DROPPED: "host drops it", Outcome.ALTERED: "altered"}.get(
            way.outcome, "yes"
        )
    return "NO" if way.outcome in DEAD else "?"


def _reference_arrival(result: TraceResult, way: Way) -> str:
    other = result.references.get(way.direction)
    for conclusion in result.run.conclusions:
        check = conclusion.check
        if (check.kind, check.direction) == (other, way.direction) and conclusion.shots:
            if conclusion.outcome in ARRIVED:
                return "yes"
            return "NO" if conclusion.outcome in DEAD else "?"
    return "?"


def _sentence(result: TraceResult, way: Way, width: int) -> str:
    title = service(result.kind).title
    word = _WORDS[way.outcome]
    text = way.cause or (
        f"it gets through {_count(len(way.hops), 'router')}"
        if way.hops
        else "it gets through, and no router lies between"
    )
    end = "" if text.endswith(".") else "."
    return wrap(f"{title}, {way.direction}: {text}{end}", width, f"{word}  ")


def _summary(result: TraceResult, width: int, colour: bool) -> str:
    title = service(result.kind).title
    bad = [way for way in result.ways if _rank(way) == 0]
    unknown = [way for way in result.ways if _rank(way) == 1]
    good = [way for way in result.ways if way.outcome in _GOOD]
    end = "" if result.run.complete else ", and the walk was not finished"
    if bad:
        told = f"FAIL{end}: {title} does not get through {' or '.join(w.direction for w in bad)}"
        told += f"; it does {_and(good)}" if good else ""
        return _paint(wrap(f"{told}.", width), "fail", colour)
    if not unknown and not good:
        return _paint(wrap(f"ERROR{end}: {title} was not tested.", width), "error", colour)
    if unknown:
        told = f"ERROR{end}: whether {title} gets through {_and(unknown)} could not be told"
        return _paint(wrap(f"{told}.", width), "error", colour)
    return _paint(wrap(f"PASS{end}: {title} gets through {_and(good)}.", width), "pass", colour)


def _and(ways: Iterable[Way]) -> str:
    return " and ".join(way.direction for way in ways)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _paint(text: str, what: str, colour: bool = True) -> str:
    return f"\x1b[{_SGR[what]}m{text}\x1b[0m" if colour else text


# -- for programs --------------------------------------------------------------------------------


def render_json(result: TraceResult) -> str:
    """The whole object, in ASCII, without a newline at its end."""
    run = result.run
    moment = datetime.fromtimestamp(run.started, UTC).isoformat(timespec="microseconds")
    return json.dumps(
        {
            "schema": SCHEMA,
            "complete": run.complete,
            "trace": result.kind,
            "started": moment.replace("+00:00", "Z"),
            "seconds": round(run.seconds, 3),
            "near": _host(run.near),
            "far": {**_host(run.far), "seen_as": run.far.seen_as},
            "ways": [_way(result, way) for way in result.ways],
            "notes": list(run.notes),
        },
        indent=1,
        allow_nan=False,
    )


def _host(host: Host) -> _Object:
    return {"host": host.name, "address": host.address, "version": host.version}


def _way(result: TraceResult, way: Way) -> _Object:
    return {
        "direction": way.direction,
        "outcome": way.outcome,
        "cause": way.cause,
        "reference": result.references.get(way.direction),
        "last_forwarder": _place(result, way, way.forwarder),
        "last_receiver": _place(result, way, way.holder),
        "first_without": _place(result, way, way.misser),
        "hops": [
            {
                "hop": hop.number,
                "addresses": list(hop.addresses),
                "names": [result.names.get(address) for address in hop.addresses],
                "reached": hop.subject,
                "reference_reached": hop.reference,
                "shots": hop.shots[0],
                "answers": hop.answers[0],
                "reference_shots": hop.shots[1],
                "reference_answers": hop.answers[1],
            }
            for hop in way.hops
        ],
    }


def _place(result: TraceResult, way: Way, place: int | None) -> _Object | None:
    """Hop 0 is the end that sends; a hop of null is the end that should receive."""
    if place is None:
        return None
    first, last = _ends(result, way.direction)
    if place == ORIGIN:
        return {"hop": 0, "addresses": [first[1].address]}
    if place == TARGET:
        return {"hop": None, "addresses": [last[1].address]}
    hop = next((hop for hop in way.hops if hop.number == place), None)
    return {"hop": place, "addresses": list(hop.addresses) if hop else []}
