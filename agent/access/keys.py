"""A key file: 256 bits in hexadecimal, one key a line, readable by its owner alone.

The first line is the key in use. Others below it are older ones that are still taken, for as long
as the other host may not have the new one yet.

It is found in this order: the path given, ``$PROBE_KEY_FILE``, ``$XDG_CONFIG_HOME/probe/key``
(``~/.config/probe/key``), ``/etc/probe/key``; and before the last two, in the same directories, the
one that was made by pairing with the host in question, ``peers.d/HOST``.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.errors import KeyFileError, NoKeyFound

KEY_LENGTH = 32
MOST_KEYS = 4  # in one file
SYSTEM_KEY = Path("/etc/probe/key")
KEY_FILE = "PROBE_KEY_FILE"  # a variable of the environment
PEERS = "peers.d"  # one file for each host that this one has paired with
PEER = re.compile(r"(?!\.)[A-Za-z0-9._:%-]{1,255}")  # a host name or an address


def candidates(given: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The places to look for the key, first the most particular one."""
    if given is not None:
        return (Path(given),)
    if environ.get(KEY_FILE):
        return (Path(environ[KEY_FILE]),)
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/root"), ".config")
    return (Path(config) / "probe" / "key", SYSTEM_KEY)


def own_place(places: Sequence[Path]) -> Path:
    """Where a new key goes: as root the system's place, else one's own."""
    return places[-1] if os.geteuid() == 0 else places[0]


def of_peer(peer: str, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The places of a key that was made by pairing with ``peer``; none for an impossible name."""
    if not PEER.fullmatch(peer):
        return ()
    general = candidates(None, {name: environ[name] for name in environ if name != KEY_FILE})
    return tuple(place.parent / PEERS / peer for place in general)


def find(
    given: str | None, environ: Mapping[str, str], peer: str = ""
) -> tuple[Path, tuple[bytes, ...]]:
    """(where it was found, the keys to try, newest first) for an agent at ``peer``.

    A key that is named goes first, then one that was made with that very host, then the general
    one. NoKeyFound when there is none, KeyFileError when it cannot be trusted.
    """
    general = candidates(given, environ)
    named = given is not None or bool(environ.get(KEY_FILE))
    places = general if named else (*of_peer(peer, environ), *general)
    for place in places:
        if is_there(place):
            return place, load_all(place)
    raise NoKeyFound(
        f"no key found ({', '.join(map(str, places))}). Pair with the far host: run there "
        "probe-agent --pair, and here the same command again with --code and the code that it "
        "shows. Or copy the far host's key file (the agent says where it is) to "
        f"{own_place(general)} here, mode 0600"
    )


def every(given: str | None, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """All keys of this host, those made by pairing included, or those in the file that is named.

    KeyFileError when there is none, or one cannot be trusted.
    """
    general = candidates(given, environ)
    if given is not None or environ.get(KEY_FILE):
        return find(given, environ)[1]
    places = [place for place in general if is_there(place)]
    for directory in dict.fromkeys(place.parent / PEERS for place in general):
        if directory.is_dir():
            places += sorted(path for path in directory.iterdir() if path.is_file())
    if not places:
        return find(given, environ)[1]  # which says what to do
    return tuple(dict.fromkeys(key for place in places for key in load_all(place)))


def is_there(place: Path) -> bool:
    """Whether something has that name. KeyFileError where even that may not be known."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(place, error) from error
    return True


def _unreadable(path: Path, error: OSError) -> KeyFileError:
    if isinstance(error, FileNotFoundError):
        return KeyFileError(f"there is no key {path}")
    hint = ""
    if isinstance(error, PermissionError):
        hint = ". It is for its owner alone: run this as root, or name a key of your own (--key)"
    return KeyFileError(f"cannot read the key {path}: {error.strerror}{hint}")


def load(path: Path) -> bytes:
    """The key in use, 32 octets. KeyFileError as :func:`load_all`."""
    return load_all(path)[0]


def load_all(path: Path) -> tuple[bytes, ...]:
    """Every key in ``path``, newest first. KeyFileError: a bad mode or form, or no access."""
    try:
        # O_NONBLOCK: a pipe by that name must not hold us up.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            text = file.read(4096)
        above = path.parent.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"the key {path} is not a file")
    # What is no key at all is not to get a key's mode: who is told `chmod 600 /etc/passwd` does it.
    try:
        found = tuple(bytes.fromhex(line) for line in text.decode("ascii").split())
    except ValueError:
        found = ()
    if not 0 < len(found) <= MOST_KEYS or any(len(key) != KEY_LENGTH for key in found):
        raise KeyFileError(
            f"the key {path} is damaged: it should hold {2 * KEY_LENGTH} hexadecimal digits. "
            "Copy it again from the far host, or make a new pair with: probe keygen"
        )
    _check_trust(path, status, above)
    return found


def _check_trust(path: Path, status: os.stat_result, above: os.stat_result) -> None:
    """KeyFileError where anybody else can read the file, or put another in its place."""
    if status.st_mode & 0o077:
        raise KeyFileError(
            f"the key {path} can be read or written by others (mode {status.st_mode & 0o777:04o}). "
            f"Run: chmod 600 {path}"
        )
    if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
        raise KeyFileError(
            f"the directory of the key {path} can be written by others (mode "
            f"{above.st_mode & 0o777:04o}), who can put another key there. "
            f"Run: chmod go-w {path.parent}"
        )
    for what, owner in ((path, status.st_uid), (path.parent, above.st_uid)):
        if owner not in (0, os.geteuid()):
            raise KeyFileError(
                f"{what} belongs to another user (uid {owner}), who can change the key there. "
                f"Run: chown {os.geteuid()} {what}"
            )


def store(path: Path, keys: Sequence[bytes]) -> None:
    """Writes a key file, newest first, mode 0600, whole or not at all. KeyFileError if not."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    _write(beside, keys)
    try:
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error


def check_place(path: Path) -> None:
    """KeyFileError where no key file could be written, before anything depends on it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise KeyFileError(f"cannot write the key {path}: {path.parent} may not be written to")


def create(path: Path) -> bytes:
    """Writes a new key, mode 0600, and returns it. KeyFileError when the file is there already."""
    key = secrets.token_bytes(KEY_LENGTH)
    _write(path, [key])
    return key


def rotate(path: Path) -> bytes:
    """Puts a new key before those in ``path``, which stay valid. KeyFileError as ever."""
    before = load_all(path)
    if len(before) == MOST_KEYS:
        raise KeyFileError(
            f"{path} holds {MOST_KEYS} keys already. Take the old ones out first: "
            f"probe keygen --retire {path}"
        )
    key = secrets.token_bytes(KEY_LENGTH)
    store(path, [key, *before])
    return key


def retire(path: Path) -> int:
    """Leaves only the newest key in ``path``; returns how many went. KeyFileError as ever."""
    found = load_all(path)
    if len(found) > 1:
        store(path, found[:1])
    return len(found) - 1


def remove(path: Path) -> None:
    """Deletes a key file. KeyFileError when there is none, or it cannot be deleted."""
    try:
        path.unlink()
    except FileNotFoundError:
        raise KeyFileError(f"there is no key {path}") from None
    except OSError as error:
        raise KeyFileError(f"cannot delete the key {path}: {error.strerror}") from error


def _write(path: Path, keys: Sequence[bytes]) -> None:
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
            file.writelines(key.hex() + "\n" for key in keys)
    except OSError as error:  # a full disk: half a key must not stay behind
        path.unlink(missing_ok=True)
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error
