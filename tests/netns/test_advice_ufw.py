"""ufw commands that were advised, given to the real ufw over a copy of its files."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from probe.lab import Lab
from tests.netns import mending

pytestmark = pytest.mark.netns

# ufw knows no other place for its files: each lab gets copies, mounted over them for its commands.
COPIES = """
set -eu
copies={directory}/ufw
mkdir -p $copies
[ -d $copies/etc ] || cp -a /etc/ufw $copies/etc
[ -d $copies/lib ] || cp -a /lib/ufw $copies/lib
[ -f $copies/default ] || cp /etc/default/ufw $copies/default
mount --make-rprivate /
mount --bind $copies/etc /etc/ufw
mount --bind $copies/lib /lib/ufw
mount --bind $copies/default /etc/default/ufw
sh -eu {directory}/commands.sh
"""
FORWARD = (
    "ufw --force enable\nufw default deny routed\nufw route allow proto tcp to any port 5088\n"
)
DENIED = FORWARD + "ufw route deny proto esp to any\nufw route reject proto udp to any port 500\n"
HOST = "ufw --force enable\nufw allow 5088/tcp\n"
MUTE = HOST + "ufw default deny outgoing\nufw allow out 5088/tcp\n"


def ufw(lab: Lab, where: str, commands: str) -> None:
    """Runs ufw commands in a namespace, with files of the lab's own."""
    (lab.directory / "commands.sh").write_text(commands)
    script = lab.directory / "copies.sh"
    script.write_text(COPIES.format(directory=lab.directory))
    done = lab.run(where, ["unshare", "--mount", "sh", str(script)])
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{commands}"


def at(where: str, commands: str) -> Callable[[Lab], None]:
    return lambda lab: ufw(lab, where, commands)


follow = mending.by_section(ufw)

CASES = {
    "forward": at("fw", FORWARD),
    "denied": at("fw", DENIED),
    "far-in": at("far", HOST),
    "near-out": at("near", MUTE),
}


@pytest.mark.parametrize(("case", "family"), mending.both(CASES))
def test_every_row_that_failed_passes_and_nothing_else(case: str, family: int) -> None:
    trial = mending.conduct("ufw", CASES[case], follow, family=family, stranger=family == 4)
    assert trial.still_failing() == [], trial.advice
    assert trial.opened() == [], trial.advice
