"""Rules for filters that stand at a host, and not between two: a cloud's, or the host's own.

They all let out what no rule of their owner's forbids, and let in what a rule allows. So what was
dropped on the way wants a rule at the host that it was sent to, if that host is behind such a
filter; which of the two is, is for the reader to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from probe.advise import wording
from probe.advise.rule import Place, Rule, Way


class Entrance(NamedTuple):
    host: str  # "near" or "far"
    address: str
    rules: tuple[Rule, ...]


def entrances(rules: Sequence[Rule]) -> Iterator[Entrance]:
    """Each host's filter with the rules it needs for what is sent to it."""
    for host in ("far", "near"):
        found = [rule for rule in rules if wording.ENDS[rule.direction][1] == host]
        if found:
            here = tuple(replace(rule, place=Place(host), way=Way.IN) for rule in found)
            yield Entrance(host, found[0].destination, here)


def exits(rules: Sequence[Rule], how: str) -> list[str]:
    """The sentence on filters at the sender. ``how``: the command that is then needed there."""
    if not rules:
        return []
    return [
        "What goes out is allowed by default. Where the filter of the host that sends no longer "
        f"allows it, the same is needed there: {how}."
    ]
