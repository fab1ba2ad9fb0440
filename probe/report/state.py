"""``probe state`` for a person and for programs: what was tried, what it shows, what it means.

The JSON is one object, schema 1, always whole. Keys are only ever added within a schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from probe.naming import service
from probe.report.text import plain, sentence, wrap
from probe.result import Host
from probe.state.hold import Held
from probe.state.memory import CUSTOMARY, MARGIN, Asked, State, StateResult, Trial

SCHEMA = 1

_SGR = {"bad": "1;31", "good": "32", "unknown": "35"}
_LABEL = 46  # columns

_Object = dict[str, object]


# -- for a person ------------------------------------------------------------------------------


def render(result: StateResult, *, colour: bool, width: int = 80) -> str:
    """The whole report, without a newline at its end."""
    finding = result.finding
    parts = [_header(result, width)]
    if finding.trials:
        parts.append("\n".join(_trial(trial) for trial in finding.trials))
    if finding.missing:
        again = "; on a path like that, what fails is asked a second time"
        lost = f"The path lost {finding.missing} of {finding.sent} answers{again}."
        parts.append(wrap(lost, width))
    notes = (*finding.remarks, *result.run.notes)
    parts.append("\n".join(wrap(sentence(note), width, "NOTE  ") for note in notes))
    meaning = [wrap(_sentence(text), width, "- ") for text in _meaning(result)]
    if meaning:
        parts.append("\n".join(["WHAT IT MEANS", *meaning]))
    parts.append(_paint(wrap(_conclusion(result), width), result, colour))
    return "\n\n".join(part for part in parts if part)


def _header(result: StateResult, width: int) -> str:
    near, far = (
        f"{side} {host.address}" + (f" ({host.name})" if host.name else "")
        for side, host in (("near", result.run.near), ("far", result.run.far))
    )
    about = f"way back of {_name(result)}, IPv{result.family}, {result.run.seconds:.1f} s"
    one_line = f"{plain(near)} → {plain(far)}   {about}"
    if len(one_line) <= width:
        return one_line
    return f"{wrap(f'{near} → {far}', width)}\n{wrap(about, width)}"


def _name(result: StateResult) -> str:
    known = service(result.kind)
    return f"{known.title} ({known.transport} {known.number})"


def _trial(trial: Trial) -> str:
    if trial.asked is Asked.COLD:
        label = "reply to nothing, before anything was sent"
    else:
        flow = ", one way" if trial.asked is Asked.ALONE else ""
        label = f"late reply after {trial.silence:.1f} s of silence{flow}"
    back = trial.back
    if back.arrived and not back.delivered:
        word = "near's own firewall drops it"
    elif back.arrived:
        word = "arrives"
    else:
        word = "refused" if back.refused else "dropped" if back.sent else "not sent"
    return f"  {label:<{_LABEL}} {word}"


def _conclusion(result: StateResult) -> str:
    finding = result.finding
    end = "" if result.run.complete else " The measurement was not finished."
    because = f": {finding.cause}" if finding.cause else ""
    match finding.state:
        case State.OPEN:
            text = f"OPEN for new flows{because}."
        case State.CLOSED:
            text = f"CLOSED, even for replies{because}."
        case State.NO_WAY_OUT:
            text = f"NO WAY OUT{because}."
        case State.UNCLEAR:
            text = f"UNCLEAR{because}."
        case State.REPLY_ONLY if finding.held is None:
            text = "OPEN for replies only."
        case State.REPLY_ONLY:
            assert finding.held is not None
            text = f"OPEN for replies only, for {_span(finding.held, result.run.complete)}"
            text += " after the last packet."
            if finding.one_way is not None:
                alone = finding.one_way
                same = alone.less_than is None
                span = "as long" if same else _span(alone, result.run.complete)
                text += f" A flow that got no answer: {span}."
    return text + end


def _span(held: Held, complete: bool) -> str:
    if held.less_than is None:
        if not held.at_least:
            return "a time not measured" if not complete else "less than was measured"
        return f"{held.at_least:.1f} s or longer"
    if not held.at_least:
        return f"less than {held.less_than:.1f} s"
    return f"{held.at_least:.1f} to {held.less_than:.1f} s"


def _meaning(result: StateResult) -> Iterator[str]:
    """What to set, and where."""
    finding, title = result.finding, service(result.kind).title
    held = finding.held
    match finding.state:
        case State.OPEN:
            yield (
                f"{title} needs no earlier packet of near's to come in: what the firewall "
                "remembers does not matter, and no keepalive is needed for it"
            )
        case State.CLOSED:
            yield (
                "the firewall keeps no state of this, and no rule lets it in: allow "
                f"{service(result.kind).rule} inbound as well, or make the rule stateful"
            )
        case State.NO_WAY_OUT:
            yield f"allow {service(result.kind).rule} outbound first: `probe run` says who drops it"
        case State.REPLY_ONLY if held is not None and (held.at_least or held.less_than):
            if held.less_than is None and result.run.complete:
                yield (
                    f"the way back stays open longer than was waited ({held.at_least:.0f} s); "
                    "--max waits longer"
                )
            yield from _intervals(result, held)


def _intervals(result: StateResult, held: Held) -> Iterator[str]:
    every = result.finding.interval
    gone = "after that far can reach near no more, until near sends something"
    if every is None:
        yield (
            "the firewall forgets within a second or so: no keepalive is that quick. Allow "
            f"{service(result.kind).rule} inbound by a rule of its own"
        )
    else:
        yield f"keep the flow alive: a packet at least every {every} s; {gone}"
    match result.kind:
        case "esp" | "ah":
            yield (
                "DPD and IKE travel on UDP 500 and keep only that open: send something through the "
                f"tunnel itself (a ping), allow {service(result.kind).rule} inbound, or force UDP "
                "encapsulation, which brings a keepalive"
            )
            if result.kind == "ah" and result.run.path.near_behind_nat:
                yield (
                    "AH itself never works through a NAT, whatever that remembers: take ESP, in UDP"
                )
            if result.kind == "ah" and result.family == 6:
                yield (
                    "Linux looks inside AH in IPv6: there the time is that of the protocol "
                    "within, UDP in this test"
                )
        case "ike":
            if every is not None:
                yield f"set the DPD interval to {every} s or less, on near's side"
            yield "this is UDP 500 alone; ESP is remembered by itself: --kind esp"
        case "ike-nat-t" | "esp-in-udp":
            yield _keepalive(held)
            if not result.run.path.near_behind_nat:
                yield (
                    "this was asked from a fresh port: where a rule lets UDP 4500 in by itself, a "
                    "tunnel whose both ports are 4500 does not depend on it"
                )
        case "kerberos-udp":
            yield (
                "a KDC answers at once, so that this matters for slow ones only: the answer must "
                "come within that time"
            )


def _keepalive(held: Held) -> str:
    usual = f"the customary NAT keepalive, one every {CUSTOMARY:.0f} s (RFC 3948),"
    if held.at_least * MARGIN >= CUSTOMARY:
        return f"{usual} is quick enough"
    if held.at_least > CUSTOMARY:
        return f"{usual} is only just quick enough: one that is late comes too late"
    if held.less_than is not None and held.less_than <= CUSTOMARY:
        return f"{usual} is too slow here"
    return f"whether {usual} is quick enough was not measured: it takes --max {CUSTOMARY + 5:.0f}"


def _paint(text: str, result: StateResult, colour: bool) -> str:
    state = result.finding.state
    what = "good" if state in (State.OPEN, State.REPLY_ONLY) else "bad"
    if state is State.UNCLEAR:
        what = "unknown"
    return f"\x1b[{_SGR[what]}m{text}\x1b[0m" if colour else text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


# -- for programs ------------------------------------------------------------------------------


def render_json(result: StateResult) -> str:
    """The whole object, in ASCII, without a newline at its end."""
    run, finding = result.run, result.finding
    moment = datetime.fromtimestamp(run.started, UTC).isoformat(timespec="microseconds")
    return json.dumps(
        {
            "schema": SCHEMA,
            "complete": run.complete,
            "state_of": result.kind,
            "family": result.family,
            "started": moment.replace("+00:00", "Z"),
            "seconds": round(run.seconds, 3),
            "near": _host(run.near),
            "far": {**_host(run.far), "seen_as": run.far.seen_as},
            "state": finding.state,
            "cause": finding.cause,
            "max": result.bound,
            "held": _held(finding.held),
            "one_way": _held(finding.one_way),
            "keepalive": finding.interval,
            "answers": {"sent": finding.sent, "missing": finding.missing},
            "trials": [
                {
                    "after": trial.asked,
                    "silence": round(trial.silence, 3),
                    "sent": trial.back.sent,
                    "arrived": trial.back.arrived,
                    "delivered": trial.back.delivered,
                    "refused": trial.back.refused or None,
                }
                for trial in finding.trials
            ],
            "meaning": [_sentence(text) for text in _meaning(result)],
            "notes": [_sentence(note) for note in (*finding.remarks, *run.notes)],
        },
        indent=1,
        allow_nan=False,
    )


def _host(host: Host) -> _Object:
    return {"host": host.name, "address": host.address, "version": host.version}


def _held(held: Held | None) -> _Object | None:
    if held is None:
        return None
    known = held.less_than
    return {
        "at_least": round(held.at_least, 3),
        "less_than": None if known is None else round(known, 3),
    }
