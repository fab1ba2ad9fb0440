"""From root to a user who may do two things: raw sockets, and ports below 1024.

Both are needed at every run and not only at the start: a raw socket that is open all the time would
keep the kernel from answering for its protocol, and a port that is held is taken from others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from agent.errors import AgentError

# <linux/capability.h>, <linux/prctl.h>
CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE, CAP_NET_RAW = 2, 10, 13
NEEDED = (CAP_NET_BIND_SERVICE, CAP_NET_RAW)
_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 23, 24, 38
_PR_SET_DUMPABLE = 4
_LAST_CAPABILITY = 63  # the kernel says EINVAL from the first one that it does not know

OWN_USER, ANY_USER = "probe-agent", "nobody"


class NoSuchUser(AgentError):
    """``--user`` names nobody that this host knows, or we are not root and cannot become them."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    gid: int


ROOT = User("root", 0, 0)


def user(name: str | None) -> User | None:
    """Whom to become; None to stay as we are. ``name``: as ``--user`` has it, None by default.

    By default root becomes a user of the agent's own where there is one, else nobody, and whoever
    is not root stays. NoSuchUser where that cannot be.
    """
    if os.geteuid() != 0:
        if name is not None:
            raise NoSuchUser(f"--user {name}: only root can become another user; leave --user out")
        return None
    if name == "root":
        return None
    for each in (name,) if name is not None else (OWN_USER, ANY_USER):
        try:
            found = pwd.getpwnam(each)
        except KeyError:
            continue
        return User(each, found.pw_uid, found.pw_gid)
    raise NoSuchUser(
        f"--user {name}: this host has no such user. Add one (useradd --system {OWN_USER}), or "
        "name another with --user"
        if name is not None
        else f"this host has neither a user {OWN_USER} nor {ANY_USER} to run as. Add one (useradd "
        f"--system {OWN_USER}), or name one with --user"
    )


def own_name() -> str:
    """Whom this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def drop(to: User, keeping: Collection[int] = NEEDED) -> None:
    """Becomes that user for good, with the capabilities ``keeping`` that we have, and no way back.

    To be called before there are threads. AgentError, and half-way dropped, when it cannot be had.
    """
    try:
        keep = _permitted() & sum(1 << number for number in keeping)
        _prctl(_PR_SET_KEEPCAPS, 1)
        _bound(keeping)
        os.setgroups([])
        os.setresgid(to.gid, to.gid, to.gid)
        os.setresuid(to.uid, to.uid, to.uid)
        _set_capabilities(keep)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)  # no core with keys in it
    except OSError as error:
        raise AgentError(
            f"cannot become {to.name}: {error.strerror}. A container may not allow it: start it as "
            "the user that it is to run as, or with --user root"
        ) from error


def _bound(allowed: Collection[int]) -> None:
    """No program that is started from here can have more than these.

    Without CAP_SETPCAP that is left to "no new privileges", which says the same of all of them.
    """
    for number in range(_LAST_CAPABILITY + 1):
        if number not in allowed and _libc().prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            with contextlib.suppress(PermissionError):
                _prctl(_PR_CAPBSET_DROP, number)


def _permitted() -> int:
    """The capabilities that we have, a bit for each."""
    sets = (ctypes.c_uint32 * 6)()
    _check("capget", _libc().capget(_header(), sets))
    return int(sets[1]) | int(sets[4]) << 32


def _set_capabilities(mask: int) -> None:
    low, high = mask & 0xFFFFFFFF, mask >> 32
    # (effective, permitted, inheritable), capabilities 0 to 31 and then 32 to 63
    _check("capset", _libc().capset(_header(), (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)))


def _prctl(option: int, value: int) -> None:
    _check("prctl", _libc().prctl(option, value, 0, 0, 0))


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # 0: this thread


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
