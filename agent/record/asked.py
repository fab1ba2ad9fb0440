"""What is asked, as checks both ends number alike, and as a line of text that can be typed.

A scenario lives at near. Where the two ends have no contact, far must be told in a few words what
will come and what to send: ``esp ah ike ike+fresh kerberos-tcp+outbound esp+1400``. Each word is a
kind, followed by what is not as usual with it: a size in octets, a source port (``fresh`` or
``from500``), a direction, the order of its fragments.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.errors import AgentError
from agent.model import Check, Direction, Flow, Fragmenting
from agent.wire import Codec, codec

ORDER = (Direction.INBOUND, Direction.OUTBOUND)  # in which they are asked
OPPOSITE = {Direction.INBOUND: Direction.OUTBOUND, Direction.OUTBOUND: Direction.INBOUND}
KB = "icmp-echo esp ah ike ike+fresh kerberos-udp kerberos-tcp"  # what KB 233256 lists
_FROM = re.compile(r"from([1-9][0-9]{0,4})")
_FRAGMENTING = {str(word): word for word in Fragmenting if word is not Fragmenting.USUAL}


class WrongQuestion(AgentError):
    """What cannot be asked. The text names the word, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One kind in one manner. ``source_port``: None is the kind's own.

    ``direction`` is that of the new flows; ``size`` in octets of the whole IP packet.
    """

    kind: str
    direction: Literal["both", "outbound", "inbound"] = "both"
    source_port: int | Literal["fresh"] | None = None
    size: int | None = None
    fragmenting: Fragmenting = Fragmenting.USUAL

    def __str__(self) -> str:
        words: list[object] = [self.kind]
        if self.direction != "both":
            words.append(self.direction)
        if self.source_port is not None:
            words.append("fresh" if self.source_port == "fresh" else f"from{self.source_port}")
        if self.size is not None:
            words.append(self.size)
        if self.fragmenting is not Fragmenting.USUAL:
            words.append(self.fragmenting)
        return "+".join(map(str, words))


def write(asked: Iterable[Asked]) -> str:
    return " ".join(map(str, asked))


def read(text: str) -> tuple[Asked, ...]:
    """The inverse of :func:`write`. WrongQuestion for a word that says nothing."""
    found = tuple(map(_read_one, text.split()))
    if not found:
        raise WrongQuestion("nothing is asked; name at least one kind, as in: esp ike")
    return found


def _read_one(text: str) -> Asked:
    kind, *words = text.split("+")
    try:
        codec(kind)
    except AgentError as error:
        raise WrongQuestion(str(error)) from None
    direction: Literal["both", "outbound", "inbound"] = "both"
    source_port: int | Literal["fresh"] | None = None
    size = None
    fragmenting = Fragmenting.USUAL
    for word in words:
        if word in ("outbound", "inbound"):
            direction = word  # type: ignore[assignment]
        elif word == "fresh":
            source_port = "fresh"
        elif (port := _FROM.fullmatch(word)) and int(port[1]) <= 65_535:
            source_port = int(port[1])
        elif word.isdecimal() and 28 <= int(word) <= 65_535:
            size = int(word)
        elif word in _FRAGMENTING:
            fragmenting = _FRAGMENTING[word]
        else:
            raise WrongQuestion(
                f"{text}: {word!r} is no direction, no size from 28 to 65535, and neither fresh "
                "nor from and a port"
            )
    asked = Asked(kind, direction, source_port, size, fragmenting)
    check_source(asked)
    return asked


def check_source(asked: Asked) -> None:
    """A fixed source port needs shots that tell themselves apart on one and the same tuple."""
    kind = codec(asked.kind)
    if asked.source_port is not None and kind.port is None:
        raise WrongQuestion(f"{asked.kind} has no ports")
    if isinstance(asked.source_port, int) and (kind.stream or not kind.tagged):
        what = "a TCP connection" if kind.stream else "one octet"
        raise WrongQuestion(
            f"{asked.kind}: source_port = {asked.source_port}: {what} is known by a source port of "
            "its own for every shot, so that it cannot be fixed; leave source_port out, or say "
            '"fresh"'
        )


def checks(
    asked: Sequence[Asked], family: int, directions: Container[Direction] = ORDER
) -> tuple[tuple[int, Check, Check], ...]:
    """(which of ``asked``, its request, the reply), numbered from 1 in the order of asking."""
    found: list[tuple[int, Check, Check]] = []
    for direction in ORDER:
        for place, one in enumerate(asked):
            if direction in directions and one.direction in ("both", direction):
                found.append((place, *pair(one, direction, family, 2 * len(found) + 1)))
    return tuple(found)


def pair(asked: Asked, direction: Direction, family: int, number: int) -> tuple[Check, Check]:
    kind = codec(asked.kind)
    check_source(asked)
    request = Check(
        number=number,
        kind=asked.kind,
        direction=direction,
        flow=Flow.NEW,
        family=family,
        size=asked.size,
        fragmenting=asked.fragmenting,
        source_port=_source_port(asked, kind),
        destination_port=kind.port,
        partner=number + 1,
    )
    reply = Check(
        number=number + 1,
        kind=asked.kind,
        direction=OPPOSITE[direction],
        flow=Flow.REPLY,
        family=family,
        size=asked.size,  # as large as the request: answers are large in real life too
        fragmenting=asked.fragmenting,
        source_port=kind.port,
        destination_port=request.source_port,
        partner=number,
    )
    return request, reply


def _source_port(asked: Asked, kind: Codec) -> int | None:
    """None: no ports, or a fresh one for every shot."""
    if asked.source_port is not None:
        return asked.source_port if isinstance(asked.source_port, int) else None
    return kind.port if kind.fixed_source else None
