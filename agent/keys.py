"""The shared key: a file with 256 bits in hexadecimal, readable by its owner alone.

It is found in this order: the path given, ``$PROBE_KEY_FILE``, ``$XDG_CONFIG_HOME/probe/key``
(``~/.config/probe/key``), ``/etc/probe/key``.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from agent.errors import KeyFileError

KEY_LENGTH = 32
SYSTEM_KEY = Path("/etc/probe/key")


def candidates(given: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The places to look for the key, first the most particular one."""
    if given is not None:
        return (Path(given),)
    if environ.get("PROBE_KEY_FILE"):
        return (Path(environ["PROBE_KEY_FILE"]),)
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/root"), ".config")
    return (Path(config) / "probe" / "key", SYSTEM_KEY)


def find(given: str | None, environ: Mapping[str, str]) -> tuple[Path, bytes]:
    """The key and where it was found. KeyFileError when there is none or it cannot be trusted."""
    places = candidates(given, environ)
    for place in places:
        if is_there(place):
            return place, load(place)
    raise KeyFileError(
        f"no key found ({', '.join(map(str, places))}). The agent writes one when it first starts: "
        f"copy that file from the far host to {places[0]} here, mode 0600"
    )


def is_there(place: Path) -> bool:
    """Whether something has that name. KeyFileError where even that may not be known."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise KeyFileError(f"cannot read the key {place}: {error.strerror}") from error
    return True


def load(path: Path) -> bytes:
    """The 32 octets in ``path``. KeyFileError for a bad mode, a bad form, or no access."""
    try:
        # O_NONBLOCK: a pipe by that name must not hold us up.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            text = file.read(4096)
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"the key {path} is not a file")
    if status.st_mode & 0o077:
        raise KeyFileError(
            f"the key {path} can be read or written by others (mode {status.st_mode & 0o777:04o}). "
            f"Run: chmod 600 {path}"
        )
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH:
        raise KeyFileError(
            f"the key {path} is damaged: it should hold {2 * KEY_LENGTH} hexadecimal digits. "
            "Copy it again from the far host, or make a new pair with: probe keygen"
        )
    return key


def create(path: Path) -> bytes:
    """Writes a new key, mode 0600, and returns it. KeyFileError when the file is there already."""
    key = secrets.token_bytes(KEY_LENGTH)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already; it is left as it is") from None
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
    except OSError as error:  # a full disk: half a key must not stay behind
        path.unlink(missing_ok=True)
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error
    return key
