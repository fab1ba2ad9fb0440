"""Programs that run as nobody, and what the kernel says of whom a process is."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from pathlib import Path

from probe.lab import Lab

ROOT = Path(__file__).parent.parent.parent
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY.pw_uid}",
    f"--regid={NOBODY.pw_gid}",
    "--clear-groups",
)
AS_THE_UNIT = (  # what packaging/probe-agent.service makes of a process
    *AS_NOBODY,
    "--inh-caps=-all,+net_raw,+net_bind_service",
    "--ambient-caps=-all,+net_raw,+net_bind_service",
    "--bounding-set=-all,+net_raw,+net_bind_service",
    "--no-new-privs",
    "--",
)


def told(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def only(*capabilities: int) -> str:
    """A set of capabilities, as the kernel writes it."""
    return f"{sum(1 << number for number in capabilities):016x}"


def own(lab: Lab) -> Path:
    """A directory of nobody's, to be reached by nobody."""
    lab.directory.chmod(0o711)
    path = lab.directory / "nobody"
    path.mkdir(exist_ok=True)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def own_key(lab: Lab, key: Path) -> Path:
    """A copy of a key, which nobody may read."""
    mine = Path(shutil.copy(key, own(lab) / "key"))
    os.chown(mine, NOBODY.pw_uid, NOBODY.pw_gid)
    return mine


def reachable(lab: Lab) -> tuple[str, ...]:
    """A prefix behind which nobody can read this Python and this checkout, wherever they are.

    Both may lie in root's home. In a mount namespace of its own, what closes them off is covered,
    and they are put there again.
    """
    needed = [Path(os.path.realpath(sys.base_prefix)), ROOT]
    closed = {way for path in needed for way in path.parents if not way.stat().st_mode & 0o001}
    script: list[str] = ["set -e"]
    places = [own(lab) / f"mount-{number}" for number in range(len(needed))]
    for place, path in zip(places, needed, strict=True):
        script += [f"mkdir -p {shlex.quote(str(place))}"]
        script += [f"mount --bind {shlex.quote(str(path))} {shlex.quote(str(place))}"]
    script += [
        f"mount -t tmpfs -o mode=0755 tmpfs {shlex.quote(str(way))}"
        for way in closed
        if not closed & set(way.parents)
    ]
    for place, path in zip(places, needed, strict=True):
        if closed & set(path.parents):
            script += [f"mkdir -p {shlex.quote(str(path))}"]
            script += [f"mount --bind {shlex.quote(str(place))} {shlex.quote(str(path))}"]
    return ("unshare", "--mount", "--", "sh", "-c", "\n".join([*script, 'exec "$@"']), "sh")
