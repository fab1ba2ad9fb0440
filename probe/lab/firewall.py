"""The firewall in the middle of the lab: one nftables file, ready-made or the user's own.

What the lab must know beyond the rules stands in the same file, in its leading comments, so that
one file is one firewall and can be handed on as such::

    # lab: load at far          the rules belong to the far host (near, fw, far; default fw)
    # lab: forwarding off       the gateway does not forward at all
    # lab: near is eth1         the name of the gateway's interface towards near (default near0)
    # lab: far is eth2          and towards far (default far0)

The last two let a rule set be tried as it is, with the interface names of the real machine. The
first paragraph of the other comments is the description.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import scenarios

DIRECTORY = Path(scenarios.__file__).parent / "firewalls"

_DIRECTIVE = re.compile(r"#+\s*lab\s*:\s*(.*)", re.IGNORECASE)
_LOAD = re.compile(r"load at (near|fw|far)")
_FORWARDING = re.compile(r"forwarding (on|off)")
_INTERFACE = re.compile(r"(near|far) is ([^\s/:]{1,15})")
_KNOWN = '"load at near|fw|far", "forwarding on|off", "near is INTERFACE", "far is INTERFACE"'


class LabError(Exception):
    """The lab cannot be had as asked. The text is fit for a user."""

    exit_code = 2  # the command line or a file is wrong


class LabUnavailable(LabError):
    """This machine cannot hold a lab: no privilege, no nftables, no network namespaces."""

    exit_code = 3  # it could not be tested


@dataclass(frozen=True, slots=True)
class Firewall:
    """A rule set and where it stands."""

    name: str
    path: Path
    description: str = ""
    where: str = "fw"  # the namespace the rules are loaded in: "near", "fw" or "far"
    forwarding: bool = True
    interfaces: tuple[str, str] = ("near0", "far0")  # fw's, towards near and far


def firewall_names() -> tuple[str, ...]:
    """The firewalls that come with the program."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.nft")))


def load_firewall(name_or_path: str) -> Firewall:
    """A ready-made firewall by its name, or the user's own file. LabError when there is none."""
    names = firewall_names()
    if name_or_path in names:
        path = DIRECTORY / f"{name_or_path}.nft"
    else:
        path = Path(name_or_path)
        if not path.exists() and path.suffix != ".nft" and path.name == name_or_path:
            raise LabError(_unknown(name_or_path, names))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LabError(f"cannot read the firewall {path}: {error.strerror}") from error
    return _parse(path, text)


def _unknown(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    meant = f' (did you mean "{near[0]}"?)' if near else ""
    return (
        f'unknown firewall "{name}"{meant}. There are {", ".join(names)}; '
        "a file of your own with nftables rules works as well: --firewall ./FILE.nft"
    )


def _parse(path: Path, text: str) -> Firewall:
    """The leading comments of a rule set. LabError names file and line of a wrong directive."""
    firewall = Firewall(path.stem, path)
    description: list[str] = []
    ended = False  # the paragraph that is the description
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            break
        directive = _DIRECTIVE.match(line)
        words = line.lstrip("#").strip()
        if directive:
            firewall = _directed(firewall, directive[1].strip(), f"{path}:{number}")
        elif words and not ended and not line.startswith("#!"):
            description.append(words)
        elif description:
            ended = True
    near, far = firewall.interfaces
    if near == far:
        raise LabError(f"{path}: near and far cannot both be {near}")
    return replace(firewall, description=" ".join(description))


def _directed(firewall: Firewall, directive: str, at: str) -> Firewall:
    if match := _LOAD.fullmatch(directive):
        return replace(firewall, where=match[1])
    if match := _FORWARDING.fullmatch(directive):
        return replace(firewall, forwarding=match[1] == "on")
    if match := _INTERFACE.fullmatch(directive):
        near, far = firewall.interfaces
        return replace(
            firewall, interfaces=(match[2], far) if match[1] == "near" else (near, match[2])
        )
    raise LabError(f'{at}: unknown directive "lab: {directive}". Known are {_KNOWN}')
