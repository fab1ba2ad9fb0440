"""A real OpenSSH server in a lab's far host, with keys and configuration of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from probe.lab import Lab
from probe.lab_janitor import NETNS_DIRECTORY
from tests.netns.ends import wait_until

SERVER = """
ListenAddress {address}
HostKey {home}/host
AuthorizedKeysFile {home}/authorized
PidFile {home}/pid
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin yes
"""
CLIENT = """
Host *
    IdentityFile {home}/user
    IdentitiesOnly yes
    UserKnownHostsFile {home}/known
    GlobalKnownHostsFile /dev/null
"""
# It wants /run/sshd, which is nobody's business outside; and the places where something could be
# left are empty at the start.
PRIVATE = (
    "for place in /run /root /var/lib /var/tmp; do mount -t tmpfs none $place || exit; done; "
    "mkdir /run/sshd && exec {sshd} -D -e -f {home}/sshd_config"
)


class Sshd:
    def __init__(self, lab: Lab) -> None:
        self.home = home = lab.directory / "ssh"
        home.mkdir()
        for name in ("host", "user"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
            subprocess.run(argv, check=True)
        shutil.copy(home / "user.pub", home / "authorized")
        address = lab.far_address()
        (home / "known").write_text(f"{address} {(home / 'host.pub').read_text()}")
        (home / "sshd_config").write_text(SERVER.format(address=address, home=home))
        (home / "config").write_text(CLIENT.format(home=home))
        script = PRIVATE.format(sshd="/usr/sbin/sshd", home=home)
        with (home / "log").open("wb") as log:
            self.process = lab.spawn(
                "far",
                ["unshare", "--mount", "--", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(
            lambda: "Server listening" in (home / "log").read_text(),
            "sshd",
        )

    def left(self) -> list[Path]:
        """What lies about on the far host."""
        root = Path(f"/proc/{self.process.pid}/root")
        return [
            path for place in ("root", "var/lib", "var/tmp") for path in (root / place).iterdir()
        ]

    @property
    def options(self) -> tuple[str, ...]:
        return "--control=ssh", f"--ssh-command=ssh -F {self.home / 'config'}"


def agents(lab: Lab) -> set[int]:
    """Every process of that far host that is an agent started by ssh, or is to become one."""
    inside = os.stat(f"{NETNS_DIRECTORY}/{lab.far}").st_ino
    found = set()
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                there = os.stat(place / "ns" / "net").st_ino == inside
                words = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if there and b"--stdio=" in words:
                found.add(int(place.name))
    return found
