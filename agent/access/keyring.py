"""The keys that one agent takes: each under a name, and found by an identifier that may be seen.

The key file that both hosts share counts as ``shared``. Beside it the directory ``keys.d`` holds
one file for each operator, named after them; to delete a file is to revoke its key. A file may hold
several keys, the newest first, all of which are taken: so a key is replaced without an hour at
which neither host can talk to the other.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.access import keys
from agent.errors import KeyFileError

SHARED = "shared"
DIRECTORY = "keys.d"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class NamedKey:
    name: str
    key: bytes = field(repr=False)  # 32 octets

    @property
    def id(self) -> str:
        return identifier(self.key)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Immutable: who rereads the files gets a new one, and what runs keeps the old."""

    keys: tuple[NamedKey, ...] = ()

    @classmethod
    def load(cls, file: Path | None, directory: Path | None = None) -> Keyring:
        """All keys in ``file`` and in the files of ``directory``; what is not there has none.

        KeyFileError names the first file that cannot be trusted or read, so that a key is never
        left out without a word.
        """
        found: list[NamedKey] = []
        if file is not None and keys.is_there(file):
            found += [NamedKey(SHARED, key) for key in keys.load_all(file)]
        for name in names(directory) if directory is not None else ():
            assert directory is not None
            found += [NamedKey(name, key) for key in keys.load_all(directory / name)]
        return cls(tuple(found))

    def find(self, id: str) -> NamedKey | None:
        """The key with that identifier. No secret is compared: an identifier is public."""
        return next((entry for entry in self.keys if entry.id == id), None)

    def __iter__(self) -> Iterator[NamedKey]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where one agent's keys are. Neither needs to exist."""

    file: Path
    directory: Path

    def load(self) -> Keyring:
        """As they are now. KeyFileError as :meth:`Keyring.load`."""
        return Keyring.load(self.file, self.directory)


def find_files(given: str | None, directory: str | None, environ: Mapping[str, str]) -> KeyFiles:
    """The files to use: the key file that is there, else the one to be written; and ``keys.d``.

    ``given`` and ``directory`` are what the command line names, None for the usual places: the
    directory is beside the key file. KeyFileError where it may not even be known what is there.
    """
    places = keys.candidates(given, environ)
    found = [place for place in places if keys.is_there(place)]
    file = found[0] if found else keys.own_place(places)
    return KeyFiles(file, Path(directory) if directory is not None else file.parent / DIRECTORY)


def identifier(key: bytes) -> str:
    """What a key is called in the clear: 17 letters and digits that tell nothing of it.

    A host name to TLS, in which the client says which key it will prove to hold.
    """
    return "k" + hmac.digest(key, b"ipsec-probe key identifier", "sha256")[:8].hex()


def names(directory: Path) -> list[str]:
    """The files of a directory of keys. KeyFileError for one whose name is no operator's."""
    try:
        found = sorted(entry.name for entry in directory.iterdir() if entry.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise KeyFileError(f"cannot read the keys in {directory}: {error.strerror}") from error
    for name in found:
        check_name(name, f"{directory / name}: ")
    return found


def is_kept(directory: Path, name: str) -> bool:
    """Whether somebody has a key under that name."""
    return keys.is_there(directory / check_name(name))


def store(directory: Path, name: str, found: Sequence[bytes]) -> Path:
    """Keeps keys under a name, in place of those that were there. KeyFileError if it cannot."""
    path = directory / check_name(name)
    make_directory(directory)
    keys.store(path, found)
    return path


def make_directory(directory: Path) -> None:
    """A directory of keys, for its owner alone. KeyFileError if it cannot be had."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise KeyFileError(f"cannot make the directory {directory}: {error.strerror}") from error


def check_name(name: str, where: str = "") -> str:
    """``name``, or KeyFileError: a key's name is the name of a file, and stands in logs."""
    if name == SHARED:
        raise KeyFileError(f"{where}{SHARED!r} is what the key file itself is called")
    if not NAME.fullmatch(name):
        raise KeyFileError(
            f"{where}{name!r} cannot be the name of a key: letters, digits and . _ @ - only, at "
            "most 64, a letter or digit first"
        )
    return name
