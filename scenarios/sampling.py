"""A range of ports, of which a few are tried: which, and the sentence that says so.

The sentence goes with the result, and whoever gives advice on the whole range reads it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    transport: str  # "udp" or "tcp"
    first: int
    last: int


def sampled(span: Span, count: int) -> tuple[int, ...]:
    """The ports that stand for a range: both ends, and others evenly between them."""
    count = min(count, span.last - span.first + 1)
    return tuple(span.first + (span.last - span.first) * n // (count - 1) for n in range(count))


def sentence(span: Span, ports: tuple[int, ...]) -> str:
    return (
        f"{span.transport.upper()} {span.first} to {span.last}: {len(ports)} of "
        f"{span.last - span.first + 1:,} ports were tried ({', '.join(map(str, ports))}); "
        "a rule may treat the others differently"
    )


_SENTENCE = re.compile(
    r"(UDP|TCP) ([0-9]{1,5}) to ([0-9]{1,5}): [0-9]+ of [0-9,]+ ports were tried"
)


def spans(sentences: Iterable[str]) -> tuple[Span, ...]:
    """The ranges that :func:`sentence` told of."""
    found = filter(None, map(_SENTENCE.match, sentences))
    read = (Span(match[1].lower(), int(match[2]), int(match[3])) for match in found)
    return tuple(span for span in read if 0 < span.first < span.last <= 65535)
