"""A result that was saved as JSON, schema 1, read again: the way back from ``report.json``.

Whatever a run can conclude comes back as it was. Members that are not known are ignored (a later
version may have added them); those that were added after the first version have a default.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent import __version__
from agent.model import Check, Direction, Event, Flow, Fragmenting, Icmp, Limits, Side, Sighting
from probe.report.json import SCHEMA
from probe.result import (
    Agreed,
    Carriage,
    Conclusion,
    Expect,
    Host,
    Outcome,
    PathFacts,
    PathMtu,
    RunResult,
    Verdict,
)

LARGEST = 1 << 28  # octets; a run of every scenario with --sizes makes some 2 MB
LAST_YEAR = 2200
OURS = "the JSON that `probe run --json FILE` writes"


class SavedError(Exception):
    """There is no result to be had from there. The text is fit for a user."""


def read(place: str) -> RunResult:
    """The result in the file ``place``; "-" is standard input. SavedError names the file."""
    name = "standard input" if place == "-" else place
    try:
        if place == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(place).open("rb") as file:
                data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise SavedError(f"larger than {LARGEST >> 20} MiB: not {OURS}")
        return load(data)
    except OSError as error:
        raise SavedError(f"cannot read {name}: {error.strerror or error}") from error
    except SavedError as error:
        raise SavedError(f"{name}: {error}") from error


def load(text: str | bytes) -> RunResult:
    """The result that ``text`` holds. SavedError says what is wrong with it, and where."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    data = data.removeprefix(b"\xef\xbb\xbf")  # some editors put it before everything they save
    stamp = _stamp(data)
    try:
        return _result(msgspec.json.decode(data, type=_Run))
    except msgspec.ValidationError as error:
        other = f"; probe {stamp.by} wrote it, and this is {__version__}" if stamp.foreign else ""
        raise SavedError(f"not {OURS}: {error}{other}") from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise SavedError(f"not {OURS}: {error}") from error


def _stamp(data: bytes) -> _Stamp:
    """Is this ours at all, and of a schema that we know?"""
    if not data.strip():
        raise SavedError("there is nothing in it; did the run that should have written it end?")
    try:
        stamp = msgspec.json.decode(data, type=_Stamp)
    except msgspec.ValidationError as error:
        raise SavedError(f"not {OURS}") from error
    except msgspec.DecodeError as error:
        if "truncated" in str(error) or _at_the_end(error, data):
            raise SavedError(
                "it ends in the middle: it was cut off, or is being written"
            ) from error
        raise SavedError(f"not {OURS}: {error}") from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise SavedError(f"not {OURS}: {error}") from error
    if other := stamp.other_command:
        raise SavedError(f"this is what `probe {other} --json` writes, and not {OURS}")
    if not isinstance(stamp.schema, int) or isinstance(stamp.schema, bool):
        raise SavedError(f"not {OURS}: it has no schema number")
    if stamp.schema != SCHEMA:
        written = f", {stamp.by}" if stamp.by else ""
        raise SavedError(
            f"it is of schema {stamp.schema}, and probe {__version__} reads schema {SCHEMA}: use "
            f"the version of probe that wrote it{written}"
        )
    return stamp


def _at_the_end(error: msgspec.DecodeError, data: bytes) -> bool:
    """A number that breaks off is called malformed, at the place behind the last octet."""
    return data.startswith(b"{") and str(error).endswith(f"(byte {len(data)})")


# -- the shape of schema 1 -------------------------------------------------------------------------

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Octet = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Stamp(msgspec.Struct):
    """What tells one object from another. No types: they must be readable in every version."""

    schema: object = None
    trace: object = None
    state_of: object = None
    diff: object = None
    near: object = None

    @property
    def other_command(self) -> str:
        """That writes JSON of the same schema number, but of another shape; "" for `probe run`."""
        shapes = {"trace": self.trace, "state": self.state_of, "diff": self.diff}
        return next((name for name, value in shapes.items() if value is not None), "")

    @property
    def by(self) -> str:
        """The version that wrote it, where it says so."""
        version = self.near.get("version") if isinstance(self.near, dict) else None
        return version if isinstance(version, str) else ""

    @property
    def foreign(self) -> bool:
        """Another version than this one wrote it."""
        return self.by not in ("", __version__)


class _Host(msgspec.Struct):
    host: str
    address: str
    version: str
    seen_as: str = ""


class _Loss(msgspec.Struct):
    sent: _Count
    missing: _Count
    at_most: _Share
    duplicates: _Count
    reordered: _Count


class _Told(msgspec.Struct, rename={"sender": "from"}):
    mtu: _Count | None
    sender: str


class _Mtu(msgspec.Struct):
    octets: _Count
    stopped: _Count | None
    icmp: _Told | None


class _Path(msgspec.Struct):
    rtt_ms: _Seconds | None
    control: str
    near_behind_nat: bool
    loss: dict[Direction, _Loss] = {}
    mtu: dict[Direction, dict[str, _Mtu]] = {}


class _Icmp(msgspec.Struct, rename={"sender": "from"}):
    type: _Octet
    code: _Octet
    sender: str
    mtu: _Count | None = None


class _Sighting(msgspec.Struct):
    at: Side
    event: Event
    shot: _Count
    time: _Moment
    source: str
    destination: str
    ttl: _Octet | None
    size: _Count | None
    source_port: _Port | None = None
    destination_port: _Port | None = None
    dscp: _Octet | None = None
    icmp: _Icmp | None = None
    digest: str = ""
    intact: bool = True
    stage: str = ""
    note: str = ""
    translated: tuple[bool, bool] | None = None
    backwards: bool = False
    says: str = ""


class _Check(msgspec.Struct):
    kind: str
    direction: Direction
    flow: Flow
    family: Literal[4, 6]
    size: _Count | None
    source_port: _Port | None
    destination_port: _Port | None
    shots: _Count
    arrived: _Count
    delivered: _Count
    outcome: Outcome
    expected: Expect
    verdict: Verdict
    cause: str
    evidence: list[_Sighting]
    fragmenting: Fragmenting = Fragmenting.USUAL
    number: _Count | None = None
    partner: _Count | None = None
    label: str = ""


class _Limits(msgspec.Struct):
    shots_per_second: _Seconds
    octets_per_second: _Seconds
    seconds: _Seconds


class _Agreed(msgspec.Struct):
    asked: _Limits
    granted: _Limits | None = None
    sessions: _Count = 0


class _Run(msgspec.Struct):
    complete: bool
    scenario: str
    started: _Moment
    seconds: _Seconds
    near: _Host
    far: _Host
    path: _Path
    checks: list[_Check]
    limits: _Agreed | None = None
    notes: list[str] = []
    options: list[str] = []
    error: str | None = None


# -- and back to our own records -------------------------------------------------------------------


def _result(run: _Run) -> RunResult:
    path = run.path
    return RunResult(
        scenario=run.scenario,
        started=_seconds(run.started),
        seconds=run.seconds,
        complete=run.complete,
        near=_host(run.near),
        far=_host(run.far),
        path=PathFacts(
            rtt_ms=path.rtt_ms,
            control=path.control,
            near_behind_nat=path.near_behind_nat,
            carriage={
                direction: Carriage(
                    loss.sent, loss.missing, loss.at_most, loss.duplicates, loss.reordered
                )
                for direction, loss in path.loss.items()
            },
            mtu={
                direction: {kind: _mtu(mtu) for kind, mtu in by_kind.items()}
                for direction, by_kind in path.mtu.items()
            },
        ),
        conclusions=tuple(_conclusion(check, place) for place, check in enumerate(run.checks, 1)),
        agreed=_agreed(run.limits) if run.limits is not None else None,
        notes=tuple(run.notes),
        options=tuple(run.options),
        error=run.error or "",
    )


def _seconds(moment: datetime) -> float:
    """Since the epoch. SavedError for a year in which a float does not hold microseconds."""
    if not 1970 <= moment.year < LAST_YEAR:
        raise SavedError(f"not {OURS}: a time in the year {moment.year}")
    return moment.timestamp()


def _agreed(found: _Agreed) -> Agreed:
    granted = _limits(found.granted) if found.granted is not None else None
    return Agreed(_limits(found.asked), granted, found.sessions)


def _limits(found: _Limits) -> Limits:
    return Limits(found.shots_per_second, found.octets_per_second, found.seconds)


def _host(host: _Host) -> Host:
    return Host(host.host, host.address, host.version, host.seen_as)


def _mtu(mtu: _Mtu) -> PathMtu:
    if mtu.icmp is None:
        return PathMtu(mtu.octets, mtu.stopped)
    return PathMtu(mtu.octets, mtu.stopped, mtu.icmp.mtu, mtu.icmp.sender)


def _conclusion(found: _Check, place: int) -> Conclusion:
    number = place if found.number is None else found.number
    return Conclusion(
        check=Check(
            number=number,
            kind=found.kind,
            direction=found.direction,
            flow=found.flow,
            family=found.family,
            size=found.size,
            source_port=found.source_port,
            destination_port=found.destination_port,
            partner=found.partner,
            fragmenting=found.fragmenting,
        ),
        outcome=found.outcome,
        expected=found.expected,
        verdict=found.verdict,
        cause=found.cause,
        shots=found.shots,
        arrived=found.arrived,
        delivered=found.delivered,
        evidence=tuple(_sighting(seen, number) for seen in found.evidence),
        label=found.label,
    )


def _sighting(seen: _Sighting, check: int) -> Sighting:
    icmp = seen.icmp
    return Sighting(
        at=seen.at,
        event=seen.event,
        check=check,
        shot=seen.shot,
        time=_seconds(seen.time),
        source=seen.source,
        destination=seen.destination,
        source_port=seen.source_port,
        destination_port=seen.destination_port,
        ttl=seen.ttl,
        size=seen.size,
        digest=seen.digest,
        intact=seen.intact,
        stage=seen.stage,
        icmp=None if icmp is None else Icmp(icmp.type, icmp.code, icmp.sender, icmp.mtu),
        note=seen.note,
        dscp=seen.dscp,
        translated=seen.translated,
        backwards=seen.backwards,
        says=seen.says,
    )
