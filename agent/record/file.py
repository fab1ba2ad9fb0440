"""What one end saw of a run without contact, as a file that nobody without the key can have made.

Three lines: what the file is, a JSON object, and the HMAC-SHA256 of both lines in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

import msgspec

from agent.errors import AgentError
from agent.model import Direction, Facts, Prior, Side, Sighting
from agent.record.schedule import Schedule

HEAD = b"ipsec-probe record 1\n"
MAX_OCTETS = 256 << 20


class RecordError(AgentError):
    """A file that is no record of ours, or not whole. The text says what to do."""


class Record(msgspec.Struct, frozen=True):
    """``complete`` is False when the end was stopped before the schedule's end."""

    side: Side
    version: str
    host: str
    local: str
    peer: str  # as this end names the other
    at: float
    asked: str
    family: int
    shots: int
    slack: float
    run: str  # near drew it, and far was told
    state_timeout: float
    scenario: str = ""  # near's name for what is asked
    complete: bool = False
    facts: Facts | None = None
    priors: list[Prior] = []
    fired: bool = False  # this end's own shots were sent, all of them
    sightings: list[Sighting] = []

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.at, self.asked, self.family, self.shots, self.slack, self.run)

    @property
    def sends(self) -> Direction:
        """The direction whose new flows this end opens."""
        return Direction.OUTBOUND if self.side is Side.NEAR else Direction.INBOUND


def encode(record: Record, key: bytes) -> bytes:
    signed = HEAD + msgspec.json.encode(record) + b"\n"
    return signed + _signature(signed, key) + b"\n"


def decode(data: bytes, known: Iterable[bytes]) -> tuple[Record, bytes]:
    """(the record, which of the ``known`` keys it was made with).

    RecordError for anything that :func:`encode` has not made with one of them.
    """
    if not data:
        raise RecordError("it is empty: that recording was broken off, and there is nothing of it")
    if not data.startswith(HEAD[:18]):
        raise RecordError("it is no record; probe record and probe-agent --record write them")
    if not data.startswith(HEAD):
        raise RecordError("it is a record of another version; use the same version on both hosts")
    signed, _, signature = data.rstrip(b"\n").rpartition(b"\n")
    if signed.count(b"\n") != 1:
        raise RecordError("it breaks off; copy it again, whole")
    signed += b"\n"
    made_with = (key for key in known if hmac.compare_digest(_signature(signed, key), signature))
    key = next(made_with, None)
    if key is None:
        raise RecordError(
            "it was made with another key, or changed since; name the key it was made with (--key)"
        )
    try:
        return msgspec.json.decode(signed[len(HEAD) :], type=Record), key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"it is malformed: {error}") from error


def _signature(signed: bytes, key: bytes) -> bytes:
    own = hmac.digest(key, b"ipsec-probe record signature", hashlib.sha256)
    return hmac.digest(own, signed, hashlib.sha256).hex().encode()
