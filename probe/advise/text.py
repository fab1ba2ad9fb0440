"""The advice as text: for one platform, to be read and to be pasted; or in plain sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from agent.model import Event, Side
from probe.advise.diagnosis import advise, beyond_rules, together
from probe.advise.platforms import Platform, load
from probe.advise.rule import Mending
from probe.advise.rules import derive
from probe.result import RunResult, Verdict

WIDTH = 80
NOTHING = "Nothing to mend: every check that was judged is as expected."
UNTESTED = (
    "No advice: what is not as expected could not be tested, and what was not seen is no "
    "firewall's doing. Run it again; the table says what was missing."
)


def wanting(result: RunResult) -> bool:
    """Is there anything to give advice on?"""
    return bool(advise(result))


def settled(result: RunResult) -> bool:
    """Is everything as expected? Not so where something could not be tested."""
    bad = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN)
    return bool(result.conclusions) and not any(c.verdict in bad for c in result.conclusions)


def sentences(result: RunResult, width: int = WIDTH) -> str:
    """The advice in plain words, without a newline at its end."""
    return "\n".join(
        textwrap.fill(_plain(text), width, initial_indent="- ", subsequent_indent="  ")
        for text in advise(result)
    )


def rules(result: RunResult, name: str) -> str:
    """The rules for a platform, without a newline at its end. UnknownPlatform.

    Comments are folded to 80 columns; a command stands in one line, so that it can be pasted.
    """
    platform = load(name)
    mending = derive(result)
    return "\n".join(
        line
        for text in _lines(result, platform, mending)
        for line in _folded(_plain(text), platform.COMMENT)
    )


def _lines(result: RunResult, platform: Platform, mending: Mending) -> Iterator[str]:
    comment = platform.COMMENT
    yield (
        f"{comment} {platform.TITLE}: for what failed in {result.scenario}, near "
        f"{result.near.address}, far {result.far.address}."
    )
    told = together(result)[:1]
    yield from (f"{comment} {text}" for text in told)
    if mending.rules:
        yield comment
        yield from (f"{comment} {text}" for text in _other_addresses(result))
        yield from platform.write(mending.rules)
    beyond = [text for text in (*beyond_rules(result), *mending.limits) if text not in told]
    if beyond:
        yield comment
    yield from (f"{comment} No rule mends this: {text}" for text in beyond)


def _other_addresses(result: RunResult) -> Iterator[str]:
    """Where one host has two, so that it depends on the firewall's place which of them it sees."""
    near, far = result.near, result.far
    if result.path.near_behind_nat and near.seen_as not in ("", near.address):
        yield (
            f"near is behind NAT: a firewall beyond it sees {near.seen_as} for {near.address}, and "
            "needs its rules for that."
        )
    if far.seen_as not in ("", far.address):
        yield (
            f"far is {far.address}, and reached as {far.seen_as}: a firewall behind what "
            "translates it needs its rules for the former."
        )
    asked = {
        sighting.destination
        for conclusion in result.conclusions
        for sighting in conclusion.evidence
        if sighting.at is Side.FAR and sighting.event is Event.LEFT
    }
    for stand_in in sorted(asked - {near.address, near.seen_as, ""}):
        yield (
            f"{stand_in} stood for near where far asked it: the rules are for {near.address}; to "
            f"ask by {stand_in} again, it needs the same."
        )


def _folded(line: str, comment: str) -> list[str]:
    if not line.startswith(f"{comment} ") or line.startswith(f"{comment}   "):
        return [line]
    text = line.removeprefix(f"{comment} ")
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{comment} ",
        subsequent_indent=f"{comment} ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _plain(text: str) -> str:
    """Nothing that a saved file or a far host says may steer a terminal, or end a comment."""
    return "".join(character if character.isprintable() else "?" for character in text)
